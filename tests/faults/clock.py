"""A clock that jumps back: what was written in what is now the future, and jumps in the midst of a run."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any, Final

from tests.faults.bench import (
    PHASES,
    TARGETS,
    Aftermath,
    Bench,
    Case,
    Lost,
    Untried,
    ended_in_words,
    finished,
)
from tests.faults.kills import TOO_EARLY, TRIES, has_fired, instant

# `ran`: a whole run in the future. `files`: times of files there. `wait`: a jump while one waits for another.
INSTANTS: Final = ("ran", "files", "wait", *PHASES)
_JUMPS: Final = (3600.0, 86400.0 * 40, 86400.0 * 3650)  # seconds


def run(bench: Bench, case: Case) -> None:
    """Try one case.

    Raises:
        Lost, Untried.
    """
    for attempt in range(TRIES):
        dice = random.Random(f"{case} {attempt}")
        with bench.case(bench.full if case.phase in ("gc", "files") else bench.base) as after:
            ahead = dice.choice(_JUMPS)
            if case.phase == "ran":
                _whole_run(bench, ahead)
            elif case.phase == "files":
                _files(bench, ahead)
            elif not _jump(bench, case, instant(bench, case, dice, attempt) | {"clock": ahead}, after):
                continue
            _collections_are_sane(bench)
            if case.phase == "gc":
                after.collected_too()
            after.check()
            _collect_all(bench)
            return
    raise Untried(TOO_EARLY)


def _whole_run(bench: Bench, ahead: float) -> None:
    ran = bench.run("realize", "-j4", *TARGETS, spec={"clock": ahead})
    ended_in_words(ran, (0,))


def _files(bench: Bench, ahead: float) -> None:
    """All that the store keeps beside objects was written in the future; and leftovers of a dead process."""
    meta = bench.project.store / ".hermetic"
    then = time.time() + ahead
    (meta / "tmp" / "build-old-x86_64-0123456789").mkdir()
    (meta / "manifests" / ".0123456789ab.part").write_text("half a manif")
    for place, folders, files in os.walk(meta):
        for name in (*folders, *files):
            os.utime(Path(place) / name, (then, then), follow_symlinks=False)


def _jump(bench: Bench, case: Case, spec: dict[str, Any], after: Aftermath) -> bool:
    """The clock goes back to now at an instant of a run; or the run is killed then, and the next is now."""
    spec["do"] = "clock-back" if case.seed % 2 else "kill-hermetic"
    first = None
    if case.phase == "wait":
        spec |= {"where": "wait store/flocks.py:acquire", "at": 1 + case.seed % 20, "do": "clock-back"}
        first = bench.start("realize", "slow")
        assert first.stderr is not None
        bench.project.log(first, "building slow")
    try:
        ran = bench.run(*(("gc",) if case.phase == "gc" else ("realize", "-j4", *TARGETS)), spec=spec)
    finally:
        if first is not None:
            ended_in_words(finished(first), (0,))
    ended_in_words(ran, (0, -9))
    return has_fired(spec, ran)


def _collections_are_sane(bench: Bench) -> None:
    """What was made in the future counts as recent: nothing of it goes with `--keep-recent`."""
    before = _objects(bench)
    ended_in_words(bench.run("gc", "--keep-recent", "1"), (0,))
    if lost := before - _objects(bench):
        raise Lost(f"gc --keep-recent 1 has deleted what was made just now: {sorted(lost)}")


def _collect_all(bench: Bench) -> None:
    """And without, everything goes that no root keeps, whenever it was made."""
    ended_in_words(bench.run("gc", "--no-keep-derivations", "--no-keep-sources", "--no-keep-seeds"), (0,))
    if _objects(bench) != bench.rooted:
        raise Lost(f"after gc there are {sorted(_objects(bench))}, and roots keep {sorted(bench.rooted)}")


def _objects(bench: Bench) -> set[str]:
    return {one["name"] for one in bench.run("store", "path-info", "--json").json()}
