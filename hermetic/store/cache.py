"""Values kept in files until newer ones take their place: evaluations, and the answers of `store.quick`.

A file is named after the hash of its key, and begins with a digest of the value that follows. Part of the quick
answer, so nothing is imported that is slow to load; see `store.quick`.
"""

# ruff: noqa: PTH105, PTH108, SIM105
# Because pathlib and contextlib are slow to load.

from __future__ import annotations

import os

from blake3 import blake3

from hermetic import filesystem
from hermetic.errors import StoreError
from hermetic.hashing import EVALUATION

# What `typing.TYPE_CHECKING` stands for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

KEPT: Final = 32  # values
DIGEST_BYTES: Final = 16
_MOST: Final = 1 << 30  # bytes of one value


def read(directory: str | os.PathLike[str], key: str) -> bytes | None:
    """What was kept under a key; None when there is nothing, or it is damaged."""
    path = _path(directory, key)
    try:
        data = filesystem.whole(path, _MOST)
    except OSError:
        return None
    value = data[DIGEST_BYTES:]
    if _digest(value) != data[:DIGEST_BYTES]:
        return None
    try:
        os.utime(path)  # so that the ones in use are not those that go
    except OSError:
        pass  # a store that cannot be written loses none either
    return value


def write(directory: str | os.PathLike[str], key: str, value: bytes) -> None:
    """Keep a value, and delete those that were not used for longest. What cannot be written is not kept."""
    try:
        filesystem.write_atomically(_path(directory, key), _digest(value) + value)
        with filesystem.translated(directory, "read"), os.scandir(directory) as entries:
            files = [(e.stat().st_mtime_ns, e.path) for e in entries if not e.name.startswith(".")]
        for _, path in sorted(files, reverse=True)[KEPT:]:
            with filesystem.translated(path, "remove"):
                os.unlink(path)
    except StoreError:
        pass


def _path(directory: str | os.PathLike[str], key: str) -> str:
    name = blake3(key.encode("utf-8", "surrogateescape"), derive_key_context=EVALUATION).hexdigest()
    return f"{os.fspath(directory)}/{name}"


def _digest(value: bytes) -> bytes:
    return blake3(value).digest(DIGEST_BYTES)
