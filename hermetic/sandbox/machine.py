"""What a traced build hears of the machine: half of the memory, and a kernel of another version.

Standard library only.
"""

from __future__ import annotations

import ctypes
import struct

_libc = ctypes.CDLL(None)

# Uptime, three loads, six sizes, processes, sizes of high memory, unit (man 2 sysinfo).
_SYSINFO = struct.Struct("=q3Q6QHH4x2QI4x")
_SIZES = slice(4, 10)
_NAME = 65  # bytes of a field (man 2 uname)
_VERSION = slice(3 * _NAME, 4 * _NAME)


def sysinfo() -> bytes:
    """`struct sysinfo` of this machine, with half of everything that has a size."""
    buffer = ctypes.create_string_buffer(_SYSINFO.size)
    _libc.sysinfo(buffer)
    found = list(_SYSINFO.unpack(buffer.raw))
    found[_SIZES] = [size // 2 for size in found[_SIZES]]
    return _SYSINFO.pack(*found)


def uname() -> bytes:
    """`struct utsname` of this process, with another version (`uname -v`)."""
    buffer = ctypes.create_string_buffer(6 * _NAME)
    _libc.uname(buffer)
    found = bytearray(buffer.raw)
    found[_VERSION] = b"#1 perturbed".ljust(_NAME, b"\0")
    return bytes(found)
