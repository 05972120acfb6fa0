"""Changes the order in which directories list their entries, as another file system might."""

# Paths are bytes: file names need not be UTF-8.
# ruff: noqa: PTH101, PTH102, PTH104, PTH106

from __future__ import annotations

import os
from collections.abc import Iterable

from hermetic.filesystem import translated


def unlike(copy: str | os.PathLike[str], original: str | os.PathLike[str]) -> None:
    """Make every directory of a copy list its entries in another order than the original.

    This works on file systems that list entries in the order of their creation (tmpfs): entries are moved out
    and in again. File systems that sort by a hash of the names (ext4) keep their order.

    Args:
        copy: a tree. Only its order changes. A temporary directory is created beside it.

    Raises:
        StoreError: an entry cannot be moved.
    """
    root, other = os.fsencode(copy), os.fsencode(original)
    if not os.path.isdir(root):  # noqa: PTH112
        return
    aside = root + b".reordering"
    with translated(root, "reorder"):
        directories = [b""]
        for rel in directories:  # the loop appends to this list
            with os.scandir(root + rel) as found:
                directories += [rel + b"/" + e.name for e in found if e.is_dir(follow_symlinks=False)]
        before = {rel: os.lstat(root + rel) for rel in directories}
        for rel in directories:  # moving a directory needs write permission for it
            os.chmod(root + rel, 0o755)
        os.mkdir(aside)
        for rel in directories:
            names = os.listdir(other + rel)
            for order in (names, names[::-1]):
                if len(names) > 1 and os.listdir(root + rel) == names:
                    _make_anew(root + rel, aside, order)
        os.rmdir(aside)
        for rel in reversed(directories):
            os.chmod(root + rel, before[rel].st_mode & 0o777)
            os.utime(root + rel, ns=(before[rel].st_atime_ns, before[rel].st_mtime_ns))


def _make_anew(directory: bytes, aside: bytes, names: Iterable[bytes]) -> None:
    for name in names:
        os.rename(directory + b"/" + name, aside + b"/" + name)
    for name in names:
        os.rename(aside + b"/" + name, directory + b"/" + name)
