"""Reading a tree into its manifest, at the speed of the disk or of all CPUs, whichever ends first."""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH115

from __future__ import annotations

import os
import stat
import threading
from typing import Final

from blake3 import blake3

from hermetic.errors import StoreError
from hermetic.filesystem import translated
from hermetic.tree.kinds import refused
from hermetic.tree.manifest import Entry, Kind, Manifest

INLINE: Final = 256 * 1024  # files up to here are hashed where they are met; larger ones by a pool of threads
HUGE: Final = 32 << 20  # one file from here on is hashed by several threads together
CHUNK: Final = 1 << 20
HUGE_CHUNK: Final = 2 << 20  # what is read must still be in the cache when it is hashed


def scan(path: str | bytes | os.PathLike[str], *, threads: int | None = None) -> Manifest:
    """Read a tree and list it.

    Args:
        path: a directory or a regular file.
        threads: how many hash at a time; by default one for each CPU.

    Raises:
        StoreError: the tree holds a socket, fifo or device, cannot be read, or changes while it is read.
    """
    root = os.fsencode(path)
    with translated(root, "read"):
        return Manifest(tuple(_Scanner(root, threads or os.cpu_count() or 1).run()))


class _Scanner:
    """One pass over a tree: small files are hashed on the way, large ones by threads after it."""

    def __init__(self, root: bytes, threads: int) -> None:
        self.root = root
        self.threads = threads
        self.entries: list[Entry] = []
        self.large: list[tuple[bytes, Kind, int]] = []

    def run(self) -> list[Entry]:
        status = os.lstat(self.root)
        if stat.S_ISDIR(status.st_mode):
            self.entries.append(Entry(b"", "dir", 0, ""))
            self._walk()
        else:
            self._leaf(b"", self.root, status)
        self._hash_large()
        self.entries.sort(key=lambda e: e.path)
        return self.entries

    def _walk(self) -> None:
        pending, prefix = [b""], self.root + b"/"
        while pending:
            folder = pending.pop()
            start = folder + b"/" if folder else b""
            with os.scandir(prefix + folder) as found:
                for item in found:
                    rel = start + item.name
                    if item.is_dir(follow_symlinks=False):
                        self.entries.append(Entry(rel, "dir", 0, ""))
                        pending.append(rel)
                    else:
                        self._leaf(rel, prefix + rel, item.stat(follow_symlinks=False))

    def _leaf(self, rel: bytes, path: bytes, status: os.stat_result) -> None:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            kind: Kind = "exec" if mode & 0o100 else "file"
            if status.st_size > INLINE:
                self.large.append((rel, kind, status.st_size))
            else:
                self.entries.append(Entry(rel, kind, status.st_size, _hash_small(path, status.st_size)))
        elif stat.S_ISLNK(mode) and rel:
            text = os.readlink(path)
            self.entries.append(Entry(rel, "link", len(text), blake3(text).hexdigest()))
        else:
            raise refused(path, mode)

    def _hash_large(self) -> None:
        def path_of(rel: bytes) -> bytes:
            return self.root + b"/" + rel if rel else self.root

        self.large.sort(key=lambda item: -item[2])
        huge = [item for item in self.large if item[2] >= HUGE]
        rest = self.large[len(huge) :]
        for rel, kind, size in huge:
            digest = hash_file(path_of(rel), size, threads=self.threads)
            self.entries.append(Entry(rel, kind, size, digest))
        if len(rest) > 1 and self.threads > 1:
            from concurrent.futures import ThreadPoolExecutor  # slow to import, and most trees do not need it

            with ThreadPoolExecutor(self.threads) as pool:
                digests = list(pool.map(lambda item: hash_file(path_of(item[0]), item[2]), rest))
        else:
            digests = [hash_file(path_of(rel), size) for rel, _, size in rest]
        for (rel, kind, size), digest in zip(rest, digests, strict=True):
            self.entries.append(Entry(rel, kind, size, digest))


def _hash_small(path: bytes, size: int) -> str:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = os.read(file, size + 1)
    finally:
        os.close(file)
    if len(data) != size:
        raise _changed(path, size)
    return blake3(data).hexdigest()


_buffers = threading.local()


def hash_file(path: bytes, size: int, *, threads: int = 1) -> str:
    """Hex BLAKE3 of a file that must have `size` bytes.

    Read, not mapped: a bad sector or a file cut short must be an error here, not a signal that kills us.

    Raises:
        StoreError: the file has another length.
        OSError: it cannot be read.
    """
    alone = threads <= 1 or size < HUGE
    buffer: bytearray | None = getattr(_buffers, "small", None) if alone else None
    if buffer is None:
        buffer = bytearray(CHUNK if alone else HUGE_CHUNK)
        if alone:
            _buffers.small = buffer
    view, hasher, done = memoryview(buffer), blake3(max_threads=1 if alone else threads), 0
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while count := os.readv(file, [view]):
            hasher.update(view[:count])
            done += count
    finally:
        os.close(file)
    if done != size:
        raise _changed(path, size)
    return hasher.hexdigest()


def _changed(path: bytes, size: int) -> StoreError:
    return StoreError(f"{os.fsdecode(path)} changed while it was read: it had {size} bytes")
