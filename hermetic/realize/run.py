"""One run: joins a store, an executor, a fetcher and the engine. Whoever may have to build starts here."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.derivation.graph import Work
from hermetic.project.pin import Pin
from hermetic.realize.engine import Engine
from hermetic.realize.events import Event, Listener, Notice, Transfer
from hermetic.realize.local import LocalExecutor
from hermetic.realize.settings import Settings
from hermetic.realize.steps import Steps
from hermetic.realize.store_substituter import StoreSubstituter
from hermetic.realize.substituter import Substituter, Substituters
from hermetic.store.store import Store

if TYPE_CHECKING:
    from hermetic.sources.fetch import Fetcher


@contextmanager
def engine(
    store: Store, work: Work, settings: Settings, listener: Listener | None = None
) -> Iterator[Engine]:
    """An engine for one piece of work. At the end of the block its processes and its protection are gone.

    Args:
        listener: told of everything that happens, from several threads.

    Raises:
        UsageError: one of the directories to substitute from is no store.
    """
    tell = listener or _nobody
    with store.workspace("run") as space:
        executor = LocalExecutor(space, settings.jobs or os.cpu_count() or 1, tell)
        steps = Steps(
            store,
            executor,
            lambda stop: _fetcher(store, work, settings.offline, tell, stop),
            tell,
            substituters=substituters(store, settings.substitute, tell),
            offline=settings.offline,
            keep_failed=settings.keep_failed,
        )
        try:
            yield Engine(steps, work, executor, keep_going=settings.keep_going, listener=tell)
        finally:
            steps.close()
            executor.close()


def substituters(store: Store, paths: Iterable[Path], listener: Listener | None = None) -> Substituters:
    """Other stores as substituters, each once. The store itself is none, so that one setting can serve many.

    Raises:
        UsageError: one of the directories is no store.
    """
    found: dict[Path, Substituter] = {}
    for path in paths:
        substituter = StoreSubstituter(path)
        if path.resolve() != store.root.resolve():
            found.setdefault(path.resolve(), substituter)
    return Substituters(list(found.values()), listener or _nobody)


def _fetcher(store: Store, work: Work, offline: bool, tell: Listener, stop: threading.Event) -> Fetcher:
    from hermetic.sources.fetch import Fetcher  # slow to load, and most runs fetch nothing

    drv_ids = {step.pin: step.drv_id for step in work.steps.values() if step.pin is not None}

    def progress(pin: Pin, done: int, total: int, mirror: str) -> None:
        tell(Transfer(drv_ids[pin], done, total, mirror))

    def notice(pin: Pin, line: str) -> None:
        tell(Notice(drv_ids[pin], f"{pin.name}-{pin.version}", line))

    return Fetcher(store.layout.downloads, offline=offline, progress=progress, notice=notice, cancel=stop)


def _nobody(event: Event) -> None:
    """The listener where nobody listens."""
