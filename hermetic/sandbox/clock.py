# ruff: noqa: PTH123
# pathlib would double the load time of this module.
"""Runs a build under a shifted clock: its processes see a later time of day, and if wanted another machine.

The build's init traces all processes of the build (ptrace):

- A program reads the clock without a system call, from the vDSO, which is code that the kernel maps into
  every process. The auxiliary vector on the program's stack has its address, in the entry AT_SYSINFO_EHDR.
  The tracer removes that entry whenever a program is executed. Every C library then makes system calls
  instead.
- A seccomp filter stops a process at each system call that returns the time of day. The tracer answers it.
- The same goes for the calls that tell how large the machine is and which kernel it has (`machine`).
- The filter also stops calls that wait until a time of day or set a file's time stamp. For the duration of
  the call, their argument is translated back to the machine's clock.

So everything that the kernel records, such as time stamps of files, consistently uses the machine's clock.
The fork server imports this module for the first build that needs it. Standard library only.
"""

from __future__ import annotations

import _socket
import array
import errno
import os
import struct
import time

from hermetic.sandbox import machine, ptrace, seccomp, syscalls
from hermetic.sandbox.inside import SetupError, enter_directory, signals_to_reset

# Instead of `typing.TYPE_CHECKING`: importing `typing` takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, Final, NoReturn
else:
    import _signal as signal  # `signal` itself takes half as long to load as all the rest

STEP: Final = (
    "trace"  # step of a SetupError: the machine does not allow tracing, or a process cannot be traced
)

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
_STACK_SIZES: Final = (1 << 14, 1 << 18, 1 << 23)  # bytes to search; arguments take at most the last number

# Made when this module is loaded, which is before the first rebuild is asked for.
TRACER_FILTER: Final = seccomp.tracer_program()
_TRACED_FILTER: Final = seccomp.traced_program()

_NO_CALL: Final = 2**64 - 1
_CALLS: Final = seccomp.TRACED_NUMBERS
_GETTIMEOFDAY, _TIME, _CLOCK_GETTIME = (_CALLS[n] for n in ("gettimeofday", "time", "clock_gettime"))
_MACHINE: Final = {_CALLS["sysinfo"]: machine.sysinfo, _CALLS["uname"]: machine.uname}
# Calls with a time of day as argument: the register that points at it, its size in bytes, and the offsets of
# its seconds.
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
# Seconds. It is unknown which clock a timer follows. An earlier deadline is taken for one since boot: no
# machine has been up for longer. If it is a time of day, it is past, and the timer fires at once either way.
_NO_UPTIME: Final = 10**9
_RECENT: Final = 86_400  # seconds; a file time stamp is taken for one of the build's clock unless it is older
_SECONDS: Final = struct.Struct("<q")
_RED_ZONE: Final = 128  # bytes below the stack pointer that a function may use (x86_64 ABI)


def run(process: dict[str, Any]) -> int:
    """Like `inside.run`, under a clock that is `process["clock_offset"]` seconds ahead. May be 0.

    With `process["other_machine"]`, the build hears of another machine.

    The caller must have installed `TRACER_FILTER` and must have no other child.

    Raises:
        SetupError: the build cannot be executed, or (in step `STEP`) cannot be traced.
    """
    enter_directory(process)
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
    status = _Tracer(process["clock_offset"], other_machine=process["other_machine"]).serve(pid)
    failed = ours.recv(4)
    if failed:
        number = int.from_bytes(failed, "little")
        raise SetupError(f"execute {process['argv'][0]}", number, os.strerror(number))
    return status


def _become_the_build(process: dict[str, Any], end: _socket.socket) -> NoReturn:
    """In the child: wait to be traced, then execute the build, or send the error number to the parent."""
    try:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # otherwise it cannot be traced
        end.send(b".")
        end.recv(1)
        for number in signals_to_reset():
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        syscalls.install_seccomp(_TRACED_FILTER)
        os.execve(process["argv"][0], process["argv"], process["env"])
    except BaseException as error:
        number = getattr(error, "errno", None) or errno.EINVAL
        end.send(number.to_bytes(4, "little"))
    finally:
        os._exit(127)


