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
DOWNLOAD_DAYS: Final = 7  # how long a download stays that nobody goes on with, or takes into the store
_PART_DAYS: Final = 1 / 24


class Leftovers(msgspec.Struct, frozen=True):
    """What is left over.

    Attributes:
        unregistered: objects in the store's directory that the database does not know: someone was killed while
            adding or deleting them.
        workspaces: directories of work whose process is dead. failed: kept directories of failed builds.
        downloads: rejected ones, and those that nobody has gone on with for `DOWNLOAD_DAYS`.
        files: records, locks, logs and roots that mean nothing any more.
        size: bytes of all.
    """

    unregistered: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    size: int = 0


class Found(msgspec.Struct, frozen=True):
    """The same as paths."""

    unregistered: tuple[Path, ...]
    workspaces: tuple[Path, ...]
    failed: tuple[Path, ...]
    downloads: tuple[Path, ...]
    files: tuple[Path, ...]

    def describe(self, store: Store) -> Leftovers:
        """In names and bytes. Walks over all of it: hold no lock meanwhile."""
        everything = (*self.unregistered, *self.workspaces, *self.failed, *self.downloads, *self.files)
        return Leftovers(
            tuple(p.name for p in self.unregistered),
            tuple(p.name for p in self.workspaces),
            tuple(p.name for p in self.failed),
            tuple(os.fspath(p.relative_to(store.layout.downloads)) for p in self.downloads),
            tuple(os.fspath(p.relative_to(store.layout.meta)) for p in self.files),
            sum(map(size_of, everything)),
        )


def find(store: Store, keep_recent: float | None) -> Found:
    """List them. The caller holds the collector's lock exclusively.

    Args:
        keep_recent: days for which failed builds and rejected downloads stay; None: not at all.
    """
    return Found(
        tuple(_unregistered(store)),
        tuple(workspaces.dead(store.layout)),
        tuple(_failed(store, keep_recent)),
        tuple(_downloads(store, keep_recent)),
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
    for path in found.downloads:
        _remove_unlocked(path, path.with_name(f"{path.name}.json"))  # where the first bytes of it came from
    for path in found.files:
        if path.parent == store.layout.locks:
            _remove_unlocked(path)
        else:
            with translated(path, "remove"):
                path.unlink(missing_ok=True)


def _remove_unlocked(path: Path, *beside: Path) -> None:
    """Remove a file, and others that belong to it, unless a process holds its lock."""
    lock = flocks.try_lock(path)
    if lock is None:
        return
    try:
        for one in (*beside, path):
            with translated(one, "remove"):
                one.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _is_unlocked(path: Path) -> bool:
    lock = flocks.try_lock(path)
    if lock is None:
        return False
    os.close(lock)
    return True


def _unregistered(store: Store) -> Iterator[Path]:
    known = {info.name for info in store.objects()}
    for name in sorted(set(os.listdir(store.root)) - known):
        if is_object_name(name):
            yield store.root / name


def _failed(store: Store, keep_recent: float | None) -> Iterator[Path]:
    for path in sorted(store.layout.failed.iterdir()):
        if workspaces.age_in_days(path) >= (keep_recent or 0):
            if _is_unlocked(path):  # who looks into it may hold its lock
                yield path


def _downloads(store: Store, keep_recent: float | None) -> Iterator[Path]:
    """A download that is under way is locked. A part's note beside it (`.json`) goes with it."""
    layout = store.layout
    if layout.downloads.is_symlink():  # what it leads to need not be the store's
        return
    for directory, days in ((layout.rejected, keep_recent or 0), (layout.downloads, DOWNLOAD_DAYS)):
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            with suppress(FileNotFoundError):
                old = stat.S_ISREG(path.lstat().st_mode) and workspaces.age_in_days(path) >= days
                note = path.suffix == ".json" and path.with_suffix("").exists()
                if old and not note and _is_unlocked(path):
                    yield path


def _files(store: Store) -> Iterator[Path]:
    layout = store.layout
    objects = {info.name for info in store.objects()}
    drv_ids = store.database.drv_ids()
    for directory, wanted in (
        (layout.manifests, objects),
        (layout.realisations, {f"{drv_id}.json" for drv_id in drv_ids}),
    ):
        for name in set(os.listdir(directory)) - wanted:
            if not _young_part(directory / name):
                yield directory / name
    for path in layout.log.iterdir():
        if path.is_file() and path.stem not in drv_ids and workspaces.age_in_days(path) > LOG_DAYS:
            yield path
    for path in (layout.log / "by-name").iterdir():
        if not path.exists() and workspaces.age_in_days(path) > LOG_DAYS:
            yield path
    for path in layout.locks.glob("*.build"):
        if _is_unlocked(path):
            yield path
    for directory in (layout.meta, layout.log, layout.eval, layout.roots, layout.roots / "auto"):
        yield from (path for path in directory.glob(".*.part*") if not _young_part(path))
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
