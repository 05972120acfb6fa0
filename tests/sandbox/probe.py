"""For programs inside a sandbox: system calls by number. It is put in front of each probe's own text."""

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number: int, *args: "int | bytes | None") -> str:
    """Make a system call: "ok", or the name of the error."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result: int = libc.syscall(ctypes.c_long(number), *converted)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "ok"


def in_child(function: "object") -> int:
    """Wait status of a child that runs `function`."""
    pid = os.fork()
    if pid == 0:
        try:
            function()  # type: ignore[operator]
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]
