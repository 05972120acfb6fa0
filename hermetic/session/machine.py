"""The machine that this process runs on."""

from __future__ import annotations

import platform
import struct
import sys
from pathlib import Path

from hermetic import systems
from hermetic.systems import Machine

_COMPAT = Path("/proc/sys/abi/vsyscall32")  # there where a 64-bit kernel of x86 runs 32-bit programs


def this() -> Machine:
    """What this machine tells of itself. Without `/proc`, it tells less."""
    bits = {8 * struct.calcsize("P")} | ({32} if _COMPAT.exists() else set())
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        cpuinfo = ""
    return Machine(
        uname=platform.machine(),
        endian=sys.byteorder,
        bits=frozenset(bits),
        features=systems.features(cpuinfo),
    )
