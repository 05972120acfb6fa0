# ruff: noqa: PTH123
# Because pathlib would double the time that this takes to load.
"""Runs a build under a clock that is put forward, as far as its processes can see the time of day.

The build's init traces all processes of the build:

- A program reads the clock from the vDSO, a piece of code that the kernel maps into every process, without a
  system call that could be answered otherwise. The vDSO's address is the entry AT_SYSINFO_EHDR of the vector
  that a program finds on its stack. It is crossed out whenever a program is executed; every C library then
  makes system calls instead.
- A seccomp filter stops a process at each call that tells the time of day, for the tracer to answer it.
- It also stops those that wait until a time of day, or note one down as a file's: the time is translated back
  for the length of the call.

So whatever the kernel notes down, times of files above all, agrees with itself: it is of the machine's clock.
Imported by the fork server for the first build that needs it. Standard library only.
"""

from __future__ import annotations

import _socket
import array
import errno
import os
import struct
import time

from hermetic.sandbox import ptrace, seccomp, syscalls
from hermetic.sandbox.inside import SetupError, enter_folder, signals_to_reset

# What `typing.TYPE_CHECKING` stands for; importing that module takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, Final, NoReturn
else:
    import _signal as signal  # `signal` itself takes half as long to load as all the rest

STEP: Final = "trace"  # of a SetupError: the machine does not let us trace, or a process could not be

_OPTIONS: Final = (
    ptrace.OPTION_FORK
    | ptrace.OPTION_VFORK
    | ptrace.OPTION_CLONE
    | ptrace.OPTION_EXEC
    | ptrace.OPTION_SECCOMP
    | ptrace.OPTION_SYSGOOD
    | ptrace.OPTION_EXITKILL
)
_STOPPING: Final = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_END_OF_CALL: Final = signal.SIGTRAP | 0x80

_AT_NULL, _AT_IGNORE, _AT_SYSINFO_EHDR = 0, 1, 33
_CS_OF_32_BITS: Final = 0x23
_STACK_SIZES: Final = (1 << 14, 1 << 18, 1 << 23)  # bytes to look at; arguments are limited to the last

_NO_CALL: Final = 2**64 - 1
_CALLS: Final = seccomp.CLOCK_NUMBERS
_GETTIMEOFDAY, _TIME, _CLOCK_GETTIME = (_CALLS[n] for n in ("gettimeofday", "time", "clock_gettime"))
# Calls that are told a time of day: the register that points at it, how many bytes are there, and where among
# them the seconds stand.
_DEADLINES: Final = {
    _CALLS["futex"]: ("r10", 16, (0,)),
    _CALLS["timer_settime"]: ("rdx", 32, (16,)),  # after the interval
    _CALLS["clock_nanosleep"]: ("rdx", 16, (0,)),
    _CALLS["mq_timedsend"]: ("r8", 16, (0,)),
    _CALLS["mq_timedreceive"]: ("r8", 16, (0,)),
    _CALLS["timerfd_settime"]: ("rdx", 32, (16,)),  # after the interval
    _CALLS["futex_waitv"]: ("r10", 16, (0,)),
    _CALLS["futex_wait"]: ("r8", 16, (0,)),
}
_FILE_TIMES: Final = {
    _CALLS["utime"]: ("rsi", 16, (0, 8)),
    _CALLS["utimes"]: ("rsi", 32, (0, 16)),
    _CALLS["futimesat"]: ("rdx", 32, (0, 16)),
    _CALLS["utimensat"]: ("rdx", 32, (0, 16)),
}
# Seconds. Of timers it is not known which clock they follow; no machine has been up for longer, and what is
# due before it by the time of day is due at once.
_NO_UPTIME: Final = 10**9
_RECENT: Final = 86_400  # seconds; a file's time is taken for one of the build's clock if it is not older
_SECONDS: Final = struct.Struct("<q")
_RED_ZONE: Final = 128  # bytes below the stack pointer that a function may use


