"""What keeps a collection away from objects in use: the collector's lock and temporary roots.

The protocol, and why nothing in use is ever deleted:

1. `gc.lock` is held *shared* by whoever protects or registers something, for microseconds, and
   *exclusively* by the collector while it takes a batch of objects out of the store (out of the database,
   then by renames to the trash).
2. A process writes the names of the objects that it uses into a file of its own in `temproots/`, locked as
   long as it lives. It writes a name under the shared lock, and only *after* that looks whether the object
   is there. The collector reads all such files under the exclusive lock, before it takes a batch. So for each
   name one came first: either the collector sees it and leaves the object, or the object was gone before
   the process looked, and will be built anew.
3. An object that is added is named in the adder's file, renamed into place and registered, all under one hold
   of the shared lock. So the collector never meets an object that is in place and not yet registered, unless
   its adder was killed; and never a registered one that its adder has not protected.
4. Roots are made under the shared lock too. The collector compares the roots with those that it planned with,
   under the exclusive lock, and plans anew when they are not the same.
5. A file in `temproots/` that can be locked belongs to no living process and is removed, but only under the
   exclusive lock: it is made and locked under the shared one, so the collector cannot see it between the two.
   Whoever looks without the exclusive lock removes nothing.

Locks are taken in this order: a build's own lock, `gc.lock`, the database. None is waited for while a later
one is held, so there is no deadlock.
"""

# Appends to an open file and takes its lock, which pathlib cannot.
# ruff: noqa: PTH108

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from hermetic import filesystem
from hermetic.filesystem import translated
from hermetic.store import flocks
from hermetic.store.layout import Layout

_MOST = 64 << 20  # bytes of one process's names


def shared(layout: Layout) -> AbstractContextManager[None]:
    """Keep collectors out for a moment."""
    return flocks.held(layout.gc_lock, shared=True)


def exclusive(layout: Layout) -> AbstractContextManager[None]:
    """Keep everyone else out for a moment: the collector's side."""
    return flocks.held(layout.gc_lock)


class TempRoots:
    """Objects that this process uses. They are protected until it is closed, or the process ends."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._mutex = threading.Lock()
        self._names: set[str] = set()
        self._file: int | None = None
        self._path: Path | None = None

    def __enter__(self) -> TempRoots:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, *names: str) -> None:
        """Protect objects. Look only afterwards whether they are there.

        Raises:
            StoreError: the store cannot be written.
        """
        if self._names.issuperset(names):
            return
        with shared(self._layout):
            self.add_locked(names)

    def add_locked(self, names: Iterable[str]) -> None:
        """The same for a caller that holds the lock already."""
        with self._mutex:
            new = [name for name in names if name not in self._names]
            if new:
                with translated(self._layout.temp_roots, "write to"):
                    self._append("".join(f"\n{name}" for name in new).encode())
                self._names.update(new)

    def _append(self, data: bytes) -> None:
        if self._file is None:
            path = self._layout.temp_roots / f"{os.getpid()}-{os.urandom(4).hex()}"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                os.write(file, flocks.describe().encode(errors="surrogateescape"))
            except BaseException:
                os.unlink(path)
                os.close(file)
                raise
            self._file, self._path = file, path
        # Each name begins a new line: one that a full disk cut short then spoils no other.
        if os.write(self._file, data) != len(data):
            raise OSError(28, "", os.fspath(self._layout.temp_roots))

    def outlive_exec(self) -> None:
        """Keep the protection also when this process executes another program, until that one ends.

        The lock belongs to the open file, which the program inherits without knowing.
        """
        if self._file is not None:
            os.set_inheritable(self._file, True)

    def close(self) -> None:
        """Let go of all."""
        with self._mutex:
            if self._file is not None and self._path is not None:
                with suppress(OSError):
                    self._path.unlink()
                os.close(self._file)
            self._file = None
            self._names.clear()


def living(layout: Layout, *, clear: bool = False) -> dict[str, tuple[str, ...]]:
    """What running processes protect: process in words to names of objects.

    Args:
        clear: remove the files of dead processes. Only for who holds the lock exclusively: a file that is
            made at this moment looks like one of the dead. Without that lock, the answer is of the past.
    """
    result: dict[str, tuple[str, ...]] = {}
    for path in sorted(layout.temp_roots.iterdir()):
        free = flocks.try_lock(path)
        if free is not None:
            if clear:
                with suppress(OSError):
                    path.unlink()
            os.close(free)
            continue
        with suppress(FileNotFoundError):
            who, *names = filesystem.whole(str(path), _MOST).decode(errors="replace").split("\n")
            key = who if who not in result else f"{who} [{path.name}]"
            result[key] = tuple(name for name in names if name)
    return result
