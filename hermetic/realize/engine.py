"""Decides what runs when: realizes a piece of work along its graph, in parallel.

One thread decides; worker threads do steps (`steps.Steps`). A derivation is ready when all its inputs
are realized. Only then is its build key known, and with it whether it must be built at all. What is ready
waits in a lane for room: builds for the executor's, unpacking for this machine's, downloads for a thread.

What a substituter offers is taken from there, and its inputs are not wanted. If it then turns out that the
output cannot be had, the plan grows while the run goes on: the step is done here, and its inputs are wanted.
"""

from __future__ import annotations

import heapq
import threading
import time
from _queue import Empty, SimpleQueue  # `queue` loads more than the engine needs
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec

from hermetic.derivation import graph
from hermetic.derivation.graph import Work
from hermetic.derivation.step import Step
from hermetic.derivation.value import build_key, inputs_of
from hermetic.errors import HermeticError, SandboxError, StoreError
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import Failed, Finished, Listener, Planned, Skipped
from hermetic.realize.executor import POLL, Admission
from hermetic.realize.steps import Done, Steps
from hermetic.realize.substituter import Offer
from hermetic.store.names import content_hash_of

_DOWNLOADS_AT_ONCE: Final = 4

Result: TypeAlias = Done | None  # None: the output could not be had from the substituter that offered it


class Outcome(msgspec.Struct):
    """What became of a run.

    Attributes:
        objects: target label to store object, for those that are realized.
        failures: derivation id to error. skipped: derivation ids not tried because of them.
        done: derivation id to what came of it, for all that were pending.
    """

    objects: dict[str, str]
    failures: dict[str, HermeticError]
    skipped: list[str]
    done: dict[str, Done]


class _Lane:
    """Steps that wait for the same room, the most urgent first.

    Args:
        admission: who is asked for room; None where the number of steps is the only limit.
        most: how many run at once.
    """

    def __init__(self, name: str, admission: Admission | None, most: int) -> None:
        self.name = name
        self.admission = admission
        self.most = most
        self.ready: list[tuple[int, str]] = []
        self.running = 0

    def admit(self) -> bool:
        """Whether something is ready and there is room for it."""
        if not self.ready or self.running >= self.most:
            return False
        if self.admission is not None and not self.admission.admit():
            return False
        self.running += 1
        return True

    def leave(self) -> None:
        self.running -= 1
        if self.admission is not None:
            self.admission.leave()

    def starved(self) -> bool:
        """Whether it waits for room that something else than its own steps holds."""
        return bool(self.ready) and self.admission is not None and self.running < self.admission.capacity


class _Running(threading.Thread):
    """The thread of a step. When it ends it puts itself in a queue."""

    def __init__(
        self, step: Step, lane: _Lane, work: Callable[[], Result], ended: SimpleQueue[_Running]
    ) -> None:
        super().__init__(name=lane.name)
        self.step = step
        self.lane = lane
        self.begun = time.monotonic()
        self._work = work
        self._ended = ended
        self._result: Result = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.put(self)

    def result(self) -> Result:
        """What the step gave, or the error that ended it, raised."""
        if self._error is not None:
            raise self._error
        return self._result


