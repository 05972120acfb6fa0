"""Reads files that others may have put there: ordinary ones only, and none that is too large.

Where a file is expected there may be a named pipe, on which reading waits for ever, or an endless device.
Loaded before anything else (see `glance`), so nothing is imported that is slow to load.
"""

from __future__ import annotations

import errno
import os
import stat

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFREG: "a file",
}


def kind(mode: int) -> str:
    """What `st_mode` says that something is, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something unknown")


def opened(path: str) -> int:
    """A file descriptor to read an ordinary file from. Links to one are followed.

    Raises:
        OSError: it is not there, not readable, or no ordinary file.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _not_a_file(path, stat.S_IFSOCK) from None
        raise
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    raise _not_a_file(path, mode)


def whole(path: str, most: int) -> bytes:
    """All bytes of an ordinary file, in half the time of `open` for the small ones here.

    Args:
        most: how many bytes it may have.

    Raises:
        OSError: as `opened`, or it is too large.
    """
    file = opened(path)
    try:
        size = os.fstat(file).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size:,} bytes are too many here (at most {most:,})", path)
        data = os.read(file, size + 1)
        while len(data) < size and (more := os.read(file, size + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(file)


def _not_a_file(path: str, mode: int) -> OSError:
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    return OSError(number, f"is {kind(mode)}, not an ordinary file", path)
