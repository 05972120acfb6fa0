"""`hermetic check`, on the real interpreters."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from hermetic.check import driver
from hermetic.check.result import read_junit
from tests.real.conftest import hermetic

NATIVE = f"cpython-{platform.machine()}"


def test_the_artefact_is_what_it_should_be(target: str) -> None:
    lines = hermetic("check", "--artefact", target).stdout.splitlines()
    assert lines
    tried = [line for line in lines if line.startswith(f"{target}: ")]
    untried = [line for line in tried if line.endswith("not tried")]
    assert len(untried) == (0 if target.endswith(platform.machine()) else 2), (
        "the trials need a native interpreter"
    )
    assert all(line.endswith(": good") for line in tried if line not in untried)


def test_cpythons_own_tests_run_on_the_interpreter_with_tests(tmp_path: Path) -> None:
    junit, report = tmp_path / "junit.xml", tmp_path / "checked.md"
    # One file that passes, one that is skipped, and one that needs an extension module of the tests.
    wanted = ("test_json", "test_winreg", "test_xxlimited")
    options = [word for name in wanted for word in ("--tests", name)]
    hermetic("check", NATIVE, *options, "--junit", str(junit), "--report", str(report))
    suites = {s.get("name"): s for s in ElementTree.parse(junit).getroot()}
    assert f"{NATIVE}.test_winreg" in suites
    assert int(suites[f"{NATIVE}.test_xxlimited"].get("tests") or 0) > 3
    assert f"| {NATIVE} |" in report.read_text()


def test_the_test_suite_of_a_package_runs_on_the_interpreter(tmp_path: Path) -> None:
    junit, name = tmp_path / "junit.xml", "numpy.fft.tests.test_helper"
    hermetic("check", NATIVE, "--suite", "numpy-tests", "--tests", name, "--junit", str(junit))
    (found,) = ElementTree.parse(junit).getroot()
    assert found.get("name") == f"{NATIVE}.{name}"
    assert int(found.get("tests") or 0) > 3


MADE = """
import unittest

class Subtests(unittest.TestCase):
    def test_some_fail(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertEqual(number, 1)

    def test_good(self):
        pass

    @unittest.expectedFailure
    def test_surprise(self):
        pass

class Fixture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise ValueError

    def test_never(self):
        pass
"""


def test_regrtests_report_names_all_that_failed_and_why_a_file_was_skipped(tmp_path: Path) -> None:
    """Upstream's own report has no name for what fails in a subtest or a fixture."""
    python = Path(hermetic("realize", f"cpython-tests-{platform.machine()}").stdout.strip()) / "bin/python3"
    (tmp_path / "test_made.py").write_text(MADE)
    (tmp_path / "test_skipped.py").write_text("import unittest\nraise unittest.SkipTest('no reason')\n")
    found: dict[str, str] = {}
    for name in ("test_made", "test_skipped"):
        options = ["--testdir", str(tmp_path), "--junit-xml", str(tmp_path / "junit")]
        command = [str(python), driver.__file__, *options, name]
        subprocess.run(command, cwd=tmp_path, capture_output=True)
        found |= {case.name: case.outcome for case in read_junit((tmp_path / "junit").read_bytes(), name)}
    assert found == {
        "test_made.Subtests.test_some_fail": "failed",
        "test_made.Subtests.test_good": "passed",
        "test_made.Subtests.test_surprise": "failed",
        "test_made.Fixture.setUpClass": "failed",
        "test_skipped": "skipped",
    }
