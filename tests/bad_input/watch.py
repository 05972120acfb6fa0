"""Sees what a process writes, by Python's audit events: the paths that lie outside of what it may write.

SQLite's own files follow the one event of its connection. Programs that are started (git, the sandbox) are
not seen here; the surroundings of a case are compared as a whole for that (see `judge`).
"""

# ruff: noqa: PTH112, PTH114, PTH115
# Because pathlib raises audit events of its own.

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

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
_DATABASE: Final = re.compile(r"^file://|\?.*$", re.S)  # what is no path in SQLite's address of one
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

    def note(event: str, path: Any, folder: int | None, follow: bool = True) -> None:
        place = _place(path, folder, follow=follow and event in _FOLLOWS)
        if place is None or place.startswith(prefixes) or (event == "open" and os.path.isdir(place)):
            return  # (to open a folder for writing fails)
        if not any(place == r or place.startswith(f"{r}/") for r in roots):
            os.write(log, f"{event} {place!a}\n".encode())

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(args[2], int) and args[2] & _WRITING:
                note(event, args[0], getattr(opened_at, "folder", None), args[2] & os.O_NOFOLLOW == 0)
        elif event == "sqlite3.connect":
            note(event, unquote_to_bytes(os.fsencode(_DATABASE.sub("", str(args[0])))), None)
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
    if folder is not None and folder >= 0 and not text.startswith("/"):
        above = _path_of(folder)
        if "/" not in text and text != ".." and not (follow and os.path.islink(f"{above}/{text}")):
            return f"{above}/{text}"
        text = f"{above}/{text}"
    if follow:
        return os.path.realpath(text)
    parent, name = os.path.split(text)
    return os.path.realpath(text) if name in ("", ".", "..") else f"{os.path.realpath(parent)}/{name}"


def _path_of(folder: int) -> str:
    """The path of an open folder; where that is too long for the kernel, of one above it."""
    try:
        return os.readlink(f"/proc/self/fd/{folder}")
    except OSError:
        above = os.open("..", os.O_PATH, dir_fd=folder)
        try:
            return _path_of(above)
        finally:
            os.close(above)
