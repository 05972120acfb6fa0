"""The command line of hermetic, which strikes itself at one chosen instant.

    python -m tests.faults.victim '{"phase": "rename", "at": 7, "do": "kill-hermetic"}' realize app

An *effect* is a call of a C function that changes something outside of the program, or reads much: each has
an instant before it and, with a delay, instants within it. The *phase* is that of the innermost function on
the stack that stands for one, the *place* the innermost function of hermetic. Effects are counted for each
phase and place apart: the few calls between a rename and a commit are then struck as often as the many that
write files.
"""

from __future__ import annotations

import _thread
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from hermetic.sandbox import syscalls
from tests.faults.traces import descendants, generations

EFFECTS: Final = frozenset(
    {"open", "write", "pwrite", "writelines", "read", "ftruncate", "posix_fallocate", "fsync", "syncfs"}
    | {"rename", "replace", "unlink", "rmdir", "mkdir", "symlink", "link", "mkfifo", "scandir", "listdir"}
    | {"chmod", "fchmod", "lchown", "fchown", "utime", "flock", "ioctl", "copy_file_range", "update", "lstat"}
    | {"connect", "recv", "send", "sendall", "sendmsg", "socketpair", "fork_exec", "shutdown"}
    | {"execute", "executemany", "executescript"}
)

# file of hermetic, functions in it (none: all), phase
_STAND_FOR: Final[tuple[tuple[str, frozenset[str], str], ...]] = (
    ("store/flocks.py", frozenset({"_wait_for"}), "wait"),
    ("tree/canonical.py", frozenset({"canonicalise_and_scan"}), "hash"),
    ("store/registering.py", frozenset({"put", "_in_place", "sync"}), "rename"),
    ("store/registering.py", frozenset(), "register"),
    ("store/store.py", frozenset({"record"}), "register"),
    ("hermetic/gc/", frozenset(), "gc"),
    ("hermetic/sources/fetch/", frozenset(), "fetch"),
    ("hermetic/sources/archive/", frozenset(), "unpack"),
    ("hermetic/sources/patching/", frozenset(), "unpack"),
    ("realize/local.py", frozenset(), "build"),
    ("sandbox/client.py", frozenset(), "build"),
)


def phase_of(code: CodeType) -> str:
    """The phase that a function stands for; empty if none."""
    for file, functions, phase in _STAND_FOR:
        if file in code.co_filename and (not functions or code.co_name in functions):
            return phase
    return ""


def place_of(code: CodeType) -> str:
    """The name of a function of hermetic; empty for others."""
    _, found, file = code.co_filename.rpartition("/hermetic/")
    return f"{file}:{code.co_name}" if found else ""


class Victim:
    """Counts effects, and strikes.

    `spec`, all optional:
        where, at: phase and place, and which of its effects is struck, counted from 1.
        after: seconds from there to the strike.
        do: what happens. target: which process of the build is killed.
        fired: a file that is written when it has happened. counts: one for the counts at the end.
        clock: seconds that the clock is ahead.
        limits: fields of `fetch.http.Limits`.
        beside: pid of another run, whose builds are struck.
        store: what is made read-only.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.where = str(spec.get("where", ""))
        self.at = int(spec.get("at", 0))
        self.counters: dict[str, Iterator[int]] = {}
        self.counts: dict[str, int] = {}
        self.ahead = float(spec.get("clock", 0))
        self._known: dict[CodeType, tuple[str, str]] = {}
        self._struck = False

    def arm(self) -> None:
        """From here on this process is watched."""
        if self.ahead:
            self._move_clock()
        if "limits" in self.spec:
            # Who waits for half a minute in earnest does here for less: the same code, other numbers.
            from hermetic.sources.fetch import machine
            from hermetic.sources.fetch.http import Limits

            vars(machine)["Limits"] = partial(Limits, **self.spec["limits"])
        if self.where or "counts" in self.spec:
            threading.setprofile(self._watch)
            sys.setprofile(self._watch)

    def _move_clock(self) -> None:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + self.ahead
        time.time_ns = lambda: now_ns() + int(self.ahead * 1e9)

    def _watch(self, frame: FrameType, event: str, function: object) -> None:
        if event != "c_call" or getattr(function, "__name__", "") not in EFFECTS:
            return
        if isinstance(getattr(function, "__self__", None), (str, bytes, dict, set)):
            return  # a method of the same name that has no effect outside
        where = self._where(frame)
        if not where:
            return
        number = next(self.counters.setdefault(where, itertools.count(1)))
        self.counts[where] = number
        if where == self.where and number >= self.at and not self._struck:
            self._strike()

    def _where(self, frame: FrameType | None) -> str:
        """`PHASE FILE:FUNCTION`; without a phase, empty."""
        innermost = ""
        while frame is not None:
            code = frame.f_code
            known = self._known.get(code)
            if known is None:
                known = self._known[code] = (phase_of(code), place_of(code))
            phase, place = known
            innermost = innermost or place
            if phase:
                return f"{phase} {innermost}"
            frame = frame.f_back
        return ""

    def _strike(self) -> None:
        do = self.spec["do"]
        if do in ("kill-build", "kill-both") and not self._targets():
            return  # no build runs: the next effect will do
        self._struck = True
        if self.spec.get("after"):
            _thread.start_new_thread(self._later, ())
        else:
            self._act()

    def _later(self) -> None:
        time.sleep(self.spec["after"])
        self._act()

    def _act(self) -> None:
        do = self.spec["do"]
        if do == "kill-hermetic":
            self._fired()
            os.kill(os.getpid(), signal.SIGKILL)
        elif do == "kill-build":
            killed = [_kill(pid) for pid in self._targets()]
            if any(killed):
                self._fired()
        elif do == "kill-both":
            beside = int(self.spec.get("beside", 0))
            everyone = [*descendants(beside or os.getpid()), *([beside] if beside else [])]
            self._fired()
            sys.setswitchinterval(60)  # no other thread shall see its builds die: all at once
            for pid in everyone if self.at % 2 else everyone[::-1]:
                _kill(pid)
            os.kill(os.getpid(), signal.SIGKILL)
        elif do == "read-only":
            self._fired()
            _make_read_only(self.spec["store"])
        elif do == "clock-back":
            self._fired()
            self.ahead = 0.0

    def _targets(self) -> list[int]:
        """Processes of a build: the server, the first process of a sandbox, what it runs, or all of it."""
        levels = generations(int(self.spec.get("beside", 0)) or os.getpid())
        inner = [pid for level in levels[2:] for pid in level]
        if not inner:
            return []
        chosen = {"server": levels[0], "init": levels[1], "script": levels[2], "all": inner}
        return chosen[self.spec.get("target", "script")]

    def _fired(self) -> None:
        Path(self.spec["fired"]).write_text(self.where)


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _make_read_only(folder: str) -> None:
    """A mount over the folder that is read-only from its first moment."""
    mount = syscalls.open_tree(folder, recursive=False)
    syscalls.mount_setattr(mount, syscalls.MOUNT_ATTR_RDONLY, recursive=False, about=folder)
    syscalls.move_mount(mount, folder)
    os.close(mount)


def main() -> None:
    spec = json.loads(sys.argv[1])
    victim = Victim(spec)
    sys.argv = ["hermetic", *sys.argv[2:]]
    from hermetic.cli.entry import run as hermetic

    victim.arm()
    try:
        hermetic()
    finally:
        sys.setprofile(None)
        if "counts" in spec:
            Path(spec["counts"]).write_text(json.dumps(victim.counts))


if __name__ == "__main__":
    main()
