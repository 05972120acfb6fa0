"""Undoes a compression that was added on the way (`Content-Encoding`) although none was asked for."""

from __future__ import annotations

import os
import zlib
from typing import IO, Final

_CHUNK: Final = 1 << 20
_WINDOW: Final = 32 + zlib.MAX_WBITS  # gzip or zlib, as the data says
SUPPORTED: Final = ("gzip", "x-gzip", "deflate")


def slack(size: int) -> int:
    """How many bytes more than `size` its encoded form may have: what is compressed already grows."""
    return size // 100 + 4096


def decode(source: int, target: IO[bytes], most: int) -> bool:
    """Decode the file `source`, a descriptor, to `target`.

    Args:
        most: bytes; more are not written.

    Returns:
        whether it is whole, and no more.
    """
    inflate = zlib.decompressobj(_WINDOW)
    os.lseek(source, 0, os.SEEK_SET)
    try:
        while chunk := os.read(source, _CHUNK):
            while chunk:
                plain = inflate.decompress(chunk, _CHUNK)
                most -= len(plain)
                if most < 0:
                    return False
                target.write(plain)
                chunk = inflate.unconsumed_tail
        plain = inflate.flush()
    except zlib.error:
        return False
    target.write(plain)
    return inflate.eof and len(plain) <= most
