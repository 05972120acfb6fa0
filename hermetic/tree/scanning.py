"""Reads a tree and makes its manifest, hashing on all CPUs."""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH115

from __future__ import annotations

import errno
import operator
import os
import stat
import threading
from typing import Final

from blake3 import blake3

from hermetic.errors import StoreError
from hermetic.filesystem import explain, translated
from hermetic.tree.kinds import refused
from hermetic.tree.manifest import Entry, Kind, Manifest

INLINE: Final = 256 * 1024  # bytes; smaller files are hashed during the walk, larger ones after it
HUGE: Final = 32 << 20  # bytes; larger files are hashed by several threads each
CHUNK: Final = 1 << 20
HUGE_CHUNK: Final = 2 << 20  # small enough to stay in the CPU's cache until it is hashed
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH: Final = operator.attrgetter("path")


class Unreadable(StoreError):
    """A tree, or the original of a copy, cannot be read, or changes while it is read."""


_OUR_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class reading:
    """Turn an OSError of the `with` block into the error of `unreadable`."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise unreadable(error, self._path) from error


def unreadable(error: OSError, path: bytes) -> StoreError:
    """`Unreadable` for what cannot be read at `path`; another StoreError if a limit of ours is to blame."""
    told = explain(error, path, "read")
    return told if error.errno in _OUR_LIMITS else Unreadable(told.message, hint=told.hint)


def scan(path: str | bytes | os.PathLike[str], *, threads: int | None = None) -> Manifest:
    """Read a tree and return its manifest.

    Args:
        path: a directory or a regular file.
        threads: number of hashing threads; by default one for each CPU.

    Raises:
        StoreError: the tree holds a socket, fifo or device, cannot be read, or changes while it is read.
    """
    root = os.fsencode(path)
    with translated(root, "read"):
        listing = Listing(root, threads)
        status = os.lstat(root)
        if not stat.S_ISDIR(status.st_mode):
            listing.leaf(b"", root, status)
            return listing.manifest()
        pending, prefix = [b""], root + b"/"
        while pending:
            directory = pending.pop()
            listing.directory(directory)
            start = directory + b"/" if directory else b""
            with os.scandir(prefix + directory) as found:
                for item in found:
                    rel = start + item.name
                    if item.is_dir(follow_symlinks=False):
                        pending.append(rel)
                    else:
                        listing.leaf(rel, prefix + rel, item.stat(follow_symlinks=False))
        return listing.manifest()


class Listing:
    """The entries of a tree during a walk. Small files are hashed at once, large ones at the end.

    Args:
        root: path of the tree, for reading large files.
        threads: number of hashing threads; by default one for each CPU.
    """

    def __init__(self, root: bytes, threads: int | None = None) -> None:
        self._root = root
        self._threads = threads or os.cpu_count() or 1
        self._entries: list[Entry] = []
        self._large: list[tuple[bytes, Kind, int]] = []

    def directory(self, rel: bytes) -> None:
        """List a directory."""
        self._entries.append(Entry(rel, "dir", 0, ""))

    def link(self, rel: bytes, text: bytes) -> None:
        """List a symbolic link."""
        self._entries.append(Entry(rel, "link", len(text), blake3(text).hexdigest()))

    def small(self, rel: bytes, mode: int, data: bytes) -> None:
        """List a file whose content has been read."""
        kind: Kind = "exec" if mode & 0o100 else "file"
        self._entries.append(Entry(rel, kind, len(data), blake3(data).hexdigest()))

    def large(self, rel: bytes, mode: int, size: int) -> None:
        """List a large file, which `manifest` hashes."""
        self._large.append((rel, "exec" if mode & 0o100 else "file", size))

    def leaf(self, rel: bytes, path: bytes, status: os.stat_result) -> None:
        """List the file or symbolic link at `path`."""
        mode, size = status.st_mode, status.st_size
        if stat.S_ISREG(mode):
            if size > INLINE:
                self.large(rel, mode, size)
                return
            file = os.open(path, READ)
            try:
                self.small(rel, mode, read_small(file, path, size))
            finally:
                os.close(file)
        elif stat.S_ISLNK(mode) and rel:
            self.link(rel, os.readlink(path))
        else:
            raise refused(path, mode)

    def manifest(self) -> Manifest:
        """The manifest, after the walk."""
        self._hash_large()
        return Manifest(tuple(sorted(self._entries, key=_PATH)))

    def _hash_large(self) -> None:
        def path_of(rel: bytes) -> bytes:
            return self._root + b"/" + rel if rel else self._root

        self._large.sort(key=lambda item: -item[2])
        huge = [item for item in self._large if item[2] >= HUGE]
        rest = self._large[len(huge) :]
        for rel, kind, size in huge:
            digest = hash_file(path_of(rel), size, threads=self._threads)
            self._entries.append(Entry(rel, kind, size, digest))
        if len(rest) > 1 and self._threads > 1:
            from concurrent.futures import ThreadPoolExecutor  # slow to import, and not needed for most trees

            with ThreadPoolExecutor(self._threads) as pool:
                digests = list(pool.map(lambda item: hash_file(path_of(item[0]), item[2]), rest))
        else:
            digests = [hash_file(path_of(rel), size) for rel, _, size in rest]
        for (rel, kind, size), digest in zip(rest, digests, strict=True):
            self._entries.append(Entry(rel, kind, size, digest))


def read_small(file: int, path: bytes, size: int) -> bytes:
    """The content of an open file, which must have `size` bytes. `path` is for the error.

    Raises:
        StoreError: the file has another length.
    """
    data = os.read(file, size + 1)
    if len(data) != size:
        raise _changed(path, size)
    return data


_buffers = threading.local()


def hash_file(path: bytes, size: int, *, threads: int = 1) -> str:
    """Hex BLAKE3 of a file that must have `size` bytes.

    The file is read, not mapped: a bad sector or a truncated file must raise an error, not a fatal signal.

    Raises:
        StoreError: the file has another size.
        OSError: it cannot be read.
    """
    alone = threads <= 1 or size < HUGE
    buffer: bytearray | None = getattr(_buffers, "small", None) if alone else None
    if buffer is None:
        buffer = bytearray(CHUNK if alone else HUGE_CHUNK)
        if alone:
            _buffers.small = buffer
    view, hasher, done = memoryview(buffer), blake3(max_threads=1 if alone else threads), 0
    file = os.open(path, READ)
    try:
        while count := os.readv(file, [view]):
            hasher.update(view[:count])
            done += count
    finally:
        os.close(file)
    if done != size:
        raise _changed(path, size)
    return hasher.hexdigest()


def _changed(path: bytes, size: int) -> Unreadable:
    return Unreadable(f"{os.fsdecode(path)} changed while it was read: it had {size} bytes")
