"""Locks on files that die with their process (flock(2)), so that none can be stale.

A lock belongs to an open file, not to a process: two threads that open the file each have a lock of their
own. A lock file may be removed by its holder; therefore whoever gets the lock checks that the file is still
there.
"""

# Calls that need a file descriptor, which pathlib does not give.
# ruff: noqa: PTH108, PTH116

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hermetic import filesystem
from hermetic.errors import StoreError
from hermetic.filesystem import translated

_FIRST_WAIT: Final = 0.005  # seconds
_LONGEST_WAIT: Final = 0.1
_MOST: Final = 1 << 20  # bytes that who holds a lock has written


class Stopped(StoreError):
    """Waiting for a lock was called off."""


def describe(label: str = "") -> str:
    """This process in words, for those who wait for it: `process 12: hermetic realize x`."""
    command = " ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:]])  # noqa: PTH119
    about = f" ({label})" if label else ""
    return f"process {os.getpid()}: {command[:200]}{about}".replace("\n", " ")


def acquire(path: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """Lock a file, making it if need be. The lock lasts until the result is closed.

    Returns:
        the open file; None when another holds it and `wait` is false.
    """
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        with translated(path, "lock"):
            # Through a link another file would be truncated.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, mode)
            if _is_still(file, path):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_still(file: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(file)
    return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)


@contextmanager
def held(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock for the time of a block. Waits for it without a limit: for short blocks only."""
    file = acquire(path, shared=shared)
    assert file is not None
    try:
        yield
    finally:
        os.close(file)


def try_lock(path: Path) -> int | None:
    """Lock an existing directory or file; None when it is gone or another holds it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


@contextmanager
def owned(
    path: Path,
    *,
    label: str = "",
    on_wait: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Iterator[None]:
    """Hold a lock for long; those who wait are told who holds it.

    Args:
        label: what is done under it; others read it.
        on_wait: called once for each holder that is waited for, with its description.
        stop: once set, waiting ends.

    Raises:
        Stopped: `stop` was set while waiting.
    """
    file = _wait_for(path, on_wait, stop)
    try:
        with translated(path, "write"):
            os.ftruncate(file, 0)
            os.pwrite(file, describe(label).encode(errors="surrogateescape"), 0)
        yield
    finally:
        # Removed while still locked: who waits on this file finds it gone and takes a new one.
        with suppress(OSError):
            os.unlink(path)
        os.close(file)


def _wait_for(path: Path, on_wait: Callable[[str], None] | None, stop: threading.Event | None) -> int:
    told = ""
    pause = _FIRST_WAIT
    while True:
        file = acquire(path, wait=False)
        if file is not None:
            return file
        holder = holder_of(path)
        if on_wait is not None and holder not in ("", told):
            told = holder
            on_wait(holder)
        if stop is None:
            time.sleep(pause)
        elif stop.wait(pause):
            raise Stopped(f"waiting for {holder or 'another process'} was stopped")
        pause = min(_LONGEST_WAIT, pause * 1.5)


def holder_of(path: Path) -> str:
    """Who holds a lock, in words; empty when that is not known."""
    try:
        return filesystem.whole(str(path), _MOST).split(b"\n", 1)[0].decode(errors="replace")
    except OSError:
        return ""
