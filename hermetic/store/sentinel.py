"""A cheap look at an object: is it as it was when it was registered?

The sentinel is a digest over the status (mode, size, time of content, time of change) of a sample of the
object's entries, followed by their paths. They are chosen so that careless changes show: the root, then
directories, shallow ones first (whatever is added, removed or renamed in them changes their times), then
executables and the largest files. Programs cannot set the time of change (ctime). An object with fewer entries
than the sample is covered whole.

A copied or moved store has other times. A sentinel that does not fit therefore proves nothing, and the store
then hashes the object before it judges.

Part of the quick answer, so nothing is imported that is slow to load; see `store.quick`.
"""

from __future__ import annotations

import os
import stat
import struct

from blake3 import blake3

# What `typing.TYPE_CHECKING` stands for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from hermetic.tree import Manifest

SAMPLE: Final = 128  # entries; about 0.2 ms
DIGEST_BYTES: Final = 16
_STATUS: Final = struct.Struct("<Iqqq")


def choose(manifest: Manifest) -> list[bytes]:
    """The paths to look at."""
    from heapq import nsmallest  # no part of the quick answer

    directories = [(e.path.count(b"/"), e.path) for e in manifest.entries if e.kind == "dir"]
    files = [(e.kind != "exec", -e.size, e.path) for e in manifest.entries if e.kind != "dir"]
    chosen = [path for _, path in nsmallest(max(SAMPLE // 2, SAMPLE - len(files)), directories)]
    return chosen + [path for _, _, path in nsmallest(SAMPLE - len(chosen), files)]


def take(root: str, paths: list[bytes]) -> bytes:
    """The sentinel of an object as it is now, with the paths it is taken of.

    Raises:
        OSError: one of them is not there.
    """
    return _digest(root, paths) + b"\0".join(paths)


def fits(root: str, sentinel: bytes) -> bool:
    """Whether the tree at `root` still is what the sentinel was taken of."""
    try:
        return _digest(root, sentinel[DIGEST_BYTES:].split(b"\0")) == sentinel[:DIGEST_BYTES]
    except (OSError, ValueError):
        return False


def _digest(root: str, paths: list[bytes]) -> bytes:
    start = os.fsencode(root) + b"/"
    pack, lstat, parts = _STATUS.pack, os.lstat, []
    for path in paths:
        s = lstat(start + path if path else start[:-1])
        # What a directory's size means is up to the file system.
        size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
        parts.append(pack(s.st_mode, size, s.st_mtime_ns, s.st_ctime_ns))
    return blake3(b"".join(parts)).digest(DIGEST_BYTES)
