"""What the operating system refuses, in the words of hermetic's own errors.

Everything that writes to disk goes through `translated`, so that a full disk, a read-only mount or a missing
permission is one clear sentence wherever it strikes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hermetic.errors import StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def translated(path: str | bytes | os.PathLike[str], doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that names the path.

    Args:
        path: what is worked on; used where the error itself names nothing.
        doing: the attempt, to complete "cannot ...": `write`, `remove`.

    Raises:
        StoreError: the operating system refused something.
    """
    try:
        yield
    except OSError as error:
        raise explain(error, path, doing) from error


def explain(error: OSError, path: str | bytes | os.PathLike[str], doing: str) -> StoreError:
    """The StoreError that says what `error` means for whoever runs hermetic."""
    place = os.fsdecode(path)
    # Calls with dir_fd report a bare name; only a name from the root says more than `path`.
    named = error.filename if isinstance(error.filename, (str, bytes)) else None
    where = os.fsdecode(named) if named and os.fsdecode(named).startswith("/") else place
    reason = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    message = f"cannot {doing} {where}: {reason}"
    if error.errno in FULL:
        return full(where, doing, quota=error.errno == errno.EDQUOT)
    if error.errno == errno.EROFS:
        return StoreError(message, hint="the file system is read-only; choose a store elsewhere with --store")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StoreError(
            message, hint=f"user id {os.geteuid()} may not do this; check owner and permissions"
        )
    return StoreError(message)


def full(path: str, doing: str, *, quota: bool = False) -> StoreError:
    """The error for a full disk or an exhausted quota, with the space that is left."""
    what = "the disk quota is used up" if quota else f"no space left ({free_space(path)})"
    return StoreError(f"cannot {doing} {path}: {what}", hint="free some space, e.g. with `hermetic gc`")


def free_space(path: str) -> str:
    """In words, how many bytes and files still fit on the file system that holds `path`."""
    place = path
    while place not in ("", "/"):
        with suppress(OSError):
            stat = os.statvfs(place)
            inodes = f", {stat.f_favail} inodes" if stat.f_files else ""
            return f"{stat.f_bavail * stat.f_frsize / 1e6:.1f} MB{inodes} free"
        place = os.path.dirname(place)  # noqa: PTH120 - a path that is only text here
    return "free space unknown"
