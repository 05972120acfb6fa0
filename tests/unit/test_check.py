"""Verdicts on interpreters: from facts about their files, and from what their tests gave."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from hermetic.check import artefact, expectation, suite
from hermetic.check.artefact import Files, Program, Run, Segment
from hermetic.check.expectation import Expected, applying, judge
from hermetic.check.package import PackageTests
from hermetic.check.regrtest import Regrtest
from hermetic.check.report import TargetReport, markdown
from hermetic.check.result import Case, FileResult, read_junit, write_junit
from hermetic.check.room import Ran
from hermetic.errors import RecipeError, UsageError
from hermetic.sandbox.client import Result

# -- files

STATIC = Program("bin/python3.13", (Segment("PT_LOAD", 5), Segment("PT_LOAD", 6), Segment("PT_GNU_STACK", 6)))
LICENSED = ("python", "zlib")
GOOD = Files(
    ("bin/python3.13", *(f"lib/python3.13/licenses/{part}/LICENSE" for part in LICENSED)), (STATIC,), ()
)


def with_segments(*segments: Segment) -> Files:
    return msgspec.structs.replace(GOOD, programs=(msgspec.structs.replace(STATIC, segments=segments),))


BAD = {
    "programs are static": msgspec.structs.replace(
        GOOD, programs=(STATIC, msgspec.structs.replace(STATIC, needed=("libc.so",)))
    ),
    "no shared objects": msgspec.structs.replace(GOOD, names=(*GOOD.names, "lib/libz.so.1")),
    "no shared objects but what": msgspec.structs.replace(
        GOOD, programs=(msgspec.structs.replace(STATIC, loads=True),), names=(*GOOD.names, "lib/libfoo.so.1")
    ),
    "no segment is writable and executable": with_segments(Segment("PT_LOAD", 7), Segment("PT_GNU_STACK", 6)),
    "the stack is not executable": with_segments(Segment("PT_LOAD", 5), Segment("PT_GNU_STACK", 5)),
    "no path of the build": msgspec.structs.replace(GOOD, with_build_paths=("lib/x.py: /build/source",)),
    "the licences are there": msgspec.structs.replace(GOOD, names=GOOD.names[:-1]),
}


def bad(files: Files) -> list[str]:
    return [verdict.name for verdict in artefact.of_files(files, LICENSED) if verdict.status == "bad"]


def test_a_good_tree_has_no_bad_verdict() -> None:
    assert bad(GOOD) == []


@pytest.mark.parametrize("name", BAD)
def test_each_fault_of_a_tree_gives_its_own_verdict(name: str) -> None:
    assert [found[: len(name)] for found in bad(BAD[name])] == [name]


def test_a_program_with_an_interpreter_is_not_static() -> None:
    files = with_segments(*STATIC.segments, Segment("PT_INTERP", 4))
    assert bad(files) == ["programs are static: no PT_INTERP, no DT_NEEDED, no relocations"]


def test_a_program_with_relocations_is_not_static() -> None:
    files = msgspec.structs.replace(
        GOOD, programs=(msgspec.structs.replace(STATIC, relocations=(".rela.dyn",)),)
    )
    assert bad(files) == ["programs are static: no PT_INTERP, no DT_NEEDED, no relocations"]


def test_a_program_that_loads_libraries_comes_with_those_that_wheels_expect() -> None:
    files = msgspec.structs.replace(
        GOOD, programs=(msgspec.structs.replace(STATIC, loads=True),), names=(*GOOD.names, "lib/libz.so.1")
    )
    assert bad(files) == []


def test_a_stack_that_no_segment_describes_is_executable() -> None:
    assert bad(with_segments(Segment("PT_LOAD", 5))) == ["the stack is not executable (PT_GNU_STACK)"]


def test_a_tree_without_programs_is_bad() -> None:
    assert bad(msgspec.structs.replace(GOOD, programs=())) == [
        "programs are static: no PT_INTERP, no DT_NEEDED, no relocations"
    ]


def test_a_module_that_is_left_out_may_be_missing_and_no_other() -> None:
    assert artefact.of_imports({"_tkinter": "No module", "winreg": "No module"}).status == "good"
    verdict = artefact.of_imports({"_tkinter": "No module", "ssl": "No module named '_ssl'"})
    assert (verdict.status, verdict.details) == ("bad", ("ssl: No module named '_ssl'",))


def test_a_run_is_good_bad_or_was_not_tried() -> None:
    assert artefact.of_run("x", Run("")).status == "good"
    assert artefact.of_run("x", Run("exit status 1")).status == "bad"
    assert artefact.of_run("x", None, "another machine").details == ("another machine",)


# -- results of test files

JUNIT = b"""<testsuites><testsuite>
<testcase name="test.test_json.TestA.test_good" status="run" result="completed"/>
<testcase name="test.test_json.TestA.test_bad"><failure>Traceback</failure></testcase>
<testcase name="test.test_json.TestA.test_error"><error>Traceback</error></testcase>
<testcase name="test.test_json.TestA.test_surprise"><outcome>UNEXPECTED_SUCCESS</outcome></testcase>
<testcase name="test.test_json.TestA.test_not_here"><skipped>needs x</skipped></testcase>
<testcase name="setUpClass (test.test_json.TestB)"><error>Traceback</error></testcase>
<testcase name="shared.TestC.test_x"/>
</testsuite></testsuites>"""
ENDED = Result(exit_status=0, signal=None, timed_out=False, cancelled=False, seconds=1.5)


def concluded(kept: bytes = b"", output: str = "", **changes: object) -> FileResult:
    ran = Ran(msgspec.structs.replace(ENDED, **changes), kept, output)
    return suite.concluded(Regrtest(), "test_json", ran, 60)


def test_each_test_of_a_junit_file_has_its_outcome() -> None:
    assert {case.name: case.outcome for case in read_junit(JUNIT, "test_json")} == {
        "test_json.TestA.test_good": "passed",
        "test_json.TestA.test_bad": "failed",
        "test_json.TestA.test_error": "failed",
        "test_json.TestA.test_surprise": "failed",
        "test_json.TestA.test_not_here": "skipped",
        "test_json.TestB.setUpClass": "failed",
        "test_json.shared.TestC.test_x": "passed",
    }


@pytest.mark.parametrize(
    ("changes", "status", "how"),
    [
        ({"exit_status": None, "signal": 11}, "crashed", "signal 11"),
        ({"exit_status": None, "timed_out": True}, "timed out", "after 60 s"),
        ({"exit_status": None, "exceeded": "memory"}, "crashed", "too much of memory"),
        ({"exit_status": 1}, "crashed", "exit status 1, without a report"),
        ({"exit_status": 2}, "failed", ""),
        ({"exit_status": 4}, "skipped", ""),
        ({"exit_status": 2, "kept": b"<testsuites/>"}, "failed", ""),
        ({"kept": JUNIT, "exit_status": 2}, "failed", ""),
        ({"kept": b"<testsuites><testcase name='test.test_json.A.b'/></testsuites>"}, "passed", ""),
        (
            {"kept": b"<testsuites><testcase name='test_json'><skipped>no</skipped></testcase></testsuites>"},
            "skipped",
            "",
        ),
    ],
)
def test_a_file_passes_fails_crashes_or_takes_too_long(
    changes: dict[str, object], status: str, how: str
) -> None:
    found = concluded(**changes)  # type: ignore[arg-type]
    assert (found.status, found.how) == (status, how)


def test_a_failure_outside_of_any_test_is_one_of_the_file() -> None:
    found = concluded(b"<testsuites/>", "ImportError: no", exit_status=2)
    assert found.cases == (Case("test_json", "failed", "ImportError: no"),)


def test_results_are_written_as_junit() -> None:
    crashed = FileResult("test_re", "crashed", how="signal 11", log="bell \x07 and more")
    root = ElementTree.fromstring(write_junit([("cpython", concluded(JUNIT)), ("cpython", crashed)]))
    assert [suite.get("failures") for suite in root] == ["4", "0"]
    assert [suite.get("errors") for suite in root] == ["0", "1"]
    assert root[1].findtext("system-out") == "bell ? and more"


PYTEST = b"""<testsuites><testsuite name="pytest">
<testcase classname="numpy.tests.test_x.TestA" name="test_good[1-a.b]"/>
<testcase classname="numpy.tests.test_x" name="test_bad"><failure>...</failure></testcase>
<testcase classname="numpy.tests.test_x" name="test_later"><skipped>...</skipped></testcase>
</testsuite></testsuites>"""


def test_tests_of_a_package_are_named_by_module_class_and_parameters() -> None:
    assert {case.name: case.outcome for case in read_junit(PYTEST, "numpy.tests.test_x")} == {
        "numpy.tests.test_x.TestA.test_good[1-a.b]": "passed",
        "numpy.tests.test_x.test_bad": "failed",
        "numpy.tests.test_x.test_later": "skipped",
    }


@pytest.mark.parametrize(
    ("kept", "exit_status", "status"),
    [
        (PYTEST, 1, "failed"),
        (b"<testsuites/>", 5, "skipped"),
        (b"", 3, "crashed"),
        (b"<testsuites/>", 2, "failed"),
    ],
)
def test_a_file_of_a_package_ends_as_pytest_says(kept: bytes, exit_status: int, status: str) -> None:
    ran = Ran(msgspec.structs.replace(ENDED, exit_status=exit_status), kept, "")
    tests = PackageTests("numpy", Path("/nowhere"))
    assert suite.concluded(tests, "numpy.tests.test_x", ran, 60).status == status


def test_patterns_choose_test_files() -> None:
    names = ("test_asyncio.test_events", "test_asyncio.test_tasks", "test_json", "test_re")
    assert suite.chosen(names, ()) == names
    assert suite.chosen(names, ("test_asyncio", "test_r*")) == (*names[:2], "test_re")
    with pytest.raises(UsageError, match="test_jsn"):
        suite.chosen(names, ("test_json", "test_jsn"))


# -- expectations

FILE = "derivations/cpython/expectations.toml"
TEXT = """suite = "cpython-tests"

