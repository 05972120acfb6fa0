"""Prints what came of checks, and says how they end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hermetic.check.report import TargetReport, markdown
from hermetic.check.result import write_junit
from hermetic.cli.progress import counted, duration
from hermetic.cli.visible import cut, visible
from hermetic.errors import CheckFailed
from hermetic.filesystem import translated

_LINES: Final = 12  # of a traceback


def show(reports: Sequence[TargetReport]) -> None:
    """Print each verdict, and everything that was not expected."""
    for report in reports:
        for verdict in report.artefact:
            print(f"{report.target}: {verdict.name}: {verdict.status}")
            for line in verdict.details:
                print(f"    {visible(cut(line))}")
        if report.judgement is None:
            continue
        for finding in report.judgement.findings:
            print(f"{report.target}: {visible(cut(f'{finding.test}: {finding.text}'))}")
            for line in finding.detail.splitlines()[-_LINES:]:
                print(f"    {visible(cut(line))}")
        print(_summary(report))


def _summary(report: TargetReport) -> str:
    assert report.judgement is not None
    unexpected, expected = len(report.judgement.findings), len(report.judgement.expected)
    return (
        f"{report.target}: {counted(len(report.results), 'test file')} in {duration(report.seconds)}:"
        f" {report.count('passed')} passed, {report.count('skipped')} skipped,"
        f" {sum(report.count(s) for s in ('failed', 'crashed', 'timed out'))} failed;"
        f" {report.cases('passed'):,} tests passed, {report.cases('skipped'):,} skipped,"
        f" {report.cases('failed'):,} failed; {expected} as expected, {unexpected} not"
    )


def write(reports: Sequence[TargetReport], junit: str | None, report: str | None) -> None:
    """Write the files that were asked for."""
    if junit is not None:
        results = [(one.target, result) for one in reports for result in one.results]
        with translated(junit, "write"):
            Path(junit).write_bytes(write_junit(results))
    if report is not None:
        with translated(report, "write"):
            Path(report).write_text(markdown(reports))


def conclude(reports: Sequence[TargetReport]) -> None:
    """Say that everything is as expected.

    Raises:
        CheckFailed: it is not.
    """
    bad = [report for report in reports if not report.good]
    if bad:
        facts = [_fact(report) for report in bad]
        raise CheckFailed(
            "; ".join(facts),
            hint="what is known to fail is listed in expectations.toml beside the recipe, with the reason",
        )
    print(f"{counted(len(reports), 'target')}, all as expected", file=sys.stderr)


def _fact(report: TargetReport) -> str:
    wrong = []
    if report.failed:
        wrong.append(f"{counted(len(report.failed), 'check')} of its files failed")
    if report.judgement is not None and report.judgement.findings:
        wrong.append(f"{counted(len(report.judgement.findings), 'result')} of tests not as expected")
    return f"{report.target}: {', '.join(wrong)}"