def run(process: dict[str, Any]) -> int:
    """What `inside.run` does, under a clock that is `process["clock_offset"]` seconds ahead.

    The caller must have the filter `seccomp.tracer_program`, and no other child.

    Raises:
        SetupError: the build cannot be executed; or, in step `STEP`, it cannot be traced.
    """
    enter_folder(process)
    ours, theirs = _socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _become_the_build(process, theirs)
    theirs.close()
    ours.recv(1)
    try:
        ptrace.seize(pid, _OPTIONS)
    except OSError as error:
        raise SetupError(STEP, error.errno or 0, str(error)) from None
    ours.send(b".")
    status = _Tracer(process["clock_offset"]).serve(pid)
    failed = ours.recv(4)
    if failed:
        number = int.from_bytes(failed, "little")
        raise SetupError(f"execute {process['argv'][0]}", number, os.strerror(number))
    return status


def _become_the_build(process: dict[str, Any], end: _socket.socket) -> NoReturn:
    """In the child: wait to be traced, then execute the build; or tell why that cannot be done."""
    try:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else it could not be traced
        end.send(b".")
        end.recv(1)
        for number in signals_to_reset():
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        syscalls.install_seccomp(seccomp.traced_program())
        os.execve(process["argv"][0], process["argv"], process["env"])
    except BaseException as error:
        number = getattr(error, "errno", None) or errno.EINVAL
        end.send(number.to_bytes(4, "little"))
    finally:
        os._exit(127)


