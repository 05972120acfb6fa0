"""The table of a run, and the document that is made of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from tests.faults.plan import KINDS, Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Kind and phase, tried, survived; in Markdown that can be read as it is."""
    rows = []
    for kind, what in KINDS.items():
        for phase in what.phases:
            rows.append((kind, phase, *_count(o for o in outcomes if o.case[:2] == (kind, phase))))
    rows = [row for row in rows if row[2]]
    rows.append(("all", "", *_count(iter(outcomes))))
    head = ("fault", "where", "tried", "survived")
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(4)]

    def line(row: Sequence[object]) -> str:
        left = [f"{row[i]!s:<{widths[i]}}" for i in (0, 1)]
        right = [f"{row[i]!s:>{widths[i]}}" for i in (2, 3)]
        return f"| {' | '.join(left + right)} |"

    rule = (
        f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 2)}|{'-' * (widths[2] + 1)}:|{'-' * (widths[3] + 1)}:|"
    )
    return "\n".join([line(head), rule, *map(line, rows)])


def _count(outcomes: object) -> tuple[int, int]:
    chosen = [o for o in outcomes if o.survived is not None]  # type: ignore[attr-defined]
    return len(chosen), sum(bool(o.survived) for o in chosen)


def failures(outcomes: Sequence[Outcome]) -> list[str]:
    """What was not survived, with what to run it alone."""
    return [
        f"NOT SURVIVED {o.case}   (python -m tests.faults --only {o.case})\n    "
        + o.why.replace("\n", "\n    ")
        for o in outcomes
        if o.survived is False
    ]


def document(outcomes: Sequence[Outcome], *, command: str, seed: int, seconds: float, folder: Path) -> str:
    """The report as a page of the documentation."""
    tried, survived = _count(outcomes)
    untried = len(outcomes) - tried
    lost = "".join(f"\n```\n{text}\n```\n" for text in failures(outcomes))
    place = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, {file_system(folder)}"
    reasons = ", ".join(sorted({o.why for o in outcomes if o.survived is None}))
    more = f"{untried} more could not be tried: {reasons}.\n" if untried else ""
    return f"""# Faults tried, faults survived

Written by `{command}`.

{tried} faults were injected into whole `hermetic` processes that work on a small real project (real
sandboxes, a real HTTP server); {survived} were survived. Survived means:

- `hermetic store verify` reports no error;
- everything that was registered before, or reported as done, is in the store;
- a plain retry succeeds and gives the same content hashes as an undisturbed run;
- no process, mount or work directory is left.

The code is in [tests/faults](../tests/faults).
{more}
Seed {seed}; {seconds:.0f} s on {place}.

{table(outcomes)}
{lost}
- **kill-hermetic, kill-build, kill-both**: `kill -9` of the hermetic process, of a process of the running
  build (its script, the first process of its sandbox, the sandbox server, or all of them), or of all at
  once. The kill happens at a call with an effect, drawn from all calls that an undisturbed run makes in
  the phase, or up to 3 ms later (0.7 s in builds). In the phase `gc`, a collection is killed while a build
  runs beside it.
- **full-disk**: a tmpfs runs out of bytes or inodes at some point in the middle of the run. `gc`: then a
  collection runs on the disk that is filled to its last block. The retry has enough space.
- **read-only**: the store becomes read-only in the middle of a phase, or is read-only from the beginning.
  The retry can write.
- **server**: one or both mirrors of a source fail as named. Either hermetic reports an error within a
  bounded time, or it uses the other mirror. For the retry the mirrors work.
- **clock**: the clock is between an hour and ten years ahead and jumps back after a run (`ran`), in the
  middle of a phase, or while one process waits for another (`wait`). `files`: all records have time stamps
  in the future.
- **processes**: two to four processes run at once with overlapping targets. Collections run beside them
  all the time, and mostly one of the processes is killed.
"""


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]
