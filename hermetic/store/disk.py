"""Two system calls that Python does not offer."""

from __future__ import annotations

import errno
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ctypes

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@cache
def _libc() -> ctypes.CDLL:
    import ctypes  # slow to load, and small objects need none of this

    return ctypes.CDLL(None, use_errno=True)


def sync_file_system(path: Path) -> None:
    """Write all that waits to be written to the file system of `path`.

    Raises:
        OSError: the disk failed, or is full.
    """
    import ctypes

    directory = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc().syncfs(directory) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(path))
    finally:
        os.close(directory)


def exchange(a: Path, b: Path) -> bool:
    """Let two names change places in one step. False: this file system or C library cannot, here.

    An overlay renames no directory of its lower layer (EXDEV).

    Raises:
        OSError: it can, and failed.
    """
    import ctypes

    rename = getattr(_libc(), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV):
        return False
    raise OSError(number, os.strerror(number), os.fspath(b))
