"""Tries an interpreter out. This program runs in it; see `inspecting`. Standard library only.

python3 -I tries.py imports                  writes the modules that cannot be imported, with the reasons
python3 -I tries.py no-writable-code FILTER  starts itself under a seccomp filter, and has C call Python
python3 -I tries.py linux-5.8 FILTER         starts itself under one, and uses much of the library
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_CLOSE_RANGE: Final = 436  # of Linux 5.9, everywhere but on MIPS and Alpha


def main(what: str, program: str = "") -> None:
    """Try one thing out."""
    if what == "imports":
        Path("result.json").write_text(json.dumps(imports()))
    elif program:
        restrict(bytes.fromhex(program))
        os.execv(sys.executable, [sys.executable, "-I", sys.argv[0], what])
    else:
        {"no-writable-code": no_writable_code, "linux-5.8": linux_5_8}[what]()


def imports() -> dict[str, str]:
    """The modules of the standard library that cannot be imported, with the reasons."""
    failed = {}
    for name in sorted(sys.stdlib_module_names):
        try:
            importlib.import_module(name)
        except BaseException as error:  # a module may do anything
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def restrict(program: bytes) -> None:
    """Put this process and all that it starts under a seccomp filter."""

    class Filter(ctypes.Structure):
        _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    given = Filter(len(program) // 8, program)
    for call in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(given), 0, 0),
    ):
        if libc.prctl(*call):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def no_writable_code() -> None:
    """C calls Python, which takes code that is made at run time; and everything else."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except PermissionError:
        pass
    else:
        raise AssertionError("the filter has no effect")
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 5)(5, 1, 4, 2, 3)
    size = ctypes.sizeof(ctypes.c_int)
    ctypes.CDLL(None).qsort(numbers, len(numbers), size, compare_type(lambda a, b: a[0] - b[0]))
    assert list(numbers) == [1, 2, 3, 4, 5], list(numbers)
    library()


def linux_5_8() -> None:
    """Everything on an older kernel."""
    found = ctypes.CDLL(None, use_errno=True).syscall(_CLOSE_RANGE, 10**6, 10**6, 0)
    assert found == -1, "the filter has no effect"
    assert ctypes.get_errno() == errno.ENOSYS, ctypes.get_errno()
    library()


def library() -> None:
    """Files, processes, threads, sockets, time and random numbers."""
    import asyncio
    import bz2
    import hashlib
    import multiprocessing
    import random
    import shutil
    import socket
    import sqlite3
    import ssl
    import tempfile
    import threading
    import time

    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "file")
        file.write_bytes(bz2.compress(b"text" * 1000))
        shutil.copy(file, Path(place, "copy"))
        assert len(list(os.fwalk(place))) == 1
        sqlite3.connect(Path(place, "database")).execute("create table t(x)")
        os.utime(file, ns=(0, 0))
        os.truncate(file, 1)
        shutil.rmtree(place)
        Path(place).mkdir()
    child = subprocess.run([sys.executable, "-I", "-c", "print(1)"], capture_output=True, check=True)
    assert child.stdout == b"1\n", child
    assert not subprocess.call(["/bin/sh", "-c", "exit 0"])
    thread = threading.Thread(target=time.sleep, args=(0.01,))
    thread.start()
    thread.join()
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.01,))
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode

    async def talk() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        answered = await reader.read()
        writer.close()
        server.close()
        return answered

    assert asyncio.run(talk()) == b"hello\n"
    one, other = socket.socketpair()
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    ssl.create_default_context()
    random.SystemRandom().random()
    hashlib.sha256(b"x")
    os.sched_getaffinity(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
