"""A cheap look at an object: is it as it was when it was registered?

The sentinel is a digest over the status (mode, size, time of content, time of change) of a sample of the
object's entries, chosen so that careless changes show: the root, then folders, shallow ones first (whatever
is added, removed or renamed in them changes their times), then executables and the largest files. The time
of change (ctime) cannot be set by programs. An object with fewer entries than the sample is covered whole.

A copied or moved store has other times; a sentinel that does not fit therefore proves nothing, and the store
then hashes the object before it judges.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Final

from blake3 import blake3

from hermetic.tree import Manifest

SAMPLE: Final = 128  # entries; about 0.2 ms
_STATUS: Final = struct.Struct("<Iqqq")
_DIGEST_BYTES: Final = 16


def choose(manifest: Manifest) -> list[bytes]:
    """The paths to look at."""
    folders = sorted((e.path.count(b"/"), e.path) for e in manifest.entries if e.kind == "dir")
    files = sorted((e.kind != "exec", -e.size, e.path) for e in manifest.entries if e.kind != "dir")
    half = SAMPLE // 2
    count_folders = max(half, SAMPLE - len(files))
    chosen = [path for _, path in folders[:count_folders]]
    return chosen + [path for _, _, path in files[: SAMPLE - len(chosen)]]


def take(root: str, paths: list[bytes]) -> bytes:
    """The sentinel of an object as it is now, with the paths it is taken of.

    Raises:
        OSError: one of them is not there.
    """
    return _digest(root, paths) + b"\0".join(paths)


def fits(root: str, sentinel: bytes) -> bool:
    """Whether the object at `root` still is what the sentinel was taken of."""
    paths = sentinel[_DIGEST_BYTES:].split(b"\0")
    try:
        return _digest(root, paths) == sentinel[:_DIGEST_BYTES]
    except (OSError, ValueError):
        return False


def _digest(root: str, paths: list[bytes]) -> bytes:
    start = os.fsencode(root) + b"/"
    pack, lstat, parts = _STATUS.pack, os.lstat, []
    for path in paths:
        s = lstat(start + path if path else start[:-1])
        # What a folder's size means is up to the file system.
        size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
        parts.append(pack(s.st_mode, size, s.st_mtime_ns, s.st_ctime_ns))
    return blake3(b"".join(parts)).digest(_DIGEST_BYTES)
