"""Decides what runs when: realizes a piece of work along its graph, in parallel.

One thread decides; worker threads do steps (`steps.Steps`). A derivation is ready when all its inputs
are realized. Only then is its build key known, and with it whether it must be built at all. Everything
but a download takes a token of the jobserver first, so the cores are shared by all that computes.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import msgspec

from hermetic.derivation import graph
from hermetic.derivation.graph import Work
from hermetic.derivation.step import Step
from hermetic.derivation.value import Build, Fetch, build_key, inputs_of
from hermetic.errors import HermeticError, SandboxError, StoreError
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import Failed, Finished, How, Listener, Planned, Skipped
from hermetic.realize.jobserver import Jobserver
from hermetic.realize.steps import Steps
from hermetic.store.names import content_hash_of

_DOWNLOADS_AT_ONCE: Final = 4
_TOKEN_POLL: Final = 0.05  # seconds between looks at a jobserver that a make inside a build has emptied


class Outcome(msgspec.Struct):
    """What became of a run.

    Attributes:
        objects: target label to store object, for those that are realized.
        failures: derivation id to error. skipped: derivation ids not tried because of them.
        done: derivation id to how it was realized, for all that were pending.
    """

    objects: dict[str, str]
    failures: dict[str, HermeticError]
    skipped: list[str]
    done: dict[str, How]


class Engine:
    """One run.

    Args:
        jobs: cores to use, at least 1.
        keep_going: after a failure go on with what does not depend on it.
    """

    def __init__(
        self, steps: Steps, work: Work, jobserver: Jobserver, *, keep_going: bool, listener: Listener
    ) -> None:
        self.steps = steps
        self.work = work
        self.derivations = work.derivations
        self.jobserver = jobserver
        self.keep_going = keep_going
        self.listener = listener
        self.objects: dict[str, str] = {}  # derivation id to store object
        self.outcome = Outcome({}, {}, [], {})
        self._running: dict[Future[tuple[str, How]], tuple[Step, float, bool]] = {}
        self._ready: list[tuple[int, str]] = []
        self._builds_running = 0

    def pending(self) -> list[str]:
        """What may have to be realized. Fills `objects` with what is there already."""
        return graph.pending(self.derivations, self.work.roots.values(), self._is_realized)

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
            self._run(todo)
        for name, root in self.work.roots.items():
            if root in self.objects:
                self.outcome.objects[name] = self.objects[root]
        return self.outcome

    def _announce(self, todo: list[str]) -> None:
        pins = [step.pin for d in todo if (step := self.work.steps[d]).pin is not None]
        builds = sum(self.work.steps[d].kind == "build" for d in todo)
        self.listener(Planned(builds, len(pins), sum(pin.size for pin in pins), len(todo)))
        if self.steps.offline and pins:
            from hermetic.sources import fetch  # slow to load, and most runs fetch nothing

            raise fetch.missing(pins)

    def _run(self, todo: list[str]) -> None:
        members = set(todo)
        urgency = graph.urgency(self.derivations, todo)
        missing = {d: sum(i in members for i in inputs_of(self.derivations[d])) for d in todo}
        uses: dict[str, list[str]] = {d: [] for d in todo}
        for drv_id in todo:
            for needed in inputs_of(self.derivations[drv_id]):
                if needed in members:
                    uses[needed].append(drv_id)

        def enqueue(drv_ids: Iterable[str]) -> None:
            for drv_id in drv_ids:
                heapq.heappush(self._ready, (-urgency[drv_id], drv_id))

        enqueue(d for d in todo if not missing[d])
        with (
            ThreadPoolExecutor(self.jobserver.jobs, "build") as builders,
            ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, "fetch") as fetchers,
        ):
            try:
                while self._ready or self._running:
                    starved = self._start_what_can(builders, fetchers)
                    for drv_id in self._collect(_TOKEN_POLL if starved else None):
                        if drv_id in self.outcome.failures:
                            self._skip_above(drv_id, uses)
                            continue
                        for above in uses[drv_id]:
                            missing[above] -= 1
                            if not missing[above]:
                                enqueue([above])
            except BaseException:
                self.steps.cancel()
                raise

    def _start_what_can(self, builders: ThreadPoolExecutor, fetchers: ThreadPoolExecutor) -> bool:
        """Start what is ready. True when something had to stay behind for want of a token."""
        held: list[tuple[int, str]] = []
        while self._ready:
            item = heapq.heappop(self._ready)
            step = self.work.steps[item[1]]
            drv = step.derivation
            if isinstance(drv, Fetch):
                self._running[fetchers.submit(self.steps.fetch, step)] = (step, time.monotonic(), False)
                continue
            if self._builds_running == 0:
                self.jobserver.refill()
            if self._builds_running >= self.jobserver.jobs or not self.jobserver.try_acquire():
                held.append(item)
                continue
            key = build_key(drv, self._content)
            inputs = {i: self.objects[i] for i in inputs_of(drv)}
            do = self.steps.build if isinstance(drv, Build) else self.steps.unpack
            self._running[builders.submit(do, step, key, inputs)] = (step, time.monotonic(), True)
            self._builds_running += 1
        self._ready = held
        heapq.heapify(self._ready)
        return bool(held) and self._builds_running < self.jobserver.jobs

    def _collect(self, timeout: float | None) -> list[str]:
        """Wait until something ends; the derivations that ended."""
        ended, _ = wait(self._running, timeout=timeout, return_when=FIRST_COMPLETED)
        drv_ids = []
        for future in ended:
            step, started, token = self._running.pop(future)
            if token:
                self._builds_running -= 1
                self.jobserver.release()
            drv_ids.append(step.drv_id)
            self._note(step, future, time.monotonic() - started)
        return drv_ids

    def _note(self, step: Step, future: Future[tuple[str, How]], seconds: float) -> None:
        drv_id, name = step.drv_id, step.label
        try:
            self.objects[drv_id], how = future.result()
        except Cancelled:
            raise KeyboardInterrupt from None
        except HermeticError as error:
            self.outcome.failures[drv_id] = error
            self.listener(Failed(drv_id, name, error.message))
            # What is wrong with the machine would be wrong with the next one, too.
            if not self.keep_going or isinstance(error, (SandboxError, StoreError)):
                raise
        else:
            self.outcome.done[drv_id] = how
            unexpected = step.expected if step.expected != self._content(drv_id) else ""
            self.listener(Finished(drv_id, name, how, seconds, self.objects[drv_id], unexpected))

    def _skip_above(self, failed: str, uses: dict[str, list[str]]) -> None:
        because = self.work.steps[failed].label
        stack = list(uses[failed])
        while stack:
            drv_id = stack.pop()
            if drv_id not in self.outcome.skipped:
                self.outcome.skipped.append(drv_id)
                self.listener(Skipped(drv_id, self.work.steps[drv_id].label, because))
                stack += uses[drv_id]

    def _content(self, drv_id: str) -> str:
        return content_hash_of(self.objects[drv_id])
