"""What a fault has left behind on the machine: processes and mounts.

A process in a sandbox carries no mark of ours: its environment is the build's own. But whatever loses its
parent becomes a child of the nearest ancestor that has declared itself a reaper. So this process does, and
then everything that was left is among its descendants, in whatever session or namespace.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_PATIENCE: Final = 5.0  # seconds for the kernel to take down what was killed


def _parents() -> dict[int, int]:
    """Each process of the machine with its parent."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb", buffering=0) as file:  # noqa: PTH123
                found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    return found


def generations(pid: int) -> list[list[int]]:
    """The descendants of a process: its children, their children, and so on."""
    parents = _parents()
    levels: list[list[int]] = []
    level = {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        levels.append(sorted(level))
    return levels


def descendants(pid: int) -> list[int]:
    """All of them, in one list."""
    return [one for level in generations(pid) for one in level]


def mounts_below(folder: Path) -> list[str]:
    """The places below a folder where something is mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split()[4] for line in lines]
    return sorted(p for p in places if p == os.fspath(folder) or p.startswith(f"{folder}/"))


class Watch:
    """Compares what is there with what was there when it was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._processes = set(descendants(os.getpid()))
        self._mounts = mounts_below(self.folder)

    def left(self, patience: float = _PATIENCE) -> list[str]:
        """What is still there after some seconds, in words. Processes that have ended are reaped."""
        deadline = time.monotonic() + patience
        while processes := self._living():
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        mounts = [f"mount {place}" for place in mounts_below(self.folder) if place not in self._mounts]
        return [f"process {pid}: {_command(pid)}" for pid in processes] + mounts

    def _living(self) -> list[int]:
        found = []
        for pid in descendants(os.getpid()):
            if pid not in self._processes:
                with suppress(ChildProcessError):
                    if os.waitpid(pid, os.WNOHANG)[0] == pid:
                        continue
                found.append(pid)
        return found


@contextmanager
def adopting() -> Iterator[None]:
    """Be the one to whom orphans come, for the time of a block."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _command(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return words[:200] or Path(f"/proc/{pid}/stat").read_text()[:60]
    return "gone"