class Engine:
    """One run.

    Args:
        local: room on this machine. With an executor that works here it is the executor itself.
        keep_going: after a failure go on with what does not depend on it.
    """

    def __init__(
        self, steps: Steps, work: Work, local: Admission, *, keep_going: bool, listener: Listener
    ) -> None:
        self.steps = steps
        self.work = work
        self.derivations = work.derivations
        self.keep_going = keep_going
        self.listener = listener
        self.objects: dict[str, str] = {}  # derivation id to store object
        self.offers: dict[str, Offer] = {}  # derivation id to who has its output
        self.outcome = Outcome({}, {}, [], {})
        self._local = local
        self._lanes: dict[str, _Lane] = {}
        self._running: set[_Running] = set()
        self._ended: SimpleQueue[_Running] = SimpleQueue()
        self._urgency: dict[str, int] = {}
        self._missing: dict[str, int] = {}  # of what is wanted: how many inputs are not realized yet
        self._uses: dict[str, list[str]] = {}  # what is wanted to what wants it

    def pending(self) -> list[str]:
        """What may have to be realized. Fills `objects` with what is there, `offers` with what can be had."""
        return graph.pending(self.derivations, self.work.roots.values(), self._is_realized, self._offered)

    def _offered(self, drv_ids: list[str]) -> dict[str, Offer]:
        found = self.steps.substituters.by_derivation([self.work.steps[d] for d in drv_ids])
        self.offers |= found
        return found

    def _is_realized(self, drv_id: str) -> bool:
        if drv_id not in self.objects:
            found = self.steps.realized(drv_id)
            if found is not None:
                self.objects[drv_id] = found
        return drv_id in self.objects

    def run(self) -> Outcome:
        """Realize everything.

        Raises:
            HermeticError: the first failure, unless `keep_going`.
            KeyboardInterrupt: after every build has been stopped.
        """
        todo = self.pending()
        if todo:
            self._announce(todo)
            self._refuse_downloads(todo)
            self._run(todo)
        for name, root in self.work.roots.items():
            if root in self.objects:
                self.outcome.objects[name] = self.objects[root]
        return self.outcome

    def _announce(self, wanted: Collection[str]) -> None:
        steps = [self.work.steps[d] for d in wanted if d not in self.offers]
        sizes = [step.pin.size for step in steps if step.pin is not None]
        builds = sum(step.kind == "build" for step in steps)
        substitutes = len(wanted) - len(steps)
        self.listener(Planned(builds, len(sizes), sum(sizes), len(wanted), substitutes))

    def _refuse_downloads(self, wanted: list[str]) -> None:
        """Offline, name every source that is missing before anything else is done."""
        steps = [self.work.steps[d] for d in wanted if d not in self.offers]
        pins = [step.pin for step in steps if step.pin is not None]
        if self.steps.offline and pins:
            from hermetic.sources import fetch  # slow to load, and most runs fetch nothing

            raise fetch.missing(pins)

    def _run(self, todo: list[str]) -> None:
        everything = graph.closure(self.derivations, self.work.roots.values())
        self._urgency = graph.urgency(self.derivations, everything)
        self._lanes = self._open_lanes()
        try:
            self._want(todo)
            self._start_what_can()
            while self._running or any(lane.ready for lane in self._lanes.values()):
                for running in self._all_ended():
                    self._conclude(running)
                self._start_what_can()
        except BaseException:
            self.steps.cancel()
            raise
        finally:
            for running in self._running:
                if running.ident is not None:  # else it could not be started
                    running.join()

    def _open_lanes(self) -> dict[str, _Lane]:
        executor = self.steps.executor
        builds = _Lane("build", executor, executor.capacity)
        return {
            "substitute": _Lane("substitute", None, _DOWNLOADS_AT_ONCE),
            "fetch": _Lane("fetch", None, _DOWNLOADS_AT_ONCE),
            "unpack": builds
            if self._local is executor
            else _Lane("unpack", self._local, self._local.capacity),
            "build": builds,
        }

    def _want(self, todo: list[str]) -> None:
        """Count what each of these has to wait for, and make ready what need not wait."""
        for drv_id in todo:
            inputs = () if drv_id in self.offers else inputs_of(self.derivations[drv_id])
            needed = [i for i in inputs if i not in self.objects]
            for one in needed:
                self._uses.setdefault(one, []).append(drv_id)
            self._missing[drv_id] = len(needed)
            if not needed:
                self._make_ready(drv_id)
            elif lost := [i for i in needed if i in self.outcome.failures or i in self.outcome.skipped]:
                self._skip([drv_id], self.work.steps[lost[0]].label)

    def _make_ready(self, drv_id: str) -> None:
        lane = self._lanes["substitute" if drv_id in self.offers else self.work.steps[drv_id].kind]
        heapq.heappush(lane.ready, (-self._urgency[drv_id], drv_id))

    def _start_what_can(self) -> None:
        for lane in self._lanes.values():
            while lane.admit():
                step = self.work.steps[heapq.heappop(lane.ready)[1]]
                running = _Running(step, lane, self._do(step), self._ended)
                self._running.add(running)
                running.start()

    def _do(self, step: Step) -> Callable[[], Result]:
        """What a worker thread is to do. What it needs to know is looked up here, in the deciding thread."""
        if (offer := self.offers.get(step.drv_id)) is not None:
            return lambda: self.steps.substitute(step, offer)
        if step.kind == "fetch":
            return lambda: self.steps.fetch(step)
        key = build_key(step.derivation, self._content)
        inputs = {i: self.objects[i] for i in inputs_of(step.derivation)}
        do = self.steps.build if step.kind == "build" else self.steps.unpack
        return lambda: do(step, key, inputs)

    def _all_ended(self) -> Iterator[_Running]:
        """Wait until something ends, or there may be room for something that waits."""
        timeout = POLL if any(lane.starved() for lane in self._lanes.values()) else None
        if not self._running:
            time.sleep(POLL)  # all the room is taken by somebody else
            return
        ended: list[_Running] = []
        with suppress(Empty):
            ended.append(self._ended.get(timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        for running in ended:
            running.join()
            self._running.remove(running)
            running.lane.leave()
            yield running

    def _conclude(self, running: _Running) -> None:
        step = running.step
        try:
            done = running.result()
        except Cancelled:
            raise KeyboardInterrupt from None
        except HermeticError as error:
            self._fail(step, error)
        else:
            if done is None:
                self._do_without(step)
            else:
                self._finish(step, done, time.monotonic() - running.begun)

    def _do_without(self, step: Step) -> None:
        """An output could not be had: it is asked for elsewhere, or else made here from its inputs."""
        drv_id = step.drv_id
        failed = self.offers.pop(drv_id)
        self.offers |= self.steps.substituters.by_derivation([step], after=failed.number)
        if drv_id in self.offers:
            self._make_ready(drv_id)
            return
        wanted = graph.pending(
            self.derivations,
            inputs_of(step.derivation),
            lambda d: d in self._missing or self._is_realized(d),
            self._offered,
        )
        wanted.append(drv_id)
        if not self.keep_going:  # else each that is missing fails by itself
            self._refuse_downloads(wanted)
        self._announce({*self._missing, *wanted})
        self._want(wanted)

    def _finish(self, step: Step, done: Done, seconds: float) -> None:
        self.objects[step.drv_id] = done.object
        self.outcome.done[step.drv_id] = done
        unexpected = step.expected if step.expected != self._content(step.drv_id) else ""
        self.listener(
            Finished(step.drv_id, step.label, done.how, seconds, done.object, unexpected, done.origin)
        )
        for above in self._uses.get(step.drv_id, ()):
            self._missing[above] -= 1
            if not self._missing[above]:
                self._make_ready(above)

    def _fail(self, step: Step, error: HermeticError) -> None:
        self.outcome.failures[step.drv_id] = error
        self.listener(Failed(step.drv_id, step.label, error.message))
        # What is wrong with the machine would be wrong with the next one, too.
        if not self.keep_going or isinstance(error, (SandboxError, StoreError)):
            raise error
        self._skip(self._uses.get(step.drv_id, ()), step.label)

    def _skip(self, drv_ids: Iterable[str], because: str) -> None:
        """Give these up, and all that wants them."""
        stack = list(drv_ids)
        while stack:
            drv_id = stack.pop()
            if drv_id not in self.outcome.skipped:
                self.outcome.skipped.append(drv_id)
                self.listener(Skipped(drv_id, self.work.steps[drv_id].label, because))
                stack += self._uses.get(drv_id, ())

    def _content(self, drv_id: str) -> str:
        return content_hash_of(self.objects[drv_id])
