"""A program for builds without a compiler: it asks the kernel how much memory the machine has."""

from __future__ import annotations

import struct
from typing import Final

# x86_64.
_CODE: Final = bytes.fromhex(
    "4881ec80000000 4889e7 b863000000 0f05"  # sub rsp, 128; sysinfo(rsp)
    "b801000000 bf01000000 488d742420 ba08000000 0f05"  # write(1, &totalram, 8)
    "b83c000000 31ff 0f05"  # exit(0)
)
_BASE: Final = 0x400000
_HEADERS: Final = 64 + 56
_SIZE: Final = _HEADERS + len(_CODE)
_START: Final = _BASE + _HEADERS
_ELF: Final = (
    b"\x7fELF\2\1\1".ljust(16, b"\0")
    + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _START, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    + struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, _SIZE, _SIZE, 4096)
    + _CODE
)

# A script that makes the program /tmp/memory. It writes the bytes of all memory, as 8 bytes.
SCRIPT: Final = "printf '{}' > /tmp/memory; chmod +x /tmp/memory\n".format(
    "".join(rf"\{b:03o}" for b in _ELF)
)
