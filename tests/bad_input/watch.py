"""Sees what a process writes, by Python's audit events: the paths that lie outside of what it may write.

SQLite's own files follow the one event of its connection. Programs that are started (git, the sandbox) are
not seen here; the surroundings of a case are compared as a whole for that (see `judge`).
"""

# ruff: noqa: PTH100, PTH112, PTH115, PTH118
# Because pathlib raises audit events of its own.

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# event → positions of (path, dir_fd) among its arguments; -1: it has no dir_fd
_PATHS: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.truncate": ((0, -1),),
    "os.setxattr": ((0, -1),),
    "os.removexattr": ((0, -1),),
    "hermetic.mkfifo": ((0, 2),),
    "hermetic.mknod": ((0, 3),),
}
_FOLLOWS: Final = frozenset({"open", "os.truncate", "os.chmod", "os.chown", "os.utime"})


def start(allowed: list[str], log: int) -> None:
    """From now on, write a line to the descriptor `log` for each write outside the folders `allowed`.

    Cannot be undone: an audit hook stays.

    Args:
        allowed: folders and files; what ends in `*` stands for all that begins so.
    """
    roots = tuple(os.path.realpath(folder) for folder in allowed if not folder.endswith("*"))
    prefixes = tuple(folder.removesuffix("*") for folder in allowed if folder.endswith("*"))
    opened_at = threading.local()  # the event of `open` says nothing of dir_fd

    def note(event: str, path: Any, folder: int | None) -> None:
        place = _place(path, folder, follow=event in _FOLLOWS)
        if place is None or place.startswith(prefixes) or (event == "open" and os.path.isdir(place)):
            return  # (to open a folder for writing fails)
        if not any(place == r or place.startswith(f"{r}/") for r in roots):
            os.write(log, f"{event} {place!a}\n".encode())

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(args[2], int) and args[2] & _WRITING:
                note(event, args[0], getattr(opened_at, "folder", None))
        elif event == "sqlite3.connect":
            note(event, str(args[0]).removeprefix("file://").partition("?")[0], None)
        elif event in _PATHS:
            for path, folder in _PATHS[event]:
                note(event, args[path], args[folder] if folder >= 0 else None)

    real = os.open

    def traced(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened_at.folder = dir_fd
        try:
            return real(path, flags, mode, dir_fd=dir_fd)
        finally:
            opened_at.folder = None

    os.open = traced
    os.mkfifo = _announced("hermetic.mkfifo", os.mkfifo)
    os.mknod = _announced("hermetic.mknod", os.mknod)
    sys.addaudithook(hook)


def _announced(event: str, function: Callable[..., None]) -> Callable[..., None]:
    """Two functions that raise no event of Python's."""

    def announced(path: Any, *args: Any, dir_fd: int = -1, **options: Any) -> None:
        sys.audit(event, path, None, dir_fd, dir_fd)
        function(path, *args, dir_fd=None if dir_fd == -1 else dir_fd, **options)

    return announced


def _place(path: Any, folder: int | None, *, follow: bool) -> str | None:
    """Where a call really works; None for a descriptor, whose opening was seen."""
    if isinstance(path, int):
        return None
    text = os.fsdecode(path)
    if folder is not None and folder >= 0:
        text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
    if follow:
        return os.path.realpath(text)
    parent, name = os.path.split(os.path.abspath(text) if not text.endswith("/..") else text)
    return os.path.join(os.path.realpath(parent), name)
