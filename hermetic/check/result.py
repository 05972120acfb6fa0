"""What running test files gave, as values; and JUnit XML, read and written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal
from xml.etree import ElementTree

import msgspec

Outcome = Literal["passed", "skipped", "failed"]
Ending = Literal["completed", "crashed", "timed out"]
Status = Literal["passed", "skipped", "failed", "crashed", "timed out"]

_FIXTURE: Final = re.compile(r"((?:setUp|tearDown)(?:Class|Module)) \((.+)\)")


class Case(msgspec.Struct, frozen=True):
    """One test, as in `test_json.TestDecode.test_float`. `detail`: a traceback, or the reason of a skip."""

    name: str
    outcome: Outcome
    detail: str = ""


class FileResult(msgspec.Struct, frozen=True):
    """What running one test file gave.

    Attributes:
        file: the suite's name of it, as in `test_json` or `numpy.fft.tests.test_helper`.
        how: of a crash, the signal or the exit status.
        log: the end of its output, if it is not a file that passed or was skipped.
    """

    file: str
    ending: Ending
    cases: tuple[Case, ...] = ()
    seconds: float = 0.0
    how: str = ""
    log: str = ""

    @property
    def skipped(self) -> str | None:
        """Why the whole file was skipped; None if it was not."""
        if [case.name for case in self.cases] == [self.file] and self.cases[0].outcome == "skipped":
            return self.cases[0].detail
        return None

    @property
    def status(self) -> Status:
        """The result of the whole file in one word."""
        if self.ending != "completed":
            return self.ending
        if any(case.outcome == "failed" for case in self.cases):
            return "failed"
        return "passed" if self.skipped is None else "skipped"


def read_junit(data: bytes, file: str) -> tuple[Case, ...]:
    """The tests in what regrtest or pytest has written for one file; none if it is no JUnit XML."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        return ()
    return tuple(_case(element, file) for element in root.iter("testcase"))


def _case(element: ElementTree.Element, file: str) -> Case:
    name = element.get("name") or file
    if within := element.get("classname"):  # as pytest has it
        name = f"{within}.{name}"
    if fixture := _FIXTURE.fullmatch(name):
        name = f"{fixture[2]}.{fixture[1]}"
    name = name.removeprefix("test.")
    if name != file and not name.startswith(f"{file}."):
        name = f"{file}.{name}"  # some tests live in modules that several files share
    bad = [child for child in element if child.tag in ("failure", "error", "outcome")]
    if bad:
        return Case(name, "failed", "\n".join(child.text or "" for child in bad))
    skipped = element.find("skipped")
    return Case(name, "passed") if skipped is None else Case(name, "skipped", skipped.text or "")


def write_junit(results: Iterable[tuple[str, FileResult]]) -> bytes:
    """JUnit XML of many files: a suite for each.

    Args:
        results: target and file.
    """
    root = ElementTree.Element("testsuites")
    for target, result in results:
        suite = ElementTree.SubElement(root, "testsuite", name=f"{target}.{result.file}")
        suite.set("tests", str(len(result.cases)))
        suite.set("failures", str(sum(case.outcome == "failed" for case in result.cases)))
        suite.set("skipped", str(sum(case.outcome == "skipped" for case in result.cases)))
        suite.set("errors", str(int(result.ending != "completed")))
        suite.set("time", f"{result.seconds:.3f}")
        cases = list(result.cases)
        for case in cases:
            element = ElementTree.SubElement(suite, "testcase", classname=result.file, name=case.name)
            if case.outcome != "passed":
                tag = "failure" if case.outcome == "failed" else "skipped"
                ElementTree.SubElement(element, tag).text = _printable(case.detail)
        if result.ending != "completed":
            element = ElementTree.SubElement(suite, "testcase", classname=result.file, name=result.file)
            ElementTree.SubElement(element, "error", message=f"{result.ending} {result.how}".strip())
        if result.log:
            ElementTree.SubElement(suite, "system-out").text = _printable(result.log)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _printable(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff") else "?" for c in text)
