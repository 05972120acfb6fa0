"""kill -9 of the build, of hermetic, and of both, at instants of every phase."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Final

from tests.faults.bench import TARGETS, WITHIN, Aftermath, Bench, Case, Untried, ended_in_words, finished
from tests.support.project import Ran

KINDS: Final = ("kill-hermetic", "kill-build", "kill-both")
TRIES: Final = 5
TOO_EARLY: Final = "the run was over before the instant came"
_WITHIN_A_CALL: Final = 0.003  # seconds: system calls take less
_WHILE_IT_BUILDS: Final = 0.7


def instant(bench: Bench, case: Case, dice: random.Random, attempt: int) -> dict[str, Any]:
    """Where a case strikes. Later attempts strike earlier, for runs in which less happened."""
    fired = bench.folder / "fired"
    fired.unlink(missing_ok=True)
    where = dice.choice(list(bench.effects[case.phase]))
    at = 1 + int(dice.random() * bench.effects[case.phase][where]) // 2**attempt
    after = dice.choice((0.0, dice.random() * _WITHIN_A_CALL))
    if case.phase == "build" and dice.random() < 0.5:
        after = dice.random() * _WHILE_IT_BUILDS
    target = dice.choice(("script", "script", "init", "server", "all"))
    spec = {"where": where, "at": at, "after": after, "do": case.kind, "target": target}
    return spec | {"fired": str(fired)}


def has_fired(spec: dict[str, Any], ran: Ran) -> bool:
    """Whether it came to the strike. A run may end by itself just before it is killed."""
    came_too_late = spec["do"] in ("kill-hermetic", "kill-both") and ran.code in (0, 130)
    return Path(spec["fired"]).exists() and not came_too_late


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
    raise Untried(TOO_EARLY)


def _realize(bench: Bench, case: Case, spec: dict[str, Any], after: Aftermath) -> bool:
    ran = _while_a_build_runs(bench.start("realize", "-j5", *TARGETS, "endless", spec=spec))
    if not has_fired(spec, ran):
        return False
    ended_in_words(ran, (1, 100) if case.kind == "kill-build" else (-9,))
    after.check(ran.err)
    return True


def _while_a_build_runs(process: subprocess.Popen[str]) -> Ran:
    """Wait until it is struck. If there is nothing more to strike, it is asked to end."""
    assert process.stderr is not None
    said = ""
    watchdog = threading.Timer(WITHIN, process.kill)
    watchdog.start()
    try:
        for line in process.stderr:
            said += line
            if f" built {TARGETS[0]}-1 " in line:
                time.sleep(_WHILE_IT_BUILDS)
                process.terminate()
    finally:
        watchdog.cancel()
    ran = finished(process)
    return ran._replace(err=said + ran.err)


def _gc(bench: Bench, case: Case, spec: dict[str, Any], after: Aftermath) -> bool:
    """A collection is struck, and a build that runs beside it."""
    after.collected_too()
    beside = ran = None
    if case.kind != "kill-hermetic":
        beside = bench.start("realize", "endless")
        bench.project.log(beside, "building endless")
        spec["beside"] = beside.pid
    try:
        ran = bench.run("gc", spec=spec)
    finally:
        if beside is not None:
            if ran is None or not has_fired(spec, ran):
                beside.terminate()
            other = finished(beside)
    if not has_fired(spec, ran):
        return False
    ended_in_words(ran, (0,) if case.kind == "kill-build" else (-9,))
    if beside is not None:
        ended_in_words(other, (1, 100) if case.kind == "kill-build" else (-9,))
    after.check()
    return True
