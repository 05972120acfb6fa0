"""Reads and writes files safely, and turns errors of the operating system into clear messages.

A path may lead to a named pipe, which blocks a reader for ever, or to an endless device. Only regular files
are read. Everything that writes to disk uses `translated`, so that a full disk, a read-only mount or a
missing permission gives the same clear message everywhere.

This module is loaded first (see `store.quick`), so it imports nothing that is slow to load.
"""

# ruff: noqa: PTH104, PTH108, PTH118, PTH120, PTH123, SIM105
# pathlib and contextlib are slow to load.

from __future__ import annotations

import errno
import os
import stat

from hermetic.errors import StoreError

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_SMALL = 1 << 16  # bytes; longer files take a second look

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFREG: "a file",
}


def kind(mode: int) -> str:
    """The file type in `st_mode`, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "a file of unknown type")


def opened(path: str) -> int:
    """Open a regular file for reading and return its descriptor. Symbolic links are followed.

    Raises:
        OSError: the file is missing, not readable, or not a regular file.
    """
    return _opened(path)[0]


def _opened(path: str) -> tuple[int, os.stat_result]:
    try:
        file = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _not_a_file(path, stat.S_IFSOCK) from None
        raise
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode):
        return file, status
    os.close(file)
    raise _not_a_file(path, status.st_mode)


def whole(path: str, most: int) -> bytes:
    """The content of a regular file. For small files this takes half the time of `open`.

    Args:
        most: largest size in bytes.

    Raises:
        OSError: as for `opened`, or the file is too large.
    """
    file, status = _opened(path)
    try:
        size = status.st_size
        if size > most:
            raise OSError(errno.EFBIG, f"the file has {size:,} bytes, but at most {most:,} are allowed", path)
        data = os.read(file, size + 1)
        while len(data) < size and (more := os.read(file, size + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(file)


def listed(path: str, most: int) -> bytes:
    """`whole` for what a directory has just listed as an ordinary file: small ones take three system calls.

    Raises:
        OSError: as `whole`.
    """
    file = os.open(path, _FLAGS)
    try:
        data = os.read(file, _SMALL)
    finally:
        os.close(file)
    return data if len(data) < _SMALL else whole(path, most)


class replacing:
    """Replace an entry of a directory atomically: the old one stays until the new one is ready.

    The `with` block receives a temporary path and creates the new entry there. At its end the new entry is
    renamed to `path`. If the block fails, the temporary entry is removed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._part = os.path.join(os.path.dirname(self._path), f".{os.urandom(6).hex()}.part")

    def __enter__(self) -> str:
        return self._part

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                os.rename(self._part, self._path)
                return
        except OSError:
            self._remove()
            raise
        self._remove()

    def _remove(self) -> None:
        try:
            os.unlink(self._part)
        except OSError:
            pass


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a small file atomically: a reader sees either the old or the new content.

    Raises:
        StoreError: the file cannot be written. The old file is unchanged.
    """
    with translated(path, "write"), replacing(path) as part, open(part, "wb") as file:
        file.write(data)


def _not_a_file(path: str, mode: int) -> OSError:
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    return OSError(number, f"is {kind(mode)}, not a regular file", path)


NOTE = 4096  # bytes; size limit for files that hold one or two numbers
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class translated:
    """Turn an OSError of the `with` block into a StoreError that names the path.

    Args:
        path: the file concerned; used where the error itself names no path.
        doing: the operation, to complete "cannot ...": `write`, `remove`.

    Raises:
        StoreError: the operating system refused an operation.
    """

    def __init__(self, path: str | bytes | os.PathLike[str], doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise explain(error, self._path, self._doing) from error


def explain(error: OSError, path: str | bytes | os.PathLike[str], doing: str) -> StoreError:
    """The StoreError that explains `error` to the user."""
    place = os.fsdecode(path)
    # Calls with dir_fd report a name without its directory; only an absolute path is better than `path`.
    named = error.filename if isinstance(error.filename, (str, bytes)) else None
    where = os.fsdecode(named) if named and os.fsdecode(named).startswith("/") else place
    reason = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    message = f"cannot {doing} {where}: {reason}"
    if error.errno in FULL:
        return full(where, doing, quota=error.errno == errno.EDQUOT)
    if error.errno == errno.EROFS:
        return StoreError(message, hint="the file system is read-only; choose another store with --store DIR")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StoreError(message, hint=f"user id {os.geteuid()} has no permission; check owner and mode")
    return StoreError(message)


def full(path: str, doing: str, *, quota: bool = False) -> StoreError:
    """The error for a full disk or an exhausted quota, with the remaining space."""
    what = "the disk quota is used up" if quota else f"no space left ({free_space(path)})"
    return StoreError(
        f"cannot {doing} {path}: {what}", hint="free some space, for example with `hermetic gc`"
    )


def free_space(path: str) -> str:
    """The free space and free inodes of the file system that holds `path`, in words."""
    place = path
    while place not in ("", "/"):
        try:
            status = os.statvfs(place)
        except OSError:
            place = os.path.dirname(place)
            continue
        inodes = f", {status.f_favail} inodes" if status.f_files else ""
        return f"{status.f_bavail * status.f_frsize / 1e6:.1f} MB{inodes} free"
    return "free space unknown"
