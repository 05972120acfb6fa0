"""What the engine decides, with steps that only note what is done; on random graphs, with failing offers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermetic import hashing
from hermetic.derivation.graph import Work
from hermetic.derivation.step import Step
from hermetic.derivation.value import Build, Derivation, Fetch, Unpack, inputs_of
from hermetic.errors import BuildFailure, FetchError
from hermetic.project.pin import Pin
from hermetic.realize.engine import Engine, Outcome
from hermetic.realize.events import Event, Planned, Skipped
from hermetic.realize.executor import Admission
from hermetic.realize.steps import Done, Steps
from hermetic.realize.substituter import Offer


class Room:
    """Admission of so many; notes the most that were inside."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.inside = self.most = 0

    def admit(self) -> bool:
        if self.inside == self.capacity:
            return False
        self.inside += 1
        self.most = max(self.most, self.inside)
        return True

    def leave(self) -> None:
        self.inside -= 1


class Notes:
    """In the place of `Steps`: nothing is made, all is noted.

    Args:
        there: derivation ids that are realized already.
        offers: derivation id to how often an offer of its output fails; None: it is there.
        broken: derivation ids whose step fails.
    """

    def __init__(
        self,
        room: Admission,
        there: set[str],
        offers: Mapping[str, int],
        broken: set[str] = frozenset(),  # type: ignore[assignment]
        offline: bool = False,
    ) -> None:
        self.executor = room
        self.substituters = self
        self.offline = offline
        self.there = there
        self.offers = offers
        self.broken = broken
        self.events: list[tuple[str, str]] = []  # what was done, and to which derivation
        self.given: list[tuple[str, set[str]]] = []  # what was executed, with the inputs that it got
        self.cancelled = False
        self._mutex = threading.Lock()

    def realized(self, drv_id: str) -> str | None:
        return name_of(drv_id) if drv_id in self.there else None

    def by_derivation(self, steps: list[Step], *, after: int = -1) -> dict[str, Offer]:
        """As many sources as there are failures and one more; none where an output is never to be had."""
        return {
            s.drv_id: Offer(after + 1, cast(Any, self), cast(Any, None))
            for s in steps
            if s.drv_id in self.offers and after + 1 <= abs(self.offers[s.drv_id])
        }

    name = "elsewhere"

    def substitute(self, step: Step, offer: Offer) -> Done | None:
        failures = self.offers[step.drv_id]
        self._note("substitute", step)
        # A negative number: the last one fails, too.
        if failures < 0 or offer.number < failures:
            return None
        return Done(name_of(step.drv_id), "substituted", self.name)

    def fetch(self, step: Step) -> Done:
        return self._execute("fetch", step, {})

    def unpack(self, step: Step, key: str, inputs: Mapping[str, str]) -> Done:
        return self._execute("unpack", step, inputs)

    def build(self, step: Step, key: str, inputs: Mapping[str, str]) -> Done:
        return self._execute("build", step, inputs)

    def _execute(self, what: str, step: Step, inputs: Mapping[str, str]) -> Done:
        self._note(what, step)
        with self._mutex:
            self.given.append((step.drv_id, set(inputs)))
        if step.drv_id in self.broken:
            raise BuildFailure(f"{step.label} is broken")
        return Done(name_of(step.drv_id), "built")

    def _note(self, what: str, step: Step) -> None:
        with self._mutex:
            self.events.append((what, step.drv_id))

    def cancel(self) -> None:
        self.cancelled = True


def name_of(drv_id: str) -> str:
    return f"{hashing.digest(hashing.TREE, drv_id.encode())}-{drv_id}-1"


def step(name: str, inputs: list[str], *, unpack: bool = False) -> Step:
    if not inputs:
        pin = Pin(name, "1", f"{name}.tar", "", "", 1, ())
        return Step(name, Fetch(name, "1", "", "", 1), pin=pin)
    drv: Derivation = Unpack(name, "1", inputs[0])
    if not unpack:
        mounts = {f"/hermetic/x/{i}": i for i in inputs}
        drv = Build(name, "1", "x86_64-linux-musl", "", f"/hermetic/x/{name}", {}, mounts, {}, {}, "true")
    return Step(name, drv)


@st.composite
def works(draw: st.DrawFn) -> Work:
    size = draw(st.integers(1, 10))
    steps: dict[str, Step] = {}
    for number in range(size):
        inputs = draw(st.lists(st.sampled_from(sorted(steps)), unique=True, max_size=3)) if steps else []
        name = f"n{number}"
        steps[name] = step(name, inputs, unpack=draw(st.booleans()))
    roots = draw(st.lists(st.sampled_from(sorted(steps)), unique=True, min_size=1, max_size=3))
    return Work({f"target {root}": root for root in roots}, steps)


def run(work: Work, notes: Notes, *, keep_going: bool = False) -> tuple[Outcome, list[Event]]:
    told: list[Event] = []
    engine = Engine(cast(Steps, notes), work, notes.executor, keep_going=keep_going, listener=told.append)
    return engine.run(), told


