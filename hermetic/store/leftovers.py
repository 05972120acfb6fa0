"""What dead processes have left in a store, beside workspaces: found and removed by a collection."""

# Sets of names are compared before any becomes a path: there may be a hundred thousand.

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hermetic.filesystem import translated
from hermetic.store import flocks, roots, workspaces
from hermetic.store.names import is_object_name

if TYPE_CHECKING:
    from hermetic.store.store import Store

LOG_DAYS: Final = 7  # how long the log of a build stays that left nothing in the store
_PART_DAYS: Final = 1 / 24


class Leftovers(msgspec.Struct, frozen=True):
    """What is left over.

    Attributes:
        unregistered: objects in the store's folder that the database does not know: someone was killed while
            adding or deleting them.
        workspaces: folders of work whose process is dead. failed: kept folders of failed builds.
        files: records, locks, logs and roots that mean nothing any more.
        size: bytes of all.
    """

    unregistered: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    size: int = 0


class Found(msgspec.Struct, frozen=True):
    """The same as paths."""

    unregistered: tuple[Path, ...]
    workspaces: tuple[Path, ...]
    failed: tuple[Path, ...]
    files: tuple[Path, ...]

    def describe(self, store: Store) -> Leftovers:
        """In names and bytes. Walks over all of it: hold no lock meanwhile."""
        return Leftovers(
            tuple(p.name for p in self.unregistered),
            tuple(p.name for p in self.workspaces),
            tuple(p.name for p in self.failed),
            tuple(os.fspath(p.relative_to(store.layout.meta)) for p in self.files),
            sum(map(size_of, (*self.unregistered, *self.workspaces, *self.failed, *self.files))),
        )


def find(store: Store, keep_recent: float | None) -> Found:
    """List them. The caller holds the collector's lock exclusively.

    Args:
        keep_recent: days for which failed builds stay; None: not at all.
    """
    return Found(
        tuple(_unregistered(store)),
        tuple(workspaces.dead(store.layout)),
        tuple(_failed(store, keep_recent)),
        tuple(_files(store)),
    )


def clear(store: Store, found: Found) -> None:
    """Remove all but the workspaces; trees go to the trash. The caller has held the lock since `find`.

    Raises:
        StoreError: something cannot be removed.
    """
    for path in (*found.unregistered, *found.failed):
        with suppress(FileNotFoundError):
            workspaces.discard(store.layout, path)
    for path in found.files:
        if path.parent == store.layout.locks:
            _remove_lock(path)
        else:
            with translated(path, "remove"):
                path.unlink(missing_ok=True)


def _remove_lock(path: Path) -> None:
    lock = flocks.try_folder(path)
    if lock is not None:
        path.unlink(missing_ok=True)
        os.close(lock)


def _unregistered(store: Store) -> Iterator[Path]:
    known = {info.name for info in store.objects()}
    for name in sorted(set(os.listdir(store.root)) - known):
        if is_object_name(name):
            yield store.root / name


def _failed(store: Store, keep_recent: float | None) -> Iterator[Path]:
    for path in sorted(store.layout.failed.iterdir()):
        if workspaces.age_in_days(path) >= (keep_recent or 0):
            lock = flocks.try_folder(path)  # who looks into it may hold its lock
            if lock is not None:
                os.close(lock)
                yield path


def _files(store: Store) -> Iterator[Path]:
    layout = store.layout
    objects = {info.name for info in store.objects()}
    drv_ids = store.database.drv_ids()
    for folder, wanted in (
        (layout.manifests, objects),
        (layout.realisations, {f"{drv_id}.json" for drv_id in drv_ids}),
    ):
        for name in set(os.listdir(folder)) - wanted:
            if not _young_part(folder / name):
                yield folder / name
    for path in layout.log.iterdir():
        if path.is_file() and path.stem not in drv_ids and workspaces.age_in_days(path) > LOG_DAYS:
            yield path
    for path in (layout.log / "by-name").iterdir():
        if not path.exists() and workspaces.age_in_days(path) > LOG_DAYS:
            yield path
    for path in layout.locks.glob("*.build"):
        lock = flocks.try_folder(path)
        if lock is not None:
            os.close(lock)
            yield path
    for folder in (layout.meta, layout.log, layout.eval, layout.roots, layout.roots / "auto"):
        yield from (path for path in folder.glob(".*.part*") if not _young_part(path))
    yield from roots.lapsed(layout)


def _young_part(path: Path) -> bool:
    """Whether it is a file that some living process may be about to rename to its place."""
    if not path.name.startswith("."):
        return False
    try:
        return time.time() - path.lstat().st_ctime < _PART_DAYS * 86400
    except FileNotFoundError:
        return True


def size_of(path: Path) -> int:
    """Bytes of all files below a path; what vanishes meanwhile counts nothing."""
    total = 0
    pending = [os.fspath(path)]
    while pending:
        place = pending.pop()
        with suppress(OSError):
            status = os.lstat(place)
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(place) as items:
                    pending += [item.path for item in items]
            else:
                total += status.st_size
    return total
