"""The standard streams as they may be found: closed, full, without a reader, not blocking, in any encoding.

Loaded by the entry point, so nothing is imported that is slow to load.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys

from hermetic.errors import HermeticError

# Instead of `typing.TYPE_CHECKING`: importing `typing` is slow.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

_ERRORS = "hermetic.any"
_stdout_closed = False  # as the process found it
_UNESCAPED = codecs.lookup_error("surrogateescape")
_ESCAPED = codecs.lookup_error("backslashreplace")


class OutputError(HermeticError):
    """The results of a command cannot be written to its standard output."""


def prepare() -> None:
    """Make the standard streams usable, whatever they are.

    A closed descriptor is taken by `/dev/null`: else the next file that is opened, such as the store's
    database, would be somebody's standard output. What cannot be written to stderr is dropped, for a progress
    line must not end a build. What cannot be written to stdout is an error.
    """
    global _stdout_closed
    closed = [fd for fd in (0, 1, 2) if not _is_open(fd)]
    for fd in closed:
        _place(fd)
    _stdout_closed = 1 in closed
    codecs.register_error(_ERRORS, _encodable)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Results(1), line_buffering=_is_terminal(1))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Remarks(2), line_buffering=True)


def let_go_of_stdout() -> None:
    """The reader of our output has gone: writing what is left must not fail a second time at the end."""
    global _stdout_closed
    _stdout_closed = False
    _place(1)


def flush() -> None:
    """Write what stdout holds.

    Raises:
        OutputError: it cannot be written. BrokenPipeError: nobody reads it.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


class _Patient(io.FileIO):
    """Writes to a descriptor, also one that another program has set to not blocking."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)

    def write(self, data: Buffer, /) -> int:
        while (count := super().write(data)) is None:
            import select

            poll = select.poll()
            poll.register(self.fileno(), select.POLLOUT)
            poll.poll()
        return count


class _Results(_Patient):
    """Standard output: the results of a command, which must not be lost unnoticed."""

    def write(self, data: Buffer, /) -> int:
        if _stdout_closed:
            raise OutputError("cannot write to standard output: it is closed")
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write to standard output: {error.strerror}") from None


class _Remarks(_Patient):
    """Standard error: what is lost if nobody can read it."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _text(raw: io.FileIO, *, line_buffering: bool) -> io.TextIOWrapper:
    # The encoding of file names, so that a path is printed as the bytes that it is.
    encoding = sys.getfilesystemencoding()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, _ERRORS, "\n", line_buffering)


def _encodable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a file name as they are; characters that the encoding lacks, escaped."""
    try:
        return _UNESCAPED(error)
    except UnicodeError:
        return _ESCAPED(error)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


def _is_terminal(fd: int) -> bool:
    return os.isatty(fd)


def _place(fd: int) -> None:
    """Open `/dev/null` as a descriptor."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
    except OSError:
        return
    if null != fd:
        os.dup2(null, fd)
        os.close(null)
