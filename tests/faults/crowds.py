"""Several processes at once on one store, a collection beside them, and one of them killed."""

from __future__ import annotations

import random
import threading
from typing import Any, Final

from tests.faults.bench import PHASES, Bench, Case, Lost, ended_in_words, finished
from tests.faults.kills import instant
from tests.support.project import Ran

SIZES: Final = ("two", "three", "four")
_WISHES: Final = ("top", "beta", "gamma", "slow", "alpha")


def run(bench: Bench, case: Case) -> None:
    """Processes that want some of the same; all but the one that is killed must get it.

    Raises:
        Lost.
    """
    dice = random.Random(str(case))
    count = SIZES.index(case.phase) + 2
    victim = dice.choice((None, *range(count)))
    phase = dice.choice([p for p in PHASES if p != "gc"])
    with bench.case(bench.base) as after:
        runs = []
        for number in range(count):
            spec: dict[str, Any] | None = None
            if number == victim:
                spec = instant(bench, Case("kill-hermetic", phase, case.seed), dice, 0)
            wishes = dice.sample(_WISHES, dice.randrange(1, 4))
            link = bench.project.store / ".hermetic" / f"result-{number}"
            runs.append(bench.start("realize", "-j2", "-o", str(link), *wishes, spec=spec))
        with _Collector(bench) as collector:
            ends = [finished(one) for one in runs]
        for number, ran in enumerate(ends):
            ended_in_words(ran, (0, -9) if number == victim else (0,))
            if ran.code == 0:
                _has_what_it_got(ran)
        for ran in collector.ends:
            ended_in_words(ran, (0,))
        after.collected_too()
        after.check()  # what runs called done may be collected, unless a link keeps it


def _has_what_it_got(ran: Ran) -> None:
    """A link keeps every object whose path was printed, whatever is collected meanwhile."""
    if not ran.paths:
        raise Lost(f"no path was printed: {ran.err}")
    for path in ran.paths:
        if not path.exists():
            raise Lost(f"{path} was printed and linked, and is gone")


class _Collector:
    """Collects again and again."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.ends: list[Ran] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._end.wait(0.1):
            self.ends.append(self.bench.run("gc"))

    def __enter__(self) -> _Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
