"""Typed wrappers of `ptrace` (man 2 ptrace) and of reading and writing another process's memory. x86_64 only.

Standard library only. Every function may raise OSError. ProcessLookupError means that the process is dead or
dying: it can be killed while it is stopped for its tracer.
"""

from __future__ import annotations

import ctypes
import errno
import os

# Instead of `typing.TYPE_CHECKING`: importing `typing` takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

WALL: Final = 0x40000000  # for waitpid: also threads and other clones

OPTION_SYSGOOD: Final = 1 << 0
OPTION_FORK: Final = 1 << 1
OPTION_VFORK: Final = 1 << 2
OPTION_CLONE: Final = 1 << 3
OPTION_EXEC: Final = 1 << 4
OPTION_SECCOMP: Final = 1 << 7
OPTION_EXITKILL: Final = 1 << 20

EVENT_EXEC: Final = 4
EVENT_SECCOMP: Final = 7
EVENT_STOP: Final = 128

_POKEUSER, _CONT, _GETREGS, _SETREGS, _SYSCALL = 6, 7, 12, 13, 24
_SEIZE, _LISTEN = 0x4206, 0x4208

# fmt: off
_REGISTERS: Final = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)
# fmt: on
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
for _copy in (_libc.process_vm_readv, _libc.process_vm_writev):
    _copy.restype = ctypes.c_ssize_t
    _copy.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong,
    ]  # fmt: skip


class Registers(ctypes.Structure):
    """`user_regs_struct`. `orig_rax` holds the number of a system call, `rax` its result."""

    _fields_ = [(name, ctypes.c_uint64) for name in _REGISTERS]

    if TYPE_CHECKING:
        r10: int
        r8: int
        rax: int
        rdx: int
        rsi: int
        rdi: int
        orig_rax: int
        cs: int
        rsp: int


class _Slice(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def _ptrace(request: int, pid: int, address: int = 0, data: int | None = None) -> None:
    if _libc.ptrace(request, pid, address, data) == -1:
        raise _error("ptrace")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)


def seize(pid: int, options: int) -> None:
    """Trace a running process and, with the OPTION_* for forks, everything that it starts."""
    _ptrace(_SEIZE, pid, 0, options)


def resume(pid: int, signal: int = 0) -> None:
    """Continue the process, and deliver a signal."""
    _ptrace(_CONT, pid, 0, signal)


def resume_to_the_end_of_the_call(pid: int) -> None:
    """Continue the process from the start of a system call, and stop it at the end of the call."""
    _ptrace(_SYSCALL, pid)


def leave_stopped(pid: int) -> None:
    """Leave the process stopped, as job control requires, until a signal continues it."""
    _ptrace(_LISTEN, pid)


def registers(pid: int) -> Registers:
    found = Registers()
    _ptrace(_GETREGS, pid, 0, ctypes.addressof(found))
    return found


def set_registers(pid: int, values: Registers) -> None:
    _ptrace(_SETREGS, pid, 0, ctypes.addressof(values))


def set_register(pid: int, name: str, value: int) -> None:
    _ptrace(_POKEUSER, pid, 8 * _REGISTERS.index(name), value)


def read(pid: int, address: int, size: int) -> bytes:
    """Read at most `size` bytes of its memory; fewer where the memory ends."""
    buffer = ctypes.create_string_buffer(size)
    copied = _copy_memory(_libc.process_vm_readv, pid, address, buffer, size)
    return ctypes.string_at(buffer, copied)


def write(pid: int, address: int, data: bytes) -> None:
    """Write all of `data` to memory that the process itself could write; otherwise OSError EFAULT."""
    buffer = ctypes.create_string_buffer(data, len(data))
    if _copy_memory(_libc.process_vm_writev, pid, address, buffer, len(data)) < len(data):
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT), "process_vm_writev")


def _copy_memory(
    function: ctypes._NamedFuncPointer, pid: int, address: int, buffer: ctypes.Array[ctypes.c_char], size: int
) -> int:
    here, there = _Slice(ctypes.addressof(buffer), size), _Slice(address, size)
    copied: int = function(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if copied == -1:
        raise _error(function.__name__)
    return copied
