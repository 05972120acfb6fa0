"""What checks of targets have found, as values and as a Markdown table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from hermetic.check.artefact import Verdict
from hermetic.check.expectation import Judgement
from hermetic.check.result import FileResult, Status


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one target.

    Attributes:
        emulated: it ran under an emulator.
        suite: what the test suite is called.
        artefact: verdicts on its files.
        results: of the test files that were run, with the judgement on them; None where none were to be run.
        files: how many test files the suite has.
        seconds: wall clock time of the test files.
    """

    target: str
    version: str
    emulated: bool
    artefact: tuple[Verdict, ...]
    suite: str = "CPython's test suite"
    results: tuple[FileResult, ...] = ()
    judgement: Judgement | None = None
    files: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The verdicts on files that are bad."""
        return tuple(verdict for verdict in self.artefact if verdict.status == "bad")

    @property
    def good(self) -> bool:
        """Whether everything is as it should be."""
        return not self.failed and (self.judgement is None or not self.judgement.findings)

    def count(self, status: Status) -> int:
        """How many test files ended so."""
        return sum(result.status == status for result in self.results)

    def cases(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(case.outcome == outcome for result in self.results for case in result.cases)


def markdown(reports: Sequence[TargetReport]) -> str:
    """The table of `docs/checked.md`."""
    lines = [
        "# Checked",
        "",
        "Written by `hermetic check --report`. Time is wall clock time of a machine that may be busy.",
        "",
        "A file *fails as expected* if all of its tests that fail are listed in `expectations.toml`.",
        "",
        *(line for suite in dict.fromkeys(r.suite for r in reports) for line in _section(suite, reports)),
        "## The artefact",
        "",
        f"| check | {' | '.join(report.target for report in reports)} |",
        f"|---|{'---|' * len(reports)}",
    ]
    names = dict.fromkeys(verdict.name for report in reports for verdict in report.artefact)
    for name in names:
        found = [next((v for v in r.artefact if v.name == name), None) for r in reports]
        cells = " | ".join("" if v is None else _WORDS[v.status] for v in found)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


def _section(suite: str, reports: Sequence[TargetReport]) -> list[str]:
    """The table of a test suite; nothing if it was not run."""
    rows = [_row(report) for report in reports if report.suite == suite and report.judgement is not None]
    head = [f"## {suite}", "", f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    return [*head, *rows, ""] if rows else []


_COLUMNS: Final = (
    "target", "version", "files", "passed", "skipped", "fail as expected", "unexpected", "tests passed",
    "minutes",
)  # fmt: skip
_WORDS: Final = {"good": "yes", "bad": "**no**", "not tried": "not tried"}


def _row(report: TargetReport) -> str:
    assert report.judgement is not None
    surprising = {finding.file for finding in report.judgement.findings}
    bad = sum(report.count(s) for s in ("failed", "crashed", "timed out"))
    unexpected = sum(r.file in surprising for r in report.results if r.status not in ("passed", "skipped"))
    run = f"{len(report.results)} of {report.files}"
    where = f"{report.target}{' (emulated)' if report.emulated else ''}"
    return (
        f"| {where} | {report.version} | {run} | {report.count('passed')} | {report.count('skipped')}"
        f" | {bad - unexpected} | {len(report.judgement.findings)} | {report.cases('passed'):,}"
        f" | {report.seconds / 60:.0f} |"
    )
