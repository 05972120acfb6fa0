"""Copying a tree out of the store, or into it."""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH101, PTH102, PTH115, PTH211

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import Final

from hermetic.filesystem import translated
from hermetic.tree.kinds import refused
from hermetic.tree.scanning import READ, reading

CHUNK: Final = 1 << 20
FICLONE: Final = (
    0x40049409  # ioctl that shares the blocks of another file; the fcntl module of Python 3.11 lacks it
)
_NOT_HERE: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ENOTTY}
    | {errno.EIO, errno.ESTALE}  # of one of two files; reading and writing shows of which
)

CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy(
    src: str | bytes | os.PathLike[str],
    dst: str | bytes | os.PathLike[str],
    *,
    writable: bool = False,
    mtime: int = 0,
) -> None:
    """Copy a tree. The result depends only on what the manifest lists.

    Args:
        dst: must not exist.
        writable: modes 0644 and 0755 instead of 0444 and 0555.
        mtime: time stamp of all entries, in seconds since 1970.

    Raises:
        Unreadable: `src` cannot be read.
        Unstorable: `src` holds what no store object may hold.
        StoreError: `dst` cannot be written. In all three cases an incomplete `dst` may remain.
    """
    source, target = os.fsencode(src), os.fsencode(dst)
    times = (mtime * 10**9, mtime * 10**9)
    plain, executable = (0o644, 0o755) if writable else (0o444, 0o555)
    reflinks = [True]  # set to False when the file system refuses the first one

    def leaf(old: bytes, new: bytes, status: os.stat_result) -> None:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            copy_file(old, new, executable if mode & 0o100 else plain, reflinks, times)
        elif stat.S_ISLNK(mode):
            with reading(old):
                text = os.readlink(old)
            make_link(text, new, times)
        else:
            raise refused(old, mode)

    with translated(target, "copy to"):
        with reading(source):
            status = os.lstat(source)
        if not stat.S_ISDIR(status.st_mode):
            leaf(source, target, status)
            return
        directories = [b""]
        for rel in directories:  # the loop appends to this list
            os.mkdir(target + rel, 0o755)
            with reading(source + rel), os.scandir(source + rel) as found:
                entries = [(item.name, item.stat(follow_symlinks=False)) for item in found]
            for name, status in entries:
                inside = rel + b"/" + name
                if stat.S_ISDIR(status.st_mode):
                    directories.append(inside)
                else:
                    leaf(source + inside, target + inside, status)
        for rel in reversed(directories):
            os.chmod(target + rel, executable)
            os.utime(target + rel, ns=times)


def copy_file(
    src: bytes, dst: bytes, mode: int, reflinks: list[bool], times: tuple[int, int] | None = None
) -> None:
    """Copy one file to a new name, sharing its blocks where the file system can.

    Args:
        times: access and modification time, in ns.
        reflinks: whether to try sharing blocks; set to False when the file system refuses.
    """
    with reading(src):
        old = os.open(src, READ)
    try:
        new = os.open(dst, CREATE, 0o600)
        try:
            if not (reflinks[0] and _reflink(old, new, reflinks)):
                _copy_bytes(old, new, src)
            os.fchmod(new, mode)
            if times:
                os.utime(new, ns=times)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _reflink(old: int, new: int, reflinks: list[bool]) -> bool:
    try:
        fcntl.ioctl(new, FICLONE, old)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        reflinks[0] = False
        return False
    return True


def _copy_bytes(old: int, new: int, src: bytes) -> None:
    size = os.fstat(old).st_size
    try:
        while size > CHUNK and os.copy_file_range(old, new, 1 << 30):
            pass
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    data = b"."
    while data:  # small files, and what the kernel did not copy
        with reading(src):
            data = os.read(old, min(CHUNK, size + 1))
        write(new, data)


def make_link(text: bytes, path: bytes, times: tuple[int, int]) -> None:
    """Make a symbolic link that says `text`."""
    try:
        os.symlink(text, path)
    except OSError as error:
        error.filename = path  # it was the text
        raise
    os.utime(path, ns=times, follow_symlinks=False)


def write(file: int, data: bytes) -> None:
    """Write all of `data`."""
    done = os.write(file, data)
    while done < len(data):
        done += os.write(file, memoryview(data)[done:])