class _Tracer:
    """Follows all processes and threads of a build. Args: seconds that their clock is ahead."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.amended: dict[int, tuple[str, int]] = {}  # by thread: a register's name and its own value

    def serve(self, main: int) -> int:
        """Until the process `main` ends; its wait status. Orphans are reaped meanwhile."""
        while True:
            pid, status = os.waitpid(-1, ptrace.WALL)
            if os.WIFSTOPPED(status):
                try:
                    self._go_on(pid, event=status >> 16, stopped_by=status >> 8 & 0xFF)
                except ProcessLookupError:
                    pass  # it was killed while it stood still; its end will be told
                except OSError as error:
                    raise SetupError(STEP, error.errno or 0, f"{error}, of {_program(pid)}") from None
            else:
                self.amended.pop(pid, None)
                if pid == main:
                    return status

    def _go_on(self, pid: int, *, event: int, stopped_by: int) -> None:
        """Do what is to be done where a thread has stopped, and let it run on."""
        if event == ptrace.EVENT_SECCOMP:
            self._at_call(pid)
            return
        if event == ptrace.EVENT_STOP and stopped_by in _STOPPING:
            ptrace.leave_stopped(pid)
            return
        if event == ptrace.EVENT_EXEC:
            self.amended.pop(pid, None)
            hide_vdso(pid)
        elif stopped_by == _END_OF_CALL and pid in self.amended:
            ptrace.set_register(pid, *self.amended.pop(pid))
        ptrace.resume(pid, 0 if event or stopped_by == _END_OF_CALL else stopped_by)

    def _at_call(self, pid: int) -> None:
        registers = ptrace.registers(pid)
        if registers.orig_rax in _DEADLINES:
            self._translate(pid, registers, *_DEADLINES[registers.orig_rax], since=_NO_UPTIME)
            return
        if registers.orig_rax in _FILE_TIMES:
            now = int(time.time()) + self.offset
            self._translate(pid, registers, *_FILE_TIMES[registers.orig_rax], since=now - _RECENT, until=now)
            return
        # Any other call was stopped by a filter of the build's own: for that one there is no tracer.
        known = registers.orig_rax in (_GETTIMEOFDAY, _TIME, _CLOCK_GETTIME)
        result = self._tell_time(pid, registers) if known else -errno.ENOSYS
        registers.orig_rax = _NO_CALL
        registers.rax = result % 2**64
        ptrace.set_registers(pid, registers)
        ptrace.resume(pid)

    def _tell_time(self, pid: int, registers: ptrace.Registers) -> int:
        """Answer a call that tells the time of day; its result."""
        clock = registers.rdi & 0xFFFFFFFF if registers.orig_rax == _CLOCK_GETTIME else time.CLOCK_REALTIME
        try:
            seconds, nanoseconds = divmod(time.clock_gettime_ns(clock), 10**9)
        except OSError as error:
            return -(error.errno or errno.EINVAL)
        seconds += self.offset
        if registers.orig_rax == _CLOCK_GETTIME:
            return _store(pid, registers.rsi, struct.pack("<qq", seconds, nanoseconds))
        if registers.orig_rax == _GETTIMEOFDAY:
            time_of_day = struct.pack("<qq", seconds, nanoseconds // 1000) if registers.rdi else b""
            zone = bytes(8) if registers.rsi else b""
            return _store(pid, registers.rdi, time_of_day) or _store(pid, registers.rsi, zone)
        failed = _store(pid, registers.rdi, _SECONDS.pack(seconds)) if registers.rdi else 0
        return failed or seconds

    def _translate(
        self,
        pid: int,
        registers: ptrace.Registers,
        register: str,
        size: int,
        places: tuple[int, ...],
        *,
        since: int,
        until: int = 2**63,
    ) -> None:
        """Have a call take the times from `since` to `until` as those that the machine's clock shows then.

        The caller's own structure may be read-only, or be read by other threads. So the call gets another
        one, beyond what is in use of the stack, and the register is set back at the end of the call.
        """
        address: int = getattr(registers, register)
        try:
            given = bytearray(ptrace.read(pid, address, size))
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            given = bytearray()
        readable = places if len(given) == size else ()  # a wrong address is the kernel's to find
        told = {at: _SECONDS.unpack_from(given, at)[0] for at in readable}
        translated = {at: seconds - self.offset for at, seconds in told.items() if since <= seconds <= until}
        if not translated:
            ptrace.resume(pid)
            return
        for at, seconds in translated.items():
            _SECONDS.pack_into(given, at, seconds)
        place = (registers.rsp - _RED_ZONE - size) & ~15
        ptrace.write(pid, place, bytes(given))
        ptrace.set_register(pid, register, place)
        self.amended[pid] = (register, address)
        ptrace.resume_to_the_end_of_the_call(pid)


def _program(pid: int) -> str:
    """What a process calls itself, for people."""
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as name:
            return name.read().strip()
    except OSError:
        return f"process {pid}"


def _store(pid: int, address: int, data: bytes) -> int:
    """Write a call's answer; 0, or -EFAULT where the caller has no such memory."""
    try:
        if data:
            ptrace.write(pid, address, data)
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise
        return -errno.EFAULT
    return 0


def hide_vdso(pid: int) -> None:
    """Cross out the vDSO's address on the stack of a program that has just been executed.

    Raises:
        OSError: its memory cannot be read, as that of a program whose file its user may not read.
    """
    registers = ptrace.registers(pid)
    if registers.cs == _CS_OF_32_BITS:
        return  # its first call will kill it
    for size in _STACK_SIZES:
        place = _place_of_vdso(ptrace.read(pid, registers.rsp, size))
        if place is not None:
            ptrace.write(pid, registers.rsp + place, _SECONDS.pack(_AT_IGNORE))
            return
    raise OSError(errno.ENOEXEC, "what a program was started with cannot be understood")


def _place_of_vdso(stack: bytes) -> int | None:
    """The offset of AT_SYSINFO_EHDR in what a program finds on its stack: argc, argv, envp, auxv.

    None if it is not there, because this is not all of the stack: the kernel gives it to every program.
    """
    words = array.array("Q")
    words.frombytes(stack[: len(stack) & ~7])
    try:
        entry = words.index(0, words[0] + 2) + 1
        while words[entry] not in (_AT_NULL, _AT_SYSINFO_EHDR):
            entry += 2
    except (ValueError, IndexError):
        return None
    return 8 * entry if words[entry] == _AT_SYSINFO_EHDR else None
