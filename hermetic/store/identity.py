"""Which store a path leads into: decided by what directories are, not by what they are called.

One store has many paths: a symbolic link to it, a bind mount, another mount of the same network file system.
Two directories are one store if their inodes are the same, and either their devices or the store's own ids
(`.hermetic/id`) are. The id is needed where each mount has a device number of its own; the inode tells a
copied store, which has the id of the first, from it.
"""

# Paths are taken apart and compared as text, link by link, which pathlib would change.
# ruff: noqa: PTH115, PTH116, PTH118, PTH120

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from hermetic.filesystem import translated
from hermetic.store.layout import Layout
from hermetic.store.names import is_object_name

_MOST_LINKS: Final = 40  # on one path, as the kernel has it


class Identity:
    """What makes a store this one, as it is now."""

    def __init__(self, layout: Layout) -> None:
        """
        Raises:
            StoreError: the store's directory cannot be examined.
        """
        self._layout = layout
        with translated(layout.root, "examine"):
            status = os.stat(layout.root)
        self._device, self._inode = status.st_dev, status.st_ino
        self._id = layout.read_id()

    def is_at(self, directory: str) -> bool:
        """Whether a directory is this store.

        Raises:
            OSError: it cannot be examined.
        """
        status = os.stat(directory)
        if status.st_ino != self._inode:
            return False
        return status.st_dev == self._device or (self._id != "" and Layout.at(directory).read_id() == self._id)

    def object_at(self, path: str, noted: str = "") -> str | None:
        """The object of this store that an absolute path leads to or into, whether it is there or not.

        Args:
            noted: an object that is also recognised where it is mounted at a path of its own.

        Returns:
            its name; None where the path leads to something that exists and is in no object of this store.

        Raises:
            OSError: a part of the path is missing, or cannot be examined.
        """
        mounted = self._of(noted)
        current, links = "/", 0
        pending = path.split("/")[::-1]
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                current = os.path.dirname(current)  # `current` has no links in it
                continue
            if is_object_name(part) and self.is_at(current):
                return part
            here = os.path.join(current, part)
            status = os.lstat(here)
            if (status.st_dev, status.st_ino) == mounted:
                return noted
            if not stat.S_ISLNK(status.st_mode):
                current = here
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            text = os.readlink(here)
            pending += text.split("/")[::-1]
            if text.startswith("/"):
                current = "/"
        return None

    def _of(self, name: str) -> tuple[int, int] | None:
        if not name:
            return None
        try:
            status = os.lstat(self._layout.object(name))
        except OSError:
            return None
        return status.st_dev, status.st_ino


def named_in(text: str) -> str:
    """The first part of a path that is the name of an object; empty if none is."""
    return next(filter(is_object_name, text.split("/")), "")
