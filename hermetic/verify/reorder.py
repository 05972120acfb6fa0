"""Makes folders list their entries in another order, as another machine's file system might."""

# Paths are bytes: file names need not be UTF-8.
# ruff: noqa: PTH101, PTH102, PTH104, PTH106

from __future__ import annotations

import os
from collections.abc import Iterable

from hermetic.filesystem import translated


def unlike(copy: str | os.PathLike[str], original: str | os.PathLike[str]) -> None:
    """See to it that no folder of a copy lists its entries in the order of the original.

    That can be had where a file system keeps the order in which entries were made (tmpfs): they are moved
    out and in again. Where it sorts by a hash of their names (ext4), the order stays.

    Args:
        copy: a tree, which stays the same but for the order. Beside it, for a while, stands a folder.

    Raises:
        StoreError: something cannot be moved.
    """
    root, other = os.fsencode(copy), os.fsencode(original)
    if not os.path.isdir(root):  # noqa: PTH112
        return
    aside = root + b".reordering"
    with translated(root, "reorder"):
        folders = [b""]
        for rel in folders:  # grows while it is walked
            with os.scandir(root + rel) as found:
                folders += [rel + b"/" + e.name for e in found if e.is_dir(follow_symlinks=False)]
        before = {rel: os.lstat(root + rel) for rel in folders}
        for rel in folders:  # only who may write to a folder may move it
            os.chmod(root + rel, 0o755)
        os.mkdir(aside)
        for rel in folders:
            names = os.listdir(other + rel)
            for order in (names, names[::-1]):
                if len(names) > 1 and os.listdir(root + rel) == names:
                    _make_anew(root + rel, aside, order)
        os.rmdir(aside)
        for rel in reversed(folders):
            os.chmod(root + rel, before[rel].st_mode & 0o777)
            os.utime(root + rel, ns=(before[rel].st_atime_ns, before[rel].st_mtime_ns))


def _make_anew(folder: bytes, aside: bytes, names: Iterable[bytes]) -> None:
    for name in names:
        os.rename(folder + b"/" + name, aside + b"/" + name)
    for name in names:
        os.rename(aside + b"/" + name, folder + b"/" + name)
