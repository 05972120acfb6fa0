"""The log of a build: a pipe that the build writes to, and the file that the fork server copies it to.

The build does not get the file itself. /proc/self/fd/1 would show its path on the host; `> /dev/stderr` in a
script would empty it, or fail where the file belongs to another user; and nothing would stop its growth.
Standard library only.
"""

from __future__ import annotations

import os

LOG = "log"  # why a build was stopped: its log exceeds the limit
_AT_ONCE = 1 << 16  # bytes; as many as a pipe holds


class Log:
    """Args: the descriptor of the file; the largest size in bytes, or None; uid and gid of the build.

    Attributes:
        inner: the end for the build, to be closed by `started`. end: the other one.
        exceeded: the build has written more than the limit. As much as the limit is in the file.
    """

    def __init__(self, file: int, limit: int | None, owner: tuple[int, int] | None) -> None:
        self.exceeded = False
        self._full = False
        self._room = limit
        self._file = os.dup(file)
        self.end, self.inner = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.end, False)
        if owner is not None:
            os.fchown(self.inner, *owner)

    def started(self) -> None:
        """The build has its end."""
        os.close(self.inner)

    def copy(self) -> bool:
        """Copy some of what is in the pipe. Returns False at the end."""
        try:
            data = os.read(self.end, _AT_ONCE)
        except BlockingIOError:
            return False
        kept = data[: self._room]
        if self._room is not None:
            self.exceeded = self.exceeded or len(kept) < len(data)
            self._room -= len(kept)
        self._write(kept)
        return bool(data)

    def _write(self, data: bytes) -> None:
        try:
            while data and not self._full:
                data = data[os.write(self._file, data) :]
        except OSError:
            self._full = True  # the disk, for example: the build goes on without a log

    def close(self) -> None:
        """Copy what is left, and close."""
        while self.copy():
            pass
        os.close(self.end)
        os.close(self._file)
