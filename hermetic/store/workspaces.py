"""Private directories for work in progress, and the removal of those whose owner is dead.

A workspace is locked by its owner (flock on the directory itself) from a moment at which no sweeper can look:
making and locking it happens under `tmp.lock` shared, and sweepers hold that lock exclusively. A sweep moves
what it finds dead to the trash and deletes it there, after it has let go of the lock.
"""

# Locks open directories, which pathlib cannot.

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermetic import tree
from hermetic.errors import BuildFailure, StoreError
from hermetic.filesystem import explain, translated
from hermetic.store import flocks
from hermetic.store.layout import Layout


@contextmanager
def workspace(layout: Layout, label: str, *, keep: bool = False) -> Iterator[Path]:
    """An empty directory for this process alone, removed at the end of the block.

    Args:
        label: part of its name, for people who look.
        keep: when the block ends with a BuildFailure, move the directory to `.hermetic/failed/` instead.

    Raises:
        StoreError: it cannot be made.
    """
    word = re.sub(r"[^A-Za-z0-9+._-]", "_", label)[:100]
    path = layout.tmp / f"{word}-{os.urandom(5).hex()}"
    with translated(path, "create"), flocks.held(layout.tmp_lock, shared=True):
        path.mkdir(0o755)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield path
    except BuildFailure:
        if keep:
            with suppress(OSError):
                path.rename(layout.failed / path.name)
        raise
    finally:
        # Removed before it is unlocked, else a sweeper of the next moment would do the same work. What cannot
        # be removed now is left to the sweepers; an error here would hide the one that ended the block.
        with suppress(StoreError):
            tree.remove(path)
        os.close(lock)


def kept_failures(layout: Layout, label: str = "") -> list[Path]:
    """Kept directories of failed builds whose label begins so, the newest first."""
    found = [path for path in layout.failed.iterdir() if path.name.startswith(label)]
    return sorted(found, key=lambda path: path.lstat().st_ctime_ns, reverse=True)


def sweep(layout: Layout) -> int:
    """Remove workspaces of dead processes, and what waits in the trash.

    Returns:
        how many workspaces were removed.

    Raises:
        StoreError: something cannot be removed.
    """
    removed = 0
    if os.listdir(layout.tmp):
        lock = flocks.acquire(layout.tmp_lock, wait=False)
        if lock is not None:  # else someone makes a workspace at this very moment; the next sweep will do
            try:
                removed = sum(_discard_if_dead(layout, path) for path in list(layout.tmp.iterdir()))
            finally:
                os.close(lock)
    empty_trash(layout)
    return removed


def dead(layout: Layout) -> list[Path]:
    """Workspaces that a sweep would remove."""
    found = []
    with flocks.held(layout.tmp_lock):
        for path in sorted(layout.tmp.iterdir()):
            lock = flocks.try_lock(path)
            if lock is not None:
                os.close(lock)
                found.append(path)
    return found


def _discard_if_dead(layout: Layout, path: Path) -> bool:
    lock = flocks.try_lock(path)
    if lock is None:
        return False
    try:
        discard(layout, path)
        return True
    except FileNotFoundError:
        return False
    finally:
        os.close(lock)


def discard(layout: Layout, path: Path) -> Path:
    """Move a tree to the trash: at once, whatever its size.

    Raises:
        FileNotFoundError: it is not there.
        StoreError: the operating system refused.
    """
    place = layout.trash / os.urandom(8).hex()
    _rename(path, place)
    return place


def discard_all(layout: Layout, paths: list[Path]) -> Path:
    """Move trees to one directory in the trash; those that are not there are no error.

    Raises:
        StoreError: the operating system refused.
    """
    place = layout.trash / os.urandom(8).hex()
    with translated(place, "create"):
        place.mkdir()
    for path in paths:
        with suppress(FileNotFoundError):
            _rename(path, place / path.name)
    return place


def _rename(path: Path, place: Path) -> None:
    try:
        make_movable(path)
        os.rename(path, place)  # noqa: PTH104 - many thousand times
    except FileNotFoundError:
        raise
    except OSError as error:
        raise explain(error, path, "remove") from error


def make_movable(path: Path) -> None:
    """Moving a directory rewrites its `..`, for which only root needs no write permission."""
    if os.geteuid() != 0 and path.is_dir() and not path.is_symlink():
        path.chmod(0o755)


def empty_trash(layout: Layout) -> None:
    """Delete what waits to be deleted, unless another process is at it.

    Raises:
        StoreError: something cannot be removed.
    """
    names = os.listdir(layout.trash)
    lock = flocks.acquire(layout.locks / "trash.lock", wait=False) if names else None
    if lock is None:
        return
    try:
        for name in names:
            tree.remove(layout.trash / name)
    finally:
        os.close(lock)


def age_in_days(path: Path) -> float:
    """Days since an entry last changed; 0 where the clock says it is of the future."""
    return max(0.0, (time.time() - path.lstat().st_ctime) / 86400)