[expect.libc]
class = "fails"
tests = ["test_json.TestA.test_bad"]
reason = "musl"

[expect.emulator]
class = "flaky"
tests = ["test_threading.*"]
targets = ["emulated"]
lines = ["3.13"]
reason = "qemu"
"""
WRONG = {
    "an unknown class": ('class = "flaky"', 'class = "flakey"', f"{FILE}:9", "flaky"),
    "an unknown field": ("lines =", "line =", f"{FILE}:12", "lines"),
    "an unknown target": ('"emulated"', '"aarch46"', f"{FILE}:11", "aarch64"),
    "a line that is none": ('"3.13"', '"newest"', f"{FILE}:12", "3.13"),
    "a test that is none": ('"test_json.T', '"json.T', f"{FILE}:5", "test_json"),
    "no suite": ('suite = "cpython-tests"\n', "", FILE, "package"),
    "a suite and a package": ('suite = "cpython-tests"', 'suite = "x"\npackage = "numpy"', FILE, "suite"),
    "a test of another package": ('suite = "cpython-tests"', 'package = "numpy"', f"{FILE}:5", "numpy.tests"),
    "no tests": ('["test_threading.*"]', "[]", f"{FILE}:10", "remove"),
    "no reason": ('"qemu"', '" "', f"{FILE}:13", "say why"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_in_the_file_is_named_by_line_value_and_remedy(what: str) -> None:
    old, new, where, hint = WRONG[what]
    assert old in TEXT
    with pytest.raises(RecipeError) as caught:
        expectation.parse(TEXT.replace(old, new).encode(), FILE)
    assert caught.value.message.startswith(f"{where}:")
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("arch", "version", "emulated", "groups"),
    [
        ("x86_64", "3.13.15", False, ["libc"]),
        ("aarch64", "3.13.15", True, ["libc", "emulator"]),
        ("aarch64", "3.14.1", True, ["libc"]),
    ],
)
def test_expectations_are_for_some_targets_and_lines(
    arch: str, version: str, emulated: bool, groups: list[str]
) -> None:
    found = applying(expectation.parse(TEXT.encode(), FILE), arch, version, emulated=emulated)
    assert [one.group for one in found] == groups


PASSED = FileResult(
    "test_json", "completed", (Case("test_json.A.a", "passed"), Case("test_json.A.b", "passed"))
)
FAILED = FileResult(
    "test_json", "completed", (Case("test_json.A.a", "failed"), Case("test_json.A.b", "passed"))
)
CRASHED = FileResult("test_json", "crashed", how="signal 11")
SLOW = FileResult("test_json", "timed out")
SKIPPED = FileResult("test_json", "completed", (Case("test_json", "skipped", "no reason"),))


@pytest.mark.parametrize(
    ("result", "kind", "pattern", "surprises"),
    [
        (PASSED, None, "", []),
        (FAILED, None, "", ["test_json.A.a"]),
        (CRASHED, None, "", ["test_json"]),
        (SLOW, None, "", ["test_json"]),
        (SKIPPED, None, "", ["test_json"]),
        (FAILED, "fails", "test_json.A.a", []),
        (FAILED, "fails", "test_json.A", ["test_json.A.b"]),
        (PASSED, "fails", "test_json.A.a", ["test_json.A.a", "test_json.A.a"]),
        (FAILED, "fails", "test_json.A.c", ["test_json.A.a", "test_json.A.c"]),
        (FAILED, "flaky", "test_json.*.a", []),
        (PASSED, "flaky", "test_json", []),
        (CRASHED, "flaky", "test_json", []),
        (CRASHED, "crashes", "test_json", []),
        (CRASHED, "fails", "test_json", ["test_json"]),
        (PASSED, "crashes", "test_json", ["test_json"]),
        (SLOW, "times-out", "test_json", []),
        (SLOW, "crashes", "test_json", ["test_json"]),
        (SKIPPED, "skipped", "test_j*", []),
        (PASSED, "skipped", "test_json", ["test_json"]),
        (SKIPPED, "fails", "test_json", ["test_json", "test_json"]),
        (FAILED, "fails", "test_jsonx.A.a", ["test_json.A.a"]),
    ],
)
def test_neither_failures_nor_passes_may_surprise(
    result: FileResult, kind: expectation.Class | None, pattern: str, surprises: list[str]
) -> None:
    expected = [] if kind is None else [Expected(pattern, kind, "group")]
    assert [finding.test for finding in judge([result], expected).findings] == surprises


def test_an_expectation_about_a_test_is_about_all_its_parameters() -> None:
    expected = Expected("test_json.A.a", "fails", "group")
    names = ("a", "a[1]", "a[x.y]", "a.b", "ab", "b[a]")
    assert [name for name in names if expected.fits(f"test_json.A.{name}")] == ["a", "a[1]", "a[x.y]", "a.b"]


def test_an_expectation_about_no_file_is_out_of_date_once_all_files_ran() -> None:
    expected = [Expected("test_gone", "skipped", "group")]
    assert judge([PASSED], expected).findings == ()
    assert [finding.test for finding in judge([PASSED], expected, whole=True).findings] == ["test_gone"]


def test_the_table_names_each_target_once() -> None:
    judged = judge([FAILED], [Expected("test_json.A.a", "fails", "group")])
    report = TargetReport(
        target="cpython-x86_64",
        version="3.13.15",
        emulated=False,
        artefact=tuple(artefact.of_files(GOOD, LICENSED)),
        results=(FAILED,),
        judgement=judged,
        files=480,
        seconds=125.0,
    )
    assert report.good
    row = "| cpython-x86_64 | 3.13.15 | 1 of 480 | 0 | 0 | 1 | 0 | 1 | 2 |"
    assert row in markdown([report])
    of_a_package = msgspec.structs.replace(report, suite="The test suite of numpy")
    assert markdown([report, of_a_package]).count(f"{row}\n\n## The") == 2


# -- what the project says


def test_the_projects_own_expectations_are_valid() -> None:
    root = Path(__file__).resolve().parents[2]
    found = [
        expectation.parse((root / file).read_bytes(), file)
        for file in (FILE, "derivations/numpy-tests/expectations.toml")
    ]
    assert [one.suite or one.package for one in found] == ["cpython-tests", "numpy"]
