"""Removes a tree, with any modes and nesting that a build may have left."""

# Names are bytes, or relative to an open directory, which pathlib cannot express.
# ruff: noqa: PTH106, PTH108

from __future__ import annotations

import errno
import os
from typing import Final

from hermetic.filesystem import translated
from hermetic.tree.kinds import is_root

# At this nesting, directories are moved to the top: few are open at a time, and no path grows too long.
_DEEP: Final = 64


def remove(path: str | bytes | os.PathLike[str]) -> None:
    """Remove a tree, including read-only directories. A missing tree is no error.

    Works at any depth, also where the full path is too long for the kernel.

    Raises:
        StoreError: the operating system refused.
    """
    root = os.fsencode(path)
    with translated(root, "remove"):
        try:
            os.unlink(root)
            return
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            pass  # unlink of a directory gives EISDIR on Linux; EPERM is what POSIX says
        for attempt in range(5):
            try:
                directory = _open_directory(root, None)
                try:
                    while _empty(directory, directory, 0):
                        pass
                finally:
                    os.close(directory)
                os.rmdir(root)
                return
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or attempt == 4:
                    raise


def _open_directory(name: bytes | str, parent: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        directory = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        directory = os.open(name, flags, dir_fd=parent)
    if not is_root():
        os.fchmod(directory, 0o700)
    return directory


def _empty(directory: int, top: int, depth: int) -> bool:
    """Remove the contents of an open directory. True if deep ones were moved to `top` to be removed."""
    moved = False
    with os.scandir(directory) as found:
        items = list(found)
    for item in items:
        try:
            if not item.is_dir(follow_symlinks=False):
                os.unlink(item.name, dir_fd=directory)
                continue
            child = _open_directory(item.name, directory)
            try:
                if depth == _DEEP:
                    os.rename(item.name, f".deep-{os.urandom(8).hex()}", src_dir_fd=directory, dst_dir_fd=top)
                    moved = True
                    continue
                moved |= _empty(child, top, depth + 1)
            finally:
                os.close(child)
            os.rmdir(item.name, dir_fd=directory)
        except FileNotFoundError:
            continue
    return moved
