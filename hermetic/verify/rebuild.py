"""Builds derivations again, perturbed, without registering anything, and compares.

A rebuild starts from the very inputs that the first build had, so a difference is the derivation's own and
not inherited. Rebuilds with one job each run beside each other, as many as there are cores.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from hermetic import tree
from hermetic.derivation.step import Step
from hermetic.derivation.value import Build, inputs_of
from hermetic.errors import HermeticError, SandboxError, StoreError
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import Failed, Finished, Listener, Planned, Started
from hermetic.realize.executor import Executor, Request, admitted
from hermetic.realize.local import LocalExecutor
from hermetic.sandbox.spec import SandboxSpec
from hermetic.store import flocks
from hermetic.store.names import content_hash_of
from hermetic.store.store import Store
from hermetic.verify.perturb import CLOCK_OFFSET, Perturbations, perturbed
from hermetic.verify.reorder import unlike
from hermetic.verify.verdict import Verdict

if TYPE_CHECKING:
    from hermetic.verify.compare.model import BuildFacts

_ROOM: Final = 6 << 30  # bytes that a place must have free: the compiler, sources, objects of a large build
_ELSEWHERE: Final = "hermetic-elsewhere-"
_SEED: Final = 0x5EED  # of the other order; a fixed one, so that a finding can be seen again


class Rebuilder:
    """Rebuilds one by one or side by side.

    Args:
        steps: the builds to verify, by derivation id.
        objects: derivation id to store object, for these builds and their inputs.
        jobs: cores to use.
        keep: directory to leave both trees of a differing build in; None to leave nothing.
    """

    def __init__(
        self,
        store: Store,
        steps: Mapping[str, Step],
        objects: Mapping[str, str],
        on: Perturbations,
        listener: Listener,
        *,
        jobs: int,
        keep: Path | None = None,
    ) -> None:
        self.store = store
        self.steps = steps
        self.objects = objects
        self.on = on
        self.jobs = jobs
        self.keep = keep
        self._listener = listener
        self._copies: dict[str, Path] = {}
        self._mutex = threading.Lock()

    def run(self, rounds: int, report: Callable[[Verdict], None]) -> list[Verdict]:
        """Rebuild everything `rounds` times. `report` is told of each verdict as it falls."""
        order = [(d, n) for n in range(1, rounds + 1) for d in self.steps]
        if "order" in self.on and len(order) > 1:
            import random

            random.Random(_SEED).shuffle(order)
        self._listener(Planned(len(order), 0, 0, len(order)))
        one_job = "jobs" in self.on
        with ExitStack() as stack:
            space = Path(stack.enter_context(self.store.workspace("verify")))
            place = self._place(stack, space)
            executor = LocalExecutor(space, self.jobs, self._listener, transform=self._transform)
            stack.callback(executor.close)
            verdicts: list[Verdict] = []

            def one(item: tuple[str, int]) -> None:
                verdict = self._verify(executor, *item, place)
                with self._mutex:
                    verdicts.append(verdict)
                    report(verdict)

            try:
                if len(order) == 1:
                    one(order[0])
                else:
                    _run_all(one, order, self.jobs if one_job else 1, executor.cancel)
            except Cancelled:
                raise KeyboardInterrupt from None
        return sorted(verdicts, key=lambda v: (v.round, list(self.steps).index(v.drv_id)))

    def _place(self, stack: ExitStack, space: Path) -> Path:
        """Where rebuilds work: in memory if there is room, else beside the store."""
        if "place" not in self.on:
            return space
        for candidate in ("/dev/shm", os.environ.get("TMPDIR", "/tmp")):
            if os.access(candidate, os.W_OK) and _free(candidate) > _ROOM:
                return stack.enter_context(_temporary(Path(candidate)))
        other = space / "an-other" / "place"
        other.mkdir(parents=True)
        return other

    def _original(self, drv_id: str) -> Path:
        return self.store.path(self.objects[drv_id])

    def _input(self, drv_id: str, place: Path) -> Path:
        """An input as the rebuild gets it: a copy elsewhere, its directories filled in another order."""
        original = self._original(drv_id)
        if "place" not in self.on:
            return original
        with self._mutex:
            if drv_id not in self._copies:
                copy = place / f"input-{len(self._copies)}"
                tree.copy(original, copy)
                unlike(copy, original)
                self._copies[drv_id] = copy
            return self._copies[drv_id]

    def _transform(self, drv: Build, spec: SandboxSpec) -> SandboxSpec:
        """The sandbox of a rebuild, perturbed; and its sources in another order."""
        if "place" in self.on:
            build = next(Path(m.source) for m in spec.mounts if m.target == "/build")
            for path, drv_id in drv.sources.items():
                unlike(build / path.removeprefix("/build/"), self._original(drv_id))
        return perturbed(spec, self.on)

    def _verify(self, executor: Executor, drv_id: str, number: int, place: Path) -> Verdict:
        step = self.steps[drv_id]
        name = step.label
        expected = self.objects[drv_id]
        known = Verdict(
            drv_id=drv_id, label=name, status="failed", round=number, expected=content_hash_of(expected)
        )
        started = time.monotonic()
        log = self.store.log_path(f"verify-{drv_id}")
        self._listener(Started(drv_id, name, "build", log))
        work = place / f"work-{drv_id[:8]}-{number}"
        work.mkdir()
        try:
            inputs = {i: self._input(i, place) for i in inputs_of(step.derivation)}
            with admitted(executor):
                out = executor.execute(Request(step, inputs, work, log))
            found = tree.canonicalise_and_scan(out).content_hash
            known = replace(known, found=found, seconds=time.monotonic() - started)
            self._listener(Finished(drv_id, name, "built", known.seconds, expected))
            if found == known.expected:
                return replace(known, status="reproducible")
            from hermetic.verify.compare.tree import compare_trees  # slow to load: it knows many formats

            facts = _facts(place, self.store, expected, self.on)
            differences = tuple(compare_trees(self.store.path(expected), out, facts=facts))
            kept = self._keep_both(step, expected, out)
            return replace(known, status="differs", differences=differences, kept=kept)
        except (SandboxError, StoreError):
            raise
        except HermeticError as error:
            self._listener(Failed(drv_id, name, error.message))
            text = "\n".join([error.message, *error.details])
            return replace(known, error=text, seconds=time.monotonic() - started)
        finally:
            tree.remove(work)

    def _keep_both(self, step: Step, expected: str, out: Path) -> str:
        if self.keep is None:
            return ""
        directory = self.keep / step.versioned
        with self._mutex:
            number = 1
            while directory.exists():
                number += 1
                directory = self.keep / f"{step.versioned}-{number}"
            directory.mkdir(parents=True)
        tree.copy(self.store.path(expected), directory / "first", writable=True)
        tree.copy(out, directory / "rebuild", writable=True)
        return str(directory)


def _run_all(
    one: Callable[[tuple[str, int]], None],
    order: list[tuple[str, int]],
    workers: int,
    cancel: Callable[[], None],
) -> None:
    from concurrent.futures import ThreadPoolExecutor  # slow to load, and not needed for one rebuild

    with ThreadPoolExecutor(workers, "verify") as pool:
        try:
            for done in [pool.submit(one, item) for item in order]:
                done.result()
        except BaseException:
            # Before the end of the `with`, which waits for what runs.
            pool.shutdown(wait=False, cancel_futures=True)
            cancel()
            raise


@contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    """A directory of a random name, removed at the end with all that is read-only in it.

    It is locked as long as its process lives: whoever comes next removes those that nobody holds.
    """
    for left in parent.glob(f"{_ELSEWHERE}*"):
        lock = flocks.try_lock(left) if left.lstat().st_uid == os.geteuid() else None
        if lock is not None:
            tree.remove(left)
            os.close(lock)
    path = parent / f"{_ELSEWHERE}{os.urandom(8).hex()}"
    path.mkdir(0o755)
    path.chmod(0o755)
    lock = flocks.try_lock(path)
    try:
        yield path
    finally:
        tree.remove(path)
        if lock is not None:
            os.close(lock)


def _free(path: str) -> int:
    """Bytes that fit on the file system of a path."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _facts(place: Path, store: Store, expected: str, on: Perturbations) -> BuildFacts:
    """What may have leaked into one of the two trees."""
    from hermetic.verify.compare.model import BuildFacts

    now = int(time.time())
    first = store.info(expected)
    return BuildFacts(
        paths=(str(place), str(store.root)),
        host_names=("localhost", "perturbed-host", os.uname().nodename),
        users=("build", os.environ.get("USER", "root")),
        kernels=(os.uname().release, os.uname().version),
        # Also under another clock, what the kernel notes down by itself is of this one.
        times=(
            *((first.registered_at,) if first else ()),
            *((now + CLOCK_OFFSET,) if "clock" in on else ()),
            now,
        ),
    )
