"""Does one derivation: fetch, unpack, or build, and registers what came of it.

Every step has the same shape: take the lock of the build key (another process may be at it), look once
more whether it is done, work in a private workspace, hand the result to the store in one transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hermetic.derivation.step import Step
from hermetic.derivation.value import Build, Derivation, Unpack, build_key
from hermetic.errors import (
    ArchiveError,
    BuildFailure,
    HashMismatch,
    HermeticError,
    PatchError,
    SubstituterError,
)
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import How, Listener, Notice, Phase, Started, Waiting
from hermetic.realize.executor import Executor, Request, admitted
from hermetic.realize.substituter import Offer, Substituters
from hermetic.store.flocks import Stopped
from hermetic.store.records import Realisation
from hermetic.store.store import Store
from hermetic.tree import Manifest, Unstorable

if TYPE_CHECKING:
    from hermetic.sources.fetch import Fetcher


class Done(msgspec.Struct, frozen=True):
    """What came of a step.

    Attributes:
        object: name of the store object.
        origin: name of the substituter that it was taken from; empty where it was made here.
    """

    object: str
    how: How
    origin: str = ""


class Steps:
    """The steps of one run, safe to call from several threads."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        fetcher: Callable[[threading.Event], Fetcher],
        listener: Listener,
        *,
        substituters: Substituters | None = None,
        offline: bool = False,
        keep_failed: bool = False,
    ) -> None:
        self.store = store
        self.executor = executor
        self.substituters = substituters or Substituters((), listener)
        self.offline = offline
        self.keep_failed = keep_failed
        self._make_fetcher = fetcher
        self._fetcher: Fetcher | None = None
        self._listener = listener
        self._mutex = threading.Lock()
        self.stop = threading.Event()
        self._temp_roots = store.temp_roots()

    def close(self) -> None:
        """Let go of what this run protected from collection."""
        self._temp_roots.close()

    def cancel(self) -> None:
        """Stop every step that is under way."""
        self.stop.set()
        self.executor.cancel()

    def realized(self, drv_id: str) -> str | None:
        """The store object of a derivation, if it is there and whole. Protects it from collection."""
        return self._usable(self.store.realisation(drv_id))

    def _usable(self, found: Realisation | None) -> str | None:
        return self.store.usable(found, temp_roots=self._temp_roots)

    def substitute(self, step: Step, offer: Offer) -> Done | None:
        """Take the output of a step from a substituter that offered it; None when that cannot be."""
        made = offer.realisation
        if self._usable(made) is not None:
            return self._substituted(step, offer)
        with self._lock(made.build_key, self._on_wait(step), step):
            self._check_stop()
            if self._usable(made) is not None:
                return self._substituted(step, offer)
            return self._obtain(step, offer)

    def _substituted(self, step: Step, offer: Offer) -> Done:
        """The object is here already; only that this step gives it was not known."""
        self._record(step, offer.realisation)
        return Done(offer.realisation.object, "substituted", offer.source.name)

    def _obtain(self, step: Step, offer: Offer) -> Done | None:
        made = offer.realisation
        self._listener(Started(step.drv_id, step.label, "substitute"))
        try:
            with self.store.workspace(f"substitute-{step.derivation.name}") as space:
                name = self._register(
                    step,
                    made.build_key,
                    space / "object",
                    made.inputs,
                    made.seconds,
                    expected=made.object,
                    manifest=offer.source.obtain(made.object, space / "object", self.stop),
                )
        except (SubstituterError, HashMismatch, Unstorable) as error:
            self._check_stop()
            self.substituters.refuse(step, offer, error.message)
            return None
        return Done(name, "substituted", offer.source.name)

    def fetch(self, step: Step) -> Done:
        """Download a source, check it, and add it to the store."""

        def work() -> str:
            started = time.monotonic()
            return self._register(step, key, self._download(step), (), time.monotonic() - started)

        key = build_key(step.derivation, _no_inputs)
        return self._locked(step, key, work, "fetched")

    def unpack(self, step: Step, key: str, inputs: Mapping[str, str]) -> Done:
        """Unpack a source and apply its patches. `inputs`: derivation id to store object."""

        def work() -> str:
            started = time.monotonic()
            with self.store.workspace(f"unpack-{step.derivation.name}") as space:
                tree = self._unpack(step, inputs, space)
                return self._register(step, key, tree, tuple(inputs.values()), time.monotonic() - started)

        return self._locked(step, key, work, "unpacked")

    def build(self, step: Step, key: str, inputs: Mapping[str, str]) -> Done:
        """Run a build script in the sandbox. `inputs`: derivation id to store object."""

        def work() -> str:
            started = time.monotonic()
            with self.store.workspace(workspace_label(step), keep=self.keep_failed) as space:
                out = self._build(step, inputs, space)
                self._listener(Phase(step.drv_id, "registering"))
                try:
                    return self._register(step, key, out, tuple(inputs.values()), time.monotonic() - started)
                except Unstorable as error:
                    assert isinstance(step.derivation, Build)
                    message = f"{step.label}: {error.message.replace(str(out), step.derivation.out)}"
                    log = self.store.log_path(step.drv_id)
                    raise BuildFailure(message, details=(f"log: {log}",)) from error

        return self._locked(step, key, work, "built")

    def remake(self, step: Step, inputs: Mapping[str, str], space: Path) -> Path:
        """Do a derivation once more without registering anything: what a repair needs.

        Args:
            inputs: derivation id to store object. space: an empty directory.

        Returns:
            path of the tree or file that was made.
        """
        self._listener(Started(step.drv_id, step.label, step.kind))
        if step.kind == "fetch":
            return self._download(step)
        if step.kind == "unpack":
            return self._unpack(step, inputs, space)
        with admitted(self.executor, self.stop):
            return self._build(step, inputs, space)

    def _unpack(self, step: Step, inputs: Mapping[str, str], space: Path) -> Path:
        from hermetic.sources import archive, patching

        drv = step.derivation
        assert isinstance(drv, Unpack)
        source = self.store.path(inputs[drv.source])
        tree = space / "tree"
        tree.mkdir()

        def tell(note: str) -> None:
            self._listener(Notice(step.drv_id, step.label, note))

        try:
            archive.unpack(source, tree, check=self._check_stop)
        except ArchiveError as error:
            error.message = error.message.replace(source.name, step.label, 1)
            error.details += (f"archive: {source}",)
            error.hint = error.hint or "these are the bytes that flake-like.lock pins: it has to pin others"
            raise
        for patch in drv.patches:
            self._check_stop()
            try:
                patching.apply_to_tree(tree, patch.name, patch.data, tell)
            except PatchError as error:
                error.message = f"{step.label}: {error.message}"
                raise
        return tree

    def _build(self, step: Step, inputs: Mapping[str, str], space: Path) -> Path:
        paths = {i: self.store.path(o) for i, o in inputs.items()}
        log = self.store.log_path(step.drv_id, step.versioned)
        try:
            return self.executor.execute(Request(step, paths, space, log))
        except BuildFailure as error:
            if self.keep_failed:
                error.details += (f"work directory: {self.store.layout.failed / space.name}",)
            raise

    def _locked(self, step: Step, key: str, work: Callable[[], str], how: How) -> Done:
        known = self._by_key(step, key)
        if known is not None:
            return Done(known, "cut off")
        waited: list[str] = []
        with self._lock(key, self._on_wait(step, waited), step):
            self._check_stop()
            known = self._by_key(step, key)
            if known is not None:
                return Done(known, "by another process" if waited else "cut off")
            for offer in self.substituters.by_build_key(step, key):
                if (done := self._obtain(step, offer)) is not None:
                    return done
            log = self.store.log_path(step.drv_id) if step.kind == "build" else None
            if log is not None:
                log.unlink(missing_ok=True)  # that of an earlier attempt, which nobody shall follow
            self._listener(Started(step.drv_id, step.label, step.kind, log))
            return Done(work(), how)

    def _on_wait(self, step: Step, holders: list[str] | None = None) -> Callable[[str], None]:
        """Tell of each process that is waited for, and note it in `holders`."""

        def on_wait(holder: str) -> None:
            if holders is not None:
                holders.append(holder)
            self._listener(Waiting(step.drv_id, step.label, holder))

        return on_wait

    @contextmanager
    def _lock(self, key: str, on_wait: Callable[[str], None], step: Step) -> Iterator[None]:
        try:
            with self.store.lock(key, on_wait=on_wait, label=step.label, stop=self.stop):
                yield
        except Stopped:
            raise Cancelled from None

    def _by_key(self, step: Step, key: str) -> str | None:
        """The object of an earlier build of the same bytes; its realisation is recorded for this id too."""
        found = self.store.realisation_by_key(key)
        usable = self._usable(found)
        if found is None or usable is None:
            return None
        self._record(step, found)
        return usable

    def _record(self, step: Step, made: Realisation) -> None:
        """Register that a step gives an object that is here, as another realisation says."""
        drv = step.derivation
        self.store.record(
            msgspec.structs.replace(
                made, drv_id=step.drv_id, name=drv.name, version=drv.version, system=_system(drv)
            ),
            temp_roots=self._temp_roots,
        )

    def _register(
        self,
        step: Step,
        key: str,
        path: Path,
        inputs: tuple[str, ...],
        seconds: float,
        *,
        expected: str = "",
        manifest: Manifest | None = None,
    ) -> str:
        self._check_stop()
        return self.store.add(
            path,
            step.derivation.name,
            step.derivation.version,
            temp_roots=self._temp_roots,
            drv_id=step.drv_id,
            build_key=key,
            system=_system(step.derivation),
            inputs=inputs,
            seconds=seconds,
            expected=expected,
            manifest=manifest,
        )

    def _download(self, step: Step) -> Path:
        from hermetic.sources import fetch  # slow to load, and most runs fetch nothing

        assert step.pin is not None
        try:
            return self._the_fetcher().fetch(step.pin)
        except fetch.Cancelled:
            raise Cancelled from None

    def _the_fetcher(self) -> Fetcher:
        with self._mutex:
            if self._fetcher is None:
                self._fetcher = self._make_fetcher(self.stop)
        return self._fetcher

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Cancelled


def workspace_label(step: Step) -> str:
    """What the work directory of a build is called, and a kept one is found by."""
    return f"build-{step.target}"


def _system(drv: Derivation) -> str:
    return drv.system if isinstance(drv, Build) else ""


def _no_inputs(drv_id: str) -> str:
    raise HermeticError(f"a fetch has no inputs, but {drv_id} was asked for")
