"""Removing a tree, whatever a build has left in it."""

# Names are bytes, or relative to an open folder, which pathlib cannot express.
# ruff: noqa: PTH106, PTH108

from __future__ import annotations

import errno
import os
from typing import Final

from hermetic.filesystem import translated
from hermetic.tree.kinds import is_root

_DEEP: Final = 64  # nesting at which folders are moved up, so that few are open and no path grows too long


def remove(path: str | bytes | os.PathLike[str]) -> None:
    """Remove a tree, read-only folders and all. What is not there is no error.

    Works at any depth, also where names from the root would be too long for the kernel.

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
                folder = _open_folder(root, None)
                try:
                    while _empty(folder, folder, 0):
                        pass
                finally:
                    os.close(folder)
                os.rmdir(root)
                return
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or attempt == 4:
                    raise


def _open_folder(name: bytes | str, parent: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        folder = os.open(name, flags, dir_fd=parent)
    if not is_root():
        os.fchmod(folder, 0o700)
    return folder


def _empty(folder: int, top: int, depth: int) -> bool:
    """Remove all in an open folder. True: deep folders were moved to `top`, to be emptied there."""
    moved = False
    with os.scandir(folder) as found:
        items = list(found)
    for item in items:
        try:
            if not item.is_dir(follow_symlinks=False):
                os.unlink(item.name, dir_fd=folder)
                continue
            child = _open_folder(item.name, folder)
            try:
                if depth == _DEEP:
                    os.rename(item.name, f".deep-{os.urandom(8).hex()}", src_dir_fd=folder, dst_dir_fd=top)
                    moved = True
                    continue
                moved |= _empty(child, top, depth + 1)
            finally:
                os.close(child)
            os.rmdir(item.name, dir_fd=folder)
        except FileNotFoundError:
            continue
    return moved