@given(works(), st.data())
@settings(max_examples=80, deadline=None)
def test_everything_that_is_wanted_is_had_once_and_nothing_else_is_touched(
    work: Work, data: st.DataObject
) -> None:
    names = sorted(work.steps)
    there = data.draw(st.sets(st.sampled_from(names)))
    offers = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from([-2, -1, 0, 1, 2])))
    room = Room(data.draw(st.integers(1, 3)))
    notes = Notes(room, there, offers)
    outcome, _ = run(work, notes)
    assert outcome.objects == {label: name_of(root) for label, root in work.roots.items()}

    def had(name: str) -> bool:
        return offers.get(name, -1) >= 0

    def wanted(name: str) -> set[str]:
        below = () if had(name) else inputs_of(work.steps[name].derivation)
        return set() if name in there else {name}.union(*(wanted(i) for i in below))

    everything = set().union(*(wanted(root) for root in work.roots.values()))
    assert set(outcome.done) == everything
    executed = [name for what, name in notes.events if what != "substitute"]
    assert sorted(executed) == sorted(name for name in everything if not had(name))
    for name, inputs in notes.given:
        if work.steps[name].kind != "fetch":
            assert inputs == set(inputs_of(work.steps[name].derivation))
    asked = [name for what, name in notes.events if what == "substitute"]
    assert {name: asked.count(name) for name in everything if name in offers} == {
        name: abs(offers[name]) + 1 for name in everything if name in offers
    }
    assert room.inside == 0
    assert room.most <= room.capacity


@given(works(), st.data())
@settings(max_examples=80, deadline=None)
def test_after_a_failure_all_that_does_not_need_it_is_done_where_that_is_wished(
    work: Work, data: st.DataObject
) -> None:
    names = sorted(work.steps)
    broken = data.draw(st.sets(st.sampled_from(names), max_size=3))
    offers = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from([-1, 0])))
    notes = Notes(Room(2), set(), offers, broken)
    outcome, told = run(work, notes, keep_going=True)

    def sound(name: str) -> bool:
        if offers.get(name, -1) >= 0:
            return True
        return name not in broken and all(sound(i) for i in inputs_of(work.steps[name].derivation))

    assert set(outcome.objects) == {label for label, root in work.roots.items() if sound(root)}
    assert set(outcome.failures) <= broken
    assert (
        len(outcome.skipped) == len(set(outcome.skipped)) == len([e for e in told if isinstance(e, Skipped)])
    )
    assert not set(outcome.done) & {*outcome.failures, *outcome.skipped}
    assert notes.executor.inside == 0  # type: ignore[attr-defined]
    if not outcome.failures:
        assert not outcome.skipped


def chain(*names: str) -> Work:
    steps = {names[0]: step(names[0], [])}
    for below, name in itertools.pairwise(names):
        steps[name] = step(name, [below])
    return Work({names[-1]: names[-1]}, steps)


def test_the_first_failure_ends_the_run_and_stops_what_runs() -> None:
    notes = Notes(Room(2), set(), {}, {"b"})
    with pytest.raises(BuildFailure, match=r"b-1 .* is broken"):
        run(chain("a", "b", "c"), notes)
    assert notes.cancelled
    assert [name for _, name in notes.events] == ["a", "b"]


def test_offline_a_source_is_missing_only_once_it_is_wanted() -> None:
    work = chain("a", "b", "c")
    outcome, _ = run(work, Notes(Room(1), set(), {"c": 0}, offline=True))
    assert set(outcome.done) == {"c"}
    outcome, _ = run(work, Notes(Room(1), set(), {"c": -1, "a": 0}, offline=True))
    assert set(outcome.done) == {"a", "b", "c"}
    for offers in ({}, {"c": -1}):
        notes = Notes(Room(1), set(), offers, offline=True)
        with pytest.raises(FetchError, match="offline, and 1 source is not in the store"):
            run(work, notes)
        assert "fetch" not in [what for what, _ in notes.events]


def test_what_turns_out_to_be_more_work_is_announced() -> None:
    _, told = run(chain("a", "b", "c"), Notes(Room(1), set(), {"c": -1, "b": 0}))
    assert [e for e in told if isinstance(e, Planned)] == [
        Planned(0, 0, 0, 1, substitutes=1),
        Planned(1, 0, 0, 2, substitutes=1),
    ]


def test_builds_and_unpacking_have_room_of_their_own_where_builds_are_executed_elsewhere() -> None:
    steps = {"source": step("source", [])}
    for number in range(6):
        steps[f"tree{number}"] = step(f"tree{number}", ["source"], unpack=True)
        steps[f"build{number}"] = step(f"build{number}", [f"tree{number}"])
    work = Work({f"build{n}": f"build{n}" for n in range(6)}, steps)
    afar, here = Room(4), Room(1)
    notes = Notes(afar, set(), {})
    engine = Engine(cast(Steps, notes), work, here, keep_going=False, listener=lambda event: None)
    assert len(engine.run().objects) == 6
    assert (here.most, here.inside, afar.inside) == (1, 0, 0)
    assert 1 <= afar.most <= 4


def test_room_that_somebody_else_has_for_a_while_is_waited_for() -> None:
    room = Room(1)
    assert room.admit()
    threading.Timer(0.2, room.leave).start()
    outcome, _ = run(chain("a", "b"), Notes(room, {"a"}, {}))
    assert set(outcome.objects) == {"b"}
