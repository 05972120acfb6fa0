"""`expectations.toml`: which tests are known to fail, where, and why; and the verdict on a run. Pure.

`docs/checks.md` describes the file for those who write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

from hermetic.check.result import FileResult
from hermetic.errors import RecipeError, did_you_mean
from hermetic.project.toml import decode_toml, toml_line
from hermetic.systems import SYSTEMS

Class = Literal["fails", "skipped", "crashes", "times-out", "flaky"]

EMULATED: Final = "emulated"  # stands for all targets that run under an emulator
_ENDINGS: Final = {"crashed": "crashes", "timed out": "times-out"}


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A group of tests that do not pass for one reason.

    Attributes:
        kind: written `class`. `skipped`, `crashes` and `times-out` are about whole files. `flaky`: it may
            fail or crash, or not.
        tests: files, classes or tests, as in `test_socket.BasicTCPTest.testRecv`; `*` matches anything.
        targets: architectures, or `emulated`; none for all. lines: release lines as in `3.13`; none for all.
        upstream: an issue of CPython, as in `cpython#131032`.
    """

    kind: Class = msgspec.field(name="class")
    tests: tuple[str, ...]
    reason: str
    targets: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    upstream: str = ""


class Expectations(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole file.

    Attributes:
        suite: the recipe of the interpreter that has the test suite.
        package: instead of it, the Python package whose test suite the recipe's output has.
        core: the test files that run by default where an emulator is needed.
        expect: groups by their names.
    """

    suite: str = ""
    package: str = ""
    core: tuple[str, ...] = ()
    expect: dict[str, Expectation] = {}


class Expected(msgspec.Struct, frozen=True):
    """One pattern of a group that applies to a target."""

    pattern: str
    kind: Class
    group: str

    def fits(self, name: str) -> bool:
        """Whether it is about the file, class or test of that name, whatever the test's parameters are."""
        return any(fnmatchcase(name, self.pattern + end) for end in ("", ".*", "[[]*"))

    def is_within(self, file: str) -> bool:
        """Whether it is about a file or something in it."""
        return self.fits(file) or self.pattern.startswith(f"{file}.")


class Finding(msgspec.Struct, frozen=True):
    """Something that was not expected. `text`: what it is, after the name of the test."""

    file: str
    test: str
    text: str
    detail: str = ""


class Judgement(msgspec.Struct, frozen=True):
    """The verdict on a run. `expected`: names of the tests and files that did not pass, as expected."""

    findings: tuple[Finding, ...]
    expected: tuple[str, ...]


def parse(data: bytes, filename: str) -> Expectations:
    """Decode the file.

    Raises:
        RecipeError: with file, line, value and, where a name is nearly right, a suggestion.
    """
    found = decode_toml(data, filename, Expectations, RecipeError)
    text = data.decode("utf-8")
    if bool(found.suite) == bool(found.package):
        either = "`suite` is for an interpreter, `package` for a package that an interpreter is tried with"
        raise RecipeError(f"{filename}: either suite or package must be given", hint=either)
    for group, key, message, hint in _mistakes(found):
        line = toml_line(text, ("expect", group), key)
        raise RecipeError(f"{filename}:{line}: {message}", hint=hint)
    return found


def _mistakes(found: Expectations) -> Iterator[tuple[str, str, str, str | None]]:
    """Group, key, message and hint of what is wrong beyond the types of the fields."""
    for group, entry in found.expect.items():
        for target in entry.targets:
            if target not in (*SYSTEMS, EMULATED):
                yield (
                    group,
                    "targets",
                    f'unknown target "{target}"',
                    did_you_mean(target, [*SYSTEMS, EMULATED]),
                )
        for line in entry.lines:
            if not line.replace(".", "").isdigit():
                yield group, "lines", f'"{line}" is not a release line', 'write it as "3.13"'
        for test in entry.tests:
            if not test.startswith(f"{found.package}." if found.package else "test_"):
                hint = "write it as test_json, test_json.TestDecode or test_json.TestDecode.test_float"
                if found.package:
                    hint = f"write it as {found.package}.tests.test_x.TestA.test_b"
                yield group, "tests", f'"{test}" does not begin with the name of a test file', hint
        if not entry.tests:
            yield group, "tests", "tests is empty", "remove the group"
        if not entry.reason.strip():
            yield (
                group,
                "reason",
                "reason is empty",
                "say why, so that others can tell whether it still holds",
            )


def applying(found: Expectations, arch: str, version: str, *, emulated: bool) -> tuple[Expected, ...]:
    """What is expected of one target, pattern by pattern."""
    return tuple(
        Expected(pattern, entry.kind, group)
        for group, entry in found.expect.items()
        if not entry.targets or arch in entry.targets or (emulated and EMULATED in entry.targets)
        if not entry.lines or any(version == li or version.startswith(f"{li}.") for li in entry.lines)
        for pattern in entry.tests
    )


def judge(results: Sequence[FileResult], expected: Iterable[Expected], *, whole: bool = False) -> Judgement:
    """What of a run was not as expected: neither failures nor passes may surprise.

    Args:
        whole: all files of the suite were run, so that an expectation about any other is out of date.
    """
    patterns = tuple(expected)
    judge = _Judge(patterns)
    for result in results:
        judge.look_at(result)
    for pattern in patterns:
        around = [result for result in results if pattern.is_within(result.file)]
        unfinished = any(r.ending != "completed" for r in around)
        if pattern in judge.met or pattern.kind == "flaky" or unfinished or not (around or whole):
            continue
        file = around[0].file if around else pattern.pattern
        judge.findings.append(Finding(file, pattern.pattern, f"{_UNMET[pattern.kind]} ({pattern.group})"))
    return Judgement(tuple(judge.findings), tuple(judge.expected))


_UNMET: Final[dict[Class, str]] = {
    "fails": "is expected to fail, but no test of that name failed",
    "skipped": "is expected to be skipped, but was not",
    "crashes": "is expected to crash, but did not",
    "times-out": "is expected to time out, but did not",
    "flaky": "",
}


class _Judge:
    def __init__(self, patterns: tuple[Expected, ...]) -> None:
        self.patterns = patterns
        self.met: set[Expected] = set()
        self.findings: list[Finding] = []
        self.expected: list[str] = []

    def look_at(self, result: FileResult) -> None:
        near = [p for p in self.patterns if p.is_within(result.file)]
        if result.ending != "completed":
            found = self._met(near, result.file, (_ENDINGS[result.ending], "flaky"))
            text = f"{result.ending}{f' ({result.how})' if result.how else ''}"
            self._note(result, result.file, found, text, result.log)
            return
        if result.skipped is not None:
            found = self._met(near, result.file, ("skipped", "flaky"))
            self._note(result, result.file, found, f"skipped: {result.skipped}", "")
            return
        for case in result.cases:
            if case.outcome == "failed":
                found = self._met(near, case.name, ("fails", "flaky"))
                self._note(result, case.name, found, "failed", case.detail)
            elif case.outcome == "passed":
                for pattern in near:
                    if pattern.kind == "fails" and pattern.fits(case.name):
                        text = f"passed, but is expected to fail ({pattern.group})"
                        self.findings.append(Finding(result.file, case.name, text))

    def _met(self, near: list[Expected], name: str, kinds: tuple[str, ...]) -> list[Expected]:
        found = [p for p in near if p.kind in kinds and p.fits(name)]
        self.met.update(found)
        return found

    def _note(self, result: FileResult, name: str, expected: list[Expected], text: str, detail: str) -> None:
        if expected:
            self.expected.append(name)
        else:
            self.findings.append(Finding(result.file, name, text, detail))
