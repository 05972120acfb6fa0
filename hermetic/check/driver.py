"""Runs one file of CPython's test suite. This program runs in the interpreter under test; see `suite`.

regrtest writes what it runs as JUnit XML. Three things are missing there, and are added here: which test a
failure of a subtest belongs to, failures of `setUpClass` and `setUpModule`, and the reason why a whole file
was skipped. Standard library only, from Python 3.13.
"""

from __future__ import annotations

import importlib
import traceback
import unittest
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

_ELEMENT: Final = "_RegressionTestResult__e"
_SUITE: Final = "_RegressionTestResult__suite"


def main() -> None:
    """What the command line of regrtest asks for."""
    complete(importlib.import_module("test.libregrtest.testresult").RegressionTestResult)
    tell_skips(importlib.import_module("test.libregrtest.single"))
    importlib.import_module("test.libregrtest.main").main()


def complete(result: Any) -> None:
    """Have regrtest's class of results write every failure under the name of its test."""
    start, add, base = result.startTest, result._add_result, result.__mro__[1]

    def start_test(self: Any, test: Any) -> None:
        start(self, test)
        getattr(self, _ELEMENT).set("name", test.id())

    def add_result(self: Any, test: Any, capture: bool = False, **args: Any) -> None:
        _element(self)
        add(self, test, capture, **args)

    def add_subtest(self: Any, test: Any, subtest: Any, error: Any) -> None:
        base.addSubTest(self, test, subtest, error)
        if error is not None:
            element = _element(self)
            element.set("name", test.id())
            kind = "failure" if issubclass(error[0], test.failureException) else "error"
            text = f"{subtest.id()}\n" + "".join(traceback.format_exception(*error))
            _child(element, kind).text = text.encode("ascii", "backslashreplace").decode()

    result.startTest, result._add_result, result.addSubTest = start_test, add_result, add_subtest


def _element(result: Any) -> Element:
    """The element of the test that runs; a new one outside of tests and after a skipped subtest."""
    if getattr(result, _ELEMENT) is None:
        setattr(result, _ELEMENT, _child(getattr(result, _SUITE), "testcase"))
    element: Element = getattr(result, _ELEMENT)
    return element


def _child(parent: Element, tag: str) -> Element:
    """A new element, of the same class: tests of ElementTree have regrtest use another than ours."""
    child = parent.makeelement(tag, {})
    parent.append(child)
    return child


def tell_skips(single: Any) -> None:
    """Have the reason for which a whole file is skipped written, too: as a test with the name of the file."""
    load, support = single._load_run_test, importlib.import_module("test.support")

    def load_run_test(result: Any, runtests: Any) -> None:
        try:
            load(result, runtests)
        except unittest.SkipTest as skip:
            suite = Element("testsuite")
            SubElement(SubElement(suite, "testcase", name=result.test_name), "skipped").text = str(skip)
            support.junit_xml_list.append(tostring(suite).decode("ascii"))
            raise

    single._load_run_test = load_run_test


if __name__ == "__main__":
    main()
