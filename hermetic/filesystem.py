"""Files read with care and written as a whole, and what the operating system refuses, in our words.

Where a file is expected there may be a named pipe, on which reading waits for ever, or an endless device.
Everything that writes to disk goes through `translated`, so that a full disk, a read-only mount or a missing
permission is one clear sentence wherever it strikes.

Loaded before anything else (see `store.quick`), so nothing is imported that is slow to load.
"""

# ruff: noqa: PTH104, PTH108, PTH118, PTH120, PTH123, SIM105
# Because pathlib and contextlib are slow to load.

from __future__ import annotations

import errno
import os
import stat

from hermetic.errors import StoreError

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


class replacing:
    """Let an entry of a directory appear whole: the old one stays until the new one is ready.

    The `with` block makes what stands at the path that it is given; at its end that is renamed to `path`.
    Where the block fails, nothing of it stays.
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
    """Replace a small file as a whole: a reader sees the old or the new bytes, never a part.

    Raises:
        StoreError: it cannot be written. The old file is then untouched.
    """
    with translated(path, "write"), replacing(path) as part, open(part, "wb") as file:
        file.write(data)


def _not_a_file(path: str, mode: int) -> OSError:
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    return OSError(number, f"is {kind(mode)}, not an ordinary file", path)


NOTE = 4096  # bytes; more than a file has that holds a number or two
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class translated:
    """Turn an OSError of the `with` block into a StoreError that names the path.

    Args:
        path: what is worked on; used where the error itself names nothing.
        doing: the attempt, to complete "cannot ...": `write`, `remove`.

    Raises:
        StoreError: the operating system refused something.
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
        try:
            status = os.statvfs(place)
        except OSError:
            place = os.path.dirname(place)
            continue
        inodes = f", {status.f_favail} inodes" if status.f_files else ""
        return f"{status.f_bavail * status.f_frsize / 1e6:.1f} MB{inodes} free"
    return "free space unknown"