class _Tracer:
    """Traces all processes and threads of a build.

    Args:
        offset: seconds that their clock is ahead.
        other_machine: whether `machine` answers.
    """

    def __init__(self, offset: int, *, other_machine: bool) -> None:
        self.offset = offset
        self.other_machine = other_machine
        self.amended: dict[int, tuple[str, int]] = {}  # thread id: a changed register and its original value

    def serve(self, main: int) -> int:
        """Trace until the process `main` ends; returns its wait status. Reaps orphans meanwhile."""
        while True:
            pid, status = os.waitpid(-1, ptrace.WALL)
            if os.WIFSTOPPED(status):
                try:
                    self._go_on(pid, event=status >> 16, stopped_by=status >> 8 & 0xFF)
                except ProcessLookupError:
                    pass  # it was killed while stopped; waitpid will report its end
                except OSError as error:
                    raise SetupError(STEP, error.errno or 0, f"{error}, in {_program(pid)}") from None
            else:
                self.amended.pop(pid, None)
                if pid == main:
                    return status

    def _go_on(self, pid: int, *, event: int, stopped_by: int) -> None:
        """Handle a stopped thread and let it continue."""
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
        if registers.orig_rax in _MACHINE and not self.other_machine:
            ptrace.resume(pid)
            return
        if registers.orig_rax in _MACHINE:
            result = _store(pid, registers.rdi, _MACHINE[registers.orig_rax]())
        elif registers.orig_rax in (_GETTIMEOFDAY, _TIME, _CLOCK_GETTIME):
            result = self._tell_time(pid, registers)
        else:  # stopped by a filter of the build itself, for which there is no tracer
            result = -errno.ENOSYS
        registers.orig_rax = _NO_CALL
        registers.rax = result % 2**64
        ptrace.set_registers(pid, registers)
        ptrace.resume(pid)

    def _tell_time(self, pid: int, registers: ptrace.Registers) -> int:
        """Answer a call that returns the time of day; returns the result of the call."""
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
        """Translate the times of day from `since` to `until` in a call's argument to the machine's clock.

        The caller's structure may be read-only or shared with other threads. So the call gets a copy below
        the used part of the stack, and the register is restored at the end of the call.
        """
        address: int = getattr(registers, register)
        try:
            given = bytearray(ptrace.read(pid, address, size))
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            given = bytearray()
        readable = places if len(given) == size else ()  # the kernel reports a wrong address
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
    """The name of a process, for messages."""
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as name:
            return name.read().strip()
    except OSError:
        return f"process {pid}"


def _store(pid: int, address: int, data: bytes) -> int:
    """Write a call's answer. Returns 0, or -EFAULT if the caller has no such memory."""
    try:
        if data:
            ptrace.write(pid, address, data)
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise
        return -errno.EFAULT
    return 0


def hide_vdso(pid: int) -> None:
    """Remove the vDSO's address from the stack of a program that has just been executed.

    Raises:
        OSError: its memory cannot be read, for example because its user may not read the program's file.
    """
    registers = ptrace.registers(pid)
    if registers.cs == _CS_OF_32_BITS:
        return  # a 32-bit program: its first system call kills it
    for size in _STACK_SIZES:
        place = _place_of_vdso(ptrace.read(pid, registers.rsp, size))
        if place is not None:
            ptrace.write(pid, registers.rsp + place, _SECONDS.pack(_AT_IGNORE))
            return
    raise OSError(errno.ENOEXEC, "no auxiliary vector on the stack of a new program")


def _place_of_vdso(stack: bytes) -> int | None:
    """The offset of AT_SYSINFO_EHDR in the initial stack of a program: argc, argv, envp, auxv.

    None if it is not found: then `stack` is too short, because the kernel gives the entry to every program.
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
