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
from typing import TYPE_CHECKING, Protocol

from hermetic.derivation.graph import label
from hermetic.derivation.value import Build, Derivation, Fetch, Unpack, build_key
from hermetic.errors import ArchiveError, BuildFailure, HermeticError, PatchError
from hermetic.project.lock import Pin
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import How, Listener, Phase, Started, Waiting
from hermetic.store.flocks import Stopped
from hermetic.store.records import Realisation
from hermetic.store.store import Store
from hermetic.tree import Unstorable

if TYPE_CHECKING:
    from hermetic.sources.fetch import Fetcher


class Executor(Protocol):
    """Runs the script of a build somewhere. The one here is `local.LocalExecutor`."""

    def execute(
        self, drv_id: str, drv: Build, inputs: Mapping[str, Path], work: Path, log: Path, timeout: int
    ) -> Path:
        """Build, and return the tree that was made.

        Args:
            inputs: derivation id to the path of its store object.
            work: an empty folder for this build alone. log: where its output goes.
            timeout: seconds.

        Raises:
            BuildFailure, BuildTimeout, SandboxError, Cancelled.
        """

    def cancel(self) -> None:
        """Stop everything that runs, now."""


class Steps:
    """The steps of one run, safe to call from several threads."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        fetcher: Callable[[threading.Event], Fetcher],
        listener: Listener,
        *,
        offline: bool = False,
        keep_failed: bool = False,
    ) -> None:
        self.store = store
        self.executor = executor
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
        if found is None:
            return None
        self._temp_roots.add(found.object)
        return found.object if self.store.intact(found.object) else None

    def fetch(self, drv_id: str, drv: Fetch, pin: Pin) -> tuple[str, How]:
        """Download a source, check it, and add it to the store."""

        def work() -> str:
            path = self._download(pin)
            return self._register(drv_id, drv, key, path, (), time.monotonic())

        key = build_key(drv, _no_inputs)
        return self._locked(drv_id, drv, key, work, "fetched")

    def unpack(self, drv_id: str, drv: Unpack, key: str, source: str) -> tuple[str, How]:
        """Unpack a source and apply its patches."""

        def work() -> str:
            started = time.monotonic()
            with self.store.workspace(f"unpack-{drv.name}") as space:
                tree = self._unpack(drv, self.store.path(source), space)
                return self._register(drv_id, drv, key, tree, (source,), started)

        return self._locked(drv_id, drv, key, work, "unpacked")

    def build(
        self, drv_id: str, drv: Build, key: str, inputs: Mapping[str, str], timeout: int
    ) -> tuple[str, How]:
        """Run a build script in the sandbox. `inputs`: derivation id to store object."""

        def work() -> str:
            started = time.monotonic()
            with self.store.workspace(workspace_label(drv), keep=self.keep_failed) as space:
                out = self._build(drv_id, drv, inputs, space, timeout)
                self._listener(Phase(drv_id, "registering"))
                try:
                    return self._register(drv_id, drv, key, out, tuple(inputs.values()), started)
                except Unstorable as error:
                    message = f"{label(drv)}: {error.message.replace(str(out), drv.out)}"
                    raise BuildFailure(message, details=(f"log: {self._log(drv_id, drv)}",)) from error

        return self._locked(drv_id, drv, key, work, "built")

    def remake(
        self,
        drv_id: str,
        drv: Derivation,
        inputs: Mapping[str, str],
        space: Path,
        *,
        pin: Pin | None = None,
        timeout: int | None = None,
    ) -> Path:
        """Do a derivation once more without registering anything: what a repair needs.

        Args:
            inputs: derivation id to store object. space: an empty folder.
            pin: of a fetch. timeout: of a build, in seconds.

        Returns:
            path of the tree or file that was made.
        """
        self._listener(Started(drv_id, label(drv), _KINDS[type(drv)]))
        if isinstance(drv, Fetch):
            assert pin is not None
            return self._download(pin)
        if isinstance(drv, Unpack):
            return self._unpack(drv, self.store.path(inputs[drv.source]), space)
        assert timeout is not None
        return self._build(drv_id, drv, inputs, space, timeout)

    def _unpack(self, drv: Unpack, source: Path, space: Path) -> Path:
        from hermetic.sources import archive, patching

        tree = space / "tree"
        tree.mkdir()
        try:
            archive.unpack(source, tree, check=self._check_stop)
        except ArchiveError as error:
            error.message = error.message.replace(source.name, label(drv), 1)
            error.details += (f"archive: {source}",)
            error.hint = error.hint or "these are the bytes that flake-like.lock pins: it has to pin others"
            raise
        for patch in drv.patches:
            self._check_stop()
            try:
                patching.apply_to_tree(tree, patch.name, patch.text)
            except PatchError as error:
                error.message = f"{label(drv)}: {error.message}"
                raise
        return tree

    def _build(self, drv_id: str, drv: Build, inputs: Mapping[str, str], space: Path, timeout: int) -> Path:
        paths = {i: self.store.path(o) for i, o in inputs.items()}
        try:
            return self.executor.execute(drv_id, drv, paths, space, self._log(drv_id, drv), timeout)
        except BuildFailure as error:
            if self.keep_failed:
                error.details += (f"work folder: {self.store.layout.failed / space.name}",)
            raise

    def _locked(
        self, drv_id: str, drv: Derivation, key: str, work: Callable[[], str], how: How
    ) -> tuple[str, How]:
        known = self._by_key(drv_id, drv, key)
        if known is not None:
            return known, "cut off"
        waited = False

        def on_wait(holder: str) -> None:
            nonlocal waited
            waited = True
            self._listener(Waiting(drv_id, label(drv), holder))

        with self._lock(key, on_wait, drv):
            self._check_stop()
            known = self._by_key(drv_id, drv, key)
            if known is not None:
                return known, "by another process" if waited else "cut off"
            log = self._log(drv_id, drv) if isinstance(drv, Build) else None
            if log is not None:
                log.unlink(missing_ok=True)  # that of an earlier attempt, which nobody shall follow
            self._listener(Started(drv_id, label(drv), _KINDS[type(drv)], log))
            return work(), how

    @contextmanager
    def _lock(self, key: str, on_wait: Callable[[str], None], drv: Derivation) -> Iterator[None]:
        try:
            with self.store.lock(key, on_wait=on_wait, label=label(drv), stop=self.stop):
                yield
        except Stopped:
            raise Cancelled from None

    def _log(self, drv_id: str, drv: Build) -> Path:
        return self.store.log_path(drv_id, f"{drv.name}-{drv.version}-{drv.system.split('-')[0]}")

    def _by_key(self, drv_id: str, drv: Derivation, key: str) -> str | None:
        """The object of an earlier build of the same bytes; its realisation is recorded for this id too."""
        found = self.store.realisation_by_key(key)
        usable = self._usable(found)
        if found is None or usable is None:
            return None
        self.store.record(
            Realisation(
                drv_id=drv_id,
                build_key=key,
                object=usable,
                name=drv.name,
                version=drv.version,
                system=_system(drv),
                inputs=found.inputs,
                seconds=found.seconds,
                built_at=found.built_at,
            ),
            temp_roots=self._temp_roots,
        )
        return usable

    def _register(
        self, drv_id: str, drv: Derivation, key: str, path: Path, inputs: tuple[str, ...], started: float
    ) -> str:
        self._check_stop()
        return self.store.add(
            path,
            drv.name,
            drv.version,
            temp_roots=self._temp_roots,
            drv_id=drv_id,
            build_key=key,
            system=_system(drv),
            inputs=inputs,
            seconds=time.monotonic() - started,
        )

    def _download(self, pin: Pin) -> Path:
        from hermetic.sources import fetch  # slow to load, and most runs fetch nothing

        try:
            return self._the_fetcher().fetch(pin)
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


_KINDS = {Fetch: "fetch", Unpack: "unpack", Build: "build"}


def workspace_label(drv: Build) -> str:
    """What the work folder of a build is called, and a kept one is found by."""
    return f"build-{drv.name}-{drv.system.split('-')[0]}"


def _system(drv: Derivation) -> str:
    return drv.system if isinstance(drv, Build) else ""


def _no_inputs(drv_id: str) -> str:
    raise HermeticError(f"a fetch has no inputs, but {drv_id} was asked for")
