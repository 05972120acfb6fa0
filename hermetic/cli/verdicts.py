"""Prints what came of a verification, and says how it ends."""

from __future__ import annotations

import sys

from hermetic.cli.progress import counted, duration
from hermetic.errors import BuildFailure, NotReproducible
from hermetic.verify.verdict import Report, Verdict


def show(report: Report) -> None:
    """Print each verdict, with all differences."""
    for verdict in report.verdicts:
        print(_headline(verdict))
        if verdict.status == "differs":
            from hermetic.verify.compare.render import describe

            print(describe(verdict.differences).rstrip())
            if verdict.kept:
                print(f"    both trees: {verdict.kept}")
        elif verdict.error:
            print("\n".join(f"    {line}" for line in verdict.error.splitlines()))


def _headline(verdict: Verdict) -> str:
    if verdict.status == "unbuilt":
        return f"{verdict.label}: NOT BUILT"
    words = {"reproducible": "the same bytes", "differs": "DIFFERS", "failed": "REBUILD FAILED"}
    extra = f": {verdict.expected} → {verdict.found}" if verdict.status == "differs" else ""
    again = f", round {verdict.round}" if verdict.round > 1 else ""
    return f"{verdict.label}: {words[verdict.status]} ({duration(verdict.seconds)}{again}){extra}"


def conclude(report: Report) -> None:
    """Say that all is the same.

    Raises:
        NotReproducible, BuildFailure: it is not.
    """
    bad = [v.label for v in report.verdicts if v.status == "differs"]
    failed = [v.label for v in report.verdicts if v.status == "failed"]
    unbuilt = [v.label for v in report.verdicts if v.status == "unbuilt"]
    count = counted(len(report.verdicts) - len(unbuilt), "rebuild")
    if bad:
        verb = "differs" if len(bad) == 1 else "differ"
        raise NotReproducible(
            f"{len(bad)} of {count} {verb}: {', '.join(dict.fromkeys(bad))}",
            hint="--keep DIR leaves both outputs; --perturb NAME tells which condition is the cause",
        )
    if failed:
        raise BuildFailure(f"{counted(len(failed), 'rebuild')} failed: {', '.join(dict.fromkeys(failed))}")
    if unbuilt:
        same = f"; {count}, the same bytes" if len(report.verdicts) > len(unbuilt) else ""
        raise BuildFailure(f"not built, and so not verified: {', '.join(unbuilt)}{same}")
    perturbed = ", ".join(report.perturbed) or "nothing"
    print(f"{count}, the same bytes; varied: {perturbed}", file=sys.stderr)
