"""One GNU make jobserver for all builds of a run.

Source: GNU make manual, "POSIX Jobserver Interaction" (named pipe form, make 4.4 and later). The pipe
holds one byte for each core. A build takes one before it starts (the job that each make has without
asking), and every make inside takes another for each further job, so that two cores are full and never
oversubscribed whatever the number of builds.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

INSIDE: Final = "/dev/jobserver"  # where a sandbox sees the pipe
_TOKEN: Final = b"+"


class Jobserver:
    """The pipe and its tokens.

    Args:
        path: where to make the named pipe.
        jobs: number of tokens, at least 1.
    """

    def __init__(self, path: Path, jobs: int) -> None:
        self.path = path
        self.jobs = jobs
        os.mkfifo(path, 0o600)
        path.chmod(0o666)  # builds run as another user
        # Both ends, so that neither reading nor writing ever finds the pipe closed.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(self._fd, _TOKEN * jobs)

    def try_acquire(self) -> bool:
        """Take a token if one is free."""
        try:
            return bool(os.read(self._fd, 1))
        except BlockingIOError:
            return False

    def release(self) -> None:
        """Give a token back."""
        os.write(self._fd, _TOKEN)

    def refill(self) -> None:
        """Make the number of tokens right again. Only when no build runs: a killed make returns nothing."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, 4096):
                pass
        os.write(self._fd, _TOKEN * self.jobs)

    def makeflags(self) -> str:
        """What a build finds in `MAKEFLAGS`."""
        return f" -j{self.jobs} --jobserver-auth=fifo:{INSIDE}" if self.jobs > 1 else ""

    def close(self) -> None:
        """Remove the pipe. May be called more than once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.path.unlink(missing_ok=True)
