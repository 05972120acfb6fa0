"""A program in a terminal of its own: what a user types, sees and leaves behind."""

from __future__ import annotations

import ctypes
import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path

SECONDS = 30.0  # until something expected appears
PR_SET_SECUREBITS, SECBIT_NOROOT = 28, 1  # linux/prctl.h, linux/securebits.h


class Terminal:
    """A running program with a new terminal as its standard input and output."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], *, cwd: Path, powerless: bool = False
    ) -> None:
        """Start it; if `powerless`, the modes of files hold for it although its user is root."""
        self._output = b""
        libc = ctypes.CDLL(None)
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            try:
                os.chdir(cwd)
                if powerless and os.geteuid() == 0 and libc.prctl(PR_SET_SECUREBITS, SECBIT_NOROOT):
                    raise OSError
                os.execve(command[0], command, dict(environment))
            finally:
                os._exit(127)

    @property
    def screen(self) -> str:
        """Everything shown so far, without control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][B0]?", "", self._output.decode(errors="replace"))

    def expect(self, text: str) -> None:
        """Wait until the text is shown after what was expected or typed before."""
        deadline = time.monotonic() + SECONDS
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} does not appear in {self.screen!r}"
            assert self._read(0.5) or text in self.screen, f"the program ended: {self.screen!r}"

    def type(self, keys: str, expected: str) -> None:
        """Type keys, and wait for what the program shows then."""
        self._settle()
        self._output = b""
        os.write(self._fd, keys.encode())
        self.expect(expected)

    def end(self, keys: str = "\x04") -> int:
        """Type what ends the program; its exit status."""
        self._settle()
        os.write(self._fd, keys.encode())
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                os.close(self._fd)
                return os.waitstatus_to_exitcode(status)
            self._read(0.05)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._fd)
        raise AssertionError(f"the program does not end: {self.screen!r}")

    def _settle(self) -> None:
        """Read until nothing comes for a moment: the program waits for keys."""
        while select.select([self._fd], [], [], 0.15)[0] and self._read(0):
            pass

    def _read(self, seconds: float) -> bool:
        """Read what is there, waiting a little. False if the program closed the terminal."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self._output += data
        return bool(data)
