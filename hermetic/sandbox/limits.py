# ruff: noqa: SIM105, PTH116, PTH123
# pathlib and contextlib would double the start-up time of the server.
"""What a build may use of the machine: resource limits, and a watch over its processes, memory and disk.

A limit of the kernel makes a call fail, and the program says what it likes. The watch, in the build's init,
sees that a limit is reached and ends the whole build with the reason. Standard library only.

The kernel counts RLIMIT_NPROC for each user of each user namespace (since Linux 5.14; before, for each user
of the machine), and every build has a user namespace. So no cgroup is needed, which few callers may create.
"""

from __future__ import annotations

import os
import resource

# Instead of `typing.TYPE_CHECKING`: importing `typing` takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import Final
else:
    import _signal as signal  # `signal` itself takes half as long to load as all the rest

PROCESSES: Final = "processes"
MEMORY: Final = "memory"
DISK: Final = "disk"

# The kernel's out-of-memory killer takes processes of builds first, unless another one has half of all memory
# more (man 5 proc, oom_score_adj).
OOM_SCORE: Final = "500"

_INFINITE: Final = resource.RLIM_INFINITY
_MIB: Final = 1 << 20
_FIXED: Final = {  # soft and hard limit
    resource.RLIMIT_STACK: (8 * _MIB, _INFINITE),
    resource.RLIMIT_NOFILE: (4096, 16384),
    resource.RLIMIT_MEMLOCK: (_MIB, _MIB),
    resource.RLIMIT_SIGPENDING: (4096, 4096),
    resource.RLIMIT_MSGQUEUE: (819200, 819200),
    resource.RLIMIT_CORE: (0, 0),
    resource.RLIMIT_NICE: (0, 0),
    resource.RLIMIT_RTPRIO: (0, 0),
    **dict.fromkeys(
        (
            resource.RLIMIT_CPU,
            resource.RLIMIT_RTTIME,
            resource.RLIMIT_FSIZE,
            resource.RLIMIT_DATA,
            resource.RLIMIT_AS,
            resource.RLIMIT_RSS,
        ),
        (_INFINITE, _INFINITE),
    ),
}

_FIRST, _SLOWEST, _FASTEST = 0.1, 0.25, 0.05  # seconds until the watch looks, and between its looks
_FILLS_IN: Final = 2.0  # seconds in which no build fills the whole memory of a machine
_FULL: Final = 1 << 20  # bytes free on a disk, below which nothing can be built on it
_PAGE: Final = resource.getpagesize()


class Exceeded(Exception):
    """The build uses more than it may. Arg: PROCESSES, MEMORY or DISK."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def impose() -> None:
    """Set those limits of this process and its children that are the same for every build."""
    for which, (soft, hard) in _FIXED.items():
        _impose(which, soft, hard)


def impose_on_processes(count: int) -> None:
    """Set the limit of a build's processes, threads included."""
    # Programs may end as soon as they cannot fork. So that the watch sees too many, more are possible.
    possible = count * 5 // 4 + 1
    _impose(resource.RLIMIT_NPROC, possible, possible)


def _impose(which: int, soft: int, hard: int) -> None:
    """Set a limit, as far as the caller's hard limit allows."""
    most = resource.getrlimit(which)[1]
    resource.setrlimit(which, (_lower(soft, most), _lower(hard, most)))


def _lower(one: int, other: int) -> int:
    return other if one == _INFINITE else one if other == _INFINITE else min(one, other)


class Watch:
    """Looks at what a build uses from time to time, and raises Exceeded wherever init is.

    It must be created where the host's /proc is visible, and started where /proc shows the build's processes.

    Args:
        processes: as for `impose_on_processes`.
        reserve: bytes of memory that are to stay available on the machine.
        places: directories of the host's disks that the build may write to, as it sees them.
    """

    def __init__(self, processes: int, reserve: int, places: list[str]) -> None:
        self._processes = processes
        self._reserve = reserve
        self._places = places
        try:
            self._meminfo = os.open("/proc/meminfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._meminfo = -1  # a container hides it: there remains the kernel's out-of-memory killer

    def start(self) -> None:
        """Look from now on, soon and then as often as it takes."""
        self._processes = min(self._processes, resource.getrlimit(resource.RLIMIT_NPROC)[0] * 4 // 5)
        signal.signal(signal.SIGALRM, self._on_time)
        signal.setitimer(signal.ITIMER_REAL, _FIRST)

    def stop(self) -> None:
        """Look no more."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_time(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, min(max(self.look(), _FASTEST), _SLOWEST))

    def look(self) -> float:
        """Returns how many seconds nothing can happen for.

        Raises:
            Exceeded: more processes than allowed; no memory is left and the build has most of it; a disk is
                full.
        """
        tasks = self._tasks()
        if tasks > self._processes:
            raise Exceeded(PROCESSES)
        if any(_is_full(place) for place in self._places):
            raise Exceeded(DISK)
        calm = _SLOWEST if tasks < self._processes / 4 else _FASTEST
        return min(calm, self._look_at_memory()) if self._meminfo >= 0 else calm

    def _tasks(self) -> int:
        """Threads of all processes but init."""
        found = -1
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    found += os.stat(f"/proc/{name}/task").st_nlink - 2
                except OSError:
                    pass  # it has ended
        return found

    def _look_at_memory(self) -> float:
        lines = os.pread(self._meminfo, 4096, 0).split(b"\n")
        kib = {line[: line.index(b":")]: int(line.split()[1]) for line in lines if b":" in line}
        if b"MemAvailable" not in kib:
            return _SLOWEST  # not the kernel's own file
        total = (kib[b"MemTotal"] + kib.get(b"SwapTotal", 0)) << 10
        free = (kib[b"MemAvailable"] + kib.get(b"SwapFree", 0)) << 10
        if free < self._reserve and 2 * _memory_of_build() > total - free:
            raise Exceeded(MEMORY)
        return (free - self._reserve) / total * _FILLS_IN


def _is_full(place: str) -> bool:
    try:
        disk = os.statvfs(place)
    except OSError:
        return False
    return disk.f_blocks > 0 and disk.f_bavail * disk.f_frsize < _FULL  # 0 blocks: it does not tell


def _memory_of_build() -> int:
    """Bytes that its processes have for themselves, and its files in memory. Too much after a fork."""
    scratch = os.statvfs("/")
    pages = (scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize // _PAGE
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/statm", "rb") as statm:
                    _, resident, shared, *_ = statm.read().split()
            except OSError:
                continue
            pages += int(resident) - int(shared)
    return pages * _PAGE


def killed_for_memory() -> int:
    """Processes of the machine that the kernel has killed since it was booted because memory ran out."""
    try:
        with open("/proc/vmstat", "rb") as vmstat:
            return int(vmstat.read().partition(b"\noom_kill ")[2].split(b"\n")[0] or 0)
    except (OSError, ValueError):
        return 0
