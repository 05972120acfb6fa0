"""Which faults there are, which of them a run tries, and what became of each."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import pytest

from tests.faults import clock, crowds, disks, kills, network
from tests.faults.bench import PHASES, Bench, Case, Lost, Untried


class Kind(NamedTuple):
    """A kind of fault.

    Attributes:
        phases: where it can strike. run: tries one case.
        group: what is given a number on the command line.
    """

    phases: Sequence[str]
    run: Callable[[Bench, Case], None]
    group: str


KINDS: Final[dict[str, Kind]] = {
    **{kind: Kind(PHASES, kills.run, "kills") for kind in kills.KINDS},
    "full-disk": Kind(disks.FULL, disks.run_full, "full_disk"),
    "read-only": Kind(disks.READ_ONLY, disks.run_read_only, "read_only"),
    "server": Kind(tuple(network.BEHAVIOURS), network.run, "servers"),
    "clock": Kind(clock.INSTANTS, clock.run, "clocks"),
    "processes": Kind(crowds.SIZES, crowds.run, "crowds"),
}


class Outcome(NamedTuple):
    """What became of a case. `survived`: None when it could not be tried. `why`: what was lost."""

    case: Case
    survived: bool | None
    why: str
    seconds: float


def cases(group: str, count: int, seed: int) -> Iterator[Case]:
    """So many cases of a group, spread evenly over its kinds and phases."""
    places = [(k, phase) for k, kind in KINDS.items() if kind.group == group for phase in kind.phases]
    dice = random.Random(f"{seed} {group}")
    dice.shuffle(places)
    for number in range(count):
        kind, phase = places[number % len(places)]
        yield Case(kind, phase, dice.randrange(10**6))


def parse(text: str) -> Case:
    """A case as a report names it: `KIND:PHASE:SEED`.

    Raises:
        ValueError: there is none such.
    """
    kind, phase, seed = text.split(":")
    if kind not in KINDS or phase not in KINDS[kind].phases:
        raise ValueError(f"{text}: no such case")
    return Case(kind, phase, int(seed))


def attempt(bench: Bench, case: Case) -> Outcome:
    """Try one case. Whatever it raises is in the outcome."""
    begun = time.monotonic()
    survived: bool | None = True
    why = ""
    try:
        KINDS[case.kind].run(bench, case)
    except (Untried, pytest.skip.Exception) as reason:
        survived, why = None, str(reason)
    except Lost as loss:
        survived, why = False, str(loss)
    except Exception:
        survived, why = False, traceback.format_exc()
    return Outcome(case, survived, why, time.monotonic() - begun)
