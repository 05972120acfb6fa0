"""Finds again what was realized before, without the rest of hermetic.

To ask for something that is built already is what people and their scripts do most, and it must not take
longer than looking. So nothing is loaded here, nor by what is imported here, that makes Python slow to start:
no `typing`, `re`, `pathlib`, `contextlib`, `msgspec`, `click`, `sqlite3`. (A test keeps it so.)

Every answer rests on the same facts as that of the whole program: the bytes of the project's files, and the
sentinel of the store object. Where one does not fit, there is no answer here, and the whole program looks.
"""

# ruff: noqa: PTH116, SIM105
# Because pathlib and contextlib alone would take a quarter of the time.

from __future__ import annotations

import os
import stat
import struct
import time

from blake3 import blake3

from hermetic import filesystem
from hermetic.project import worktree
from hermetic.hashing import EVALUATION

# What `typing.TYPE_CHECKING` stands for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DIGEST_BYTES = 16
NOTE = 4096  # bytes of the small files that hold a number or two
ANSWER = 1 << 30  # bytes
USED = 86400  # seconds for which a note of last use is good enough
_STATUS = struct.Struct("<Iqqq")


def objects(project: str, store: str, targets: Iterable[str]) -> list[str] | None:
    """Paths of the store objects of targets; None where that takes a closer look.

    Args:
        project, store: their folders, by absolute path.
    """
    meta = store + "/.hermetic"
    try:
        if not _database_is_well(meta):
            return None
        fingerprint = worktree.fingerprint(worktree.read(project))
    except (OSError, ValueError):
        return None
    found = []
    for target in targets:
        data = cached(meta + "/eval", key_of(fingerprint, target))
        if data is None:
            return None
        name, last_used, sentinel = data.split(b"\n", 2)
        path = f"{store}/{name.decode()}"
        if time.time() - int(last_used) > USED or not fits(path, sentinel):
            return None
        found.append(path)
    return found


def key_of(fingerprint: str, target: str) -> str:
    """Under which key the answer for a target of a project is cached."""
    return f"{fingerprint}-{target}-object"


def encode(name: str, last_used: int, sentinel: bytes) -> bytes:
    """An answer as it is cached: the object's name, when its use was last noted, its sentinel."""
    return b"%b\n%d\n%b" % (name.encode(), last_used, sentinel)


def _database_is_well(meta: str) -> bool:
    """Whether nobody but hermetic has touched the database: damage must not be passed over."""
    status = os.stat(meta + "/db.sqlite")
    size, changed = filesystem.whole(meta + "/db.checked", NOTE).split()
    return (int(size), int(changed)) == (status.st_size, status.st_mtime_ns)


def cached(folder: str, key: str) -> bytes | None:
    """What was put into a cache under a key; None when there is nothing, or it is damaged."""
    path = f"{folder}/{file_of(key)}"
    try:
        data = filesystem.whole(path, ANSWER)
    except OSError:
        return None
    if blake3(data[DIGEST_BYTES:]).digest(DIGEST_BYTES) != data[:DIGEST_BYTES]:
        return None
    try:
        os.utime(path)  # so that the ones in use are not those that go
    except OSError:
        pass  # nor is anything removed where this may not be done
    return data[DIGEST_BYTES:]


def file_of(key: str) -> str:
    """The name of a file in a cache."""
    return blake3(key.encode("utf-8", "surrogateescape"), derive_key_context=EVALUATION).hexdigest()


def fits(root: str, sentinel: bytes) -> bool:
    """Whether the tree at `root` still is what the sentinel was taken of; see `store.sentinel`."""
    paths = sentinel[DIGEST_BYTES:].split(b"\0")
    try:
        return digest(root, paths) == sentinel[:DIGEST_BYTES]
    except (OSError, ValueError):
        return False


def digest(root: str, paths: list[bytes]) -> bytes:
    """Digest over the status of some entries of a tree.

    Raises:
        OSError: one of them is not there.
    """
    start = os.fsencode(root) + b"/"
    pack, lstat, parts = _STATUS.pack, os.lstat, []
    for path in paths:
        s = lstat(start + path if path else start[:-1])
        # What a folder's size means is up to the file system.
        size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
        parts.append(pack(s.st_mode, size, s.st_mtime_ns, s.st_ctime_ns))
    return blake3(b"".join(parts)).digest(DIGEST_BYTES)
