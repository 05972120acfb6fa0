"""kill -9 of the build, of hermetic, and of both, at instants of every phase."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

from tests.faults.bench import TARGETS, Aftermath, Bench, Case, Untried, ended_in_words, finished

KINDS: Final = ("kill-hermetic", "kill-build", "kill-both")
TRIES: Final = 5
_WITHIN_A_CALL: Final = 0.003  # seconds: system calls take less
_WHILE_IT_BUILDS: Final = 0.7


def instant(bench: Bench, case: Case, dice: random.Random, attempt: int) -> dict[str, Any]:
    """Where a case strikes. Later attempts strike earlier, for runs in which less happened."""
    fired = bench.folder / "fired"
    fired.unlink(missing_ok=True)
    at = 1 + int(dice.random() * bench.effects[case.phase]) // 2**attempt
    after = dice.choice((0.0, dice.random() * _WITHIN_A_CALL))
    if case.phase == "build" and dice.random() < 0.5:
        after = dice.random() * _WHILE_IT_BUILDS
    target = dice.choice(("script", "script", "init", "server", "all"))
    spec = {"phase": case.phase, "at": at, "after": after, "do": case.kind, "target": target}
    return spec | {"fired": str(fired)}


def has_fired(spec: dict[str, Any]) -> bool:
    """Whether it came to the strike."""
    return Path(spec["fired"]).exists()


def run(bench: Bench, case: Case) -> None:
    """Try one case.

    Raises:
        Lost: it was not survived. Untried.
    """
    strike = _gc if case.phase == "gc" else _realize
    for attempt in range(TRIES):
        dice = random.Random(f"{case} {attempt}")
        with bench.case(bench.full if case.phase == "gc" else bench.base) as after:
            spec = instant(bench, case, dice, attempt)
            if strike(bench, case, spec, after):
                return
    raise Untried


def _realize(bench: Bench, case: Case, spec: dict[str, Any], after: Aftermath) -> bool:
    ran = bench.run("realize", "-j4", *TARGETS, spec=spec)
    if not has_fired(spec):
        return False
    # A build that is killed fails; one whose last process was done already may count as built.
    ended_in_words(ran, (0, 1, 100) if case.kind == "kill-build" else (-9,))
    after.check(ran.err)
    return True


def _gc(bench: Bench, case: Case, spec: dict[str, Any], after: Aftermath) -> bool:
    """A collection is struck, and a build that runs beside it."""
    after.before = set(bench.old)  # what a root keeps; the rest may go
    beside = None
    if case.kind != "kill-hermetic":
        bench.project.recipe("beside", f"sleep 1.{case.seed % 1000:03}")
        beside = bench.start("realize", "beside")
        assert beside.stderr is not None
        bench.project.log(beside, "building beside")
        spec["beside"] = beside.pid
    try:
        ran = bench.run("gc", spec=spec)
    finally:
        if beside is not None:
            other = finished(beside)
    if not has_fired(spec):
        return False
    ended_in_words(ran, (0,) if case.kind == "kill-build" else (-9,))
    if beside is not None:
        ended_in_words(other, (1, 100) if case.kind == "kill-build" else (-9,))
    after.check()
    return True
