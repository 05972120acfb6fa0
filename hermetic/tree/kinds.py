"""Which kinds of files a tree may hold."""

from __future__ import annotations

import os
import stat

from hermetic.errors import StoreError


class Unstorable(StoreError):
    """A tree holds something that a store object must not hold."""


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0


def refused(path: bytes, mode: int) -> Unstorable:
    """The error for an entry that a store object must not hold."""
    kind = {
        stat.S_IFSOCK: "a socket",
        stat.S_IFIFO: "a fifo",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
        stat.S_IFLNK: "a symbolic link as the root of a tree",
    }.get(stat.S_IFMT(mode), f"of unknown type {stat.S_IFMT(mode):o}")
    return Unstorable(
        f"{os.fsdecode(path)} is {kind}: a store object may hold only files, directories and symbolic links"
    )
