"""Files with the same content share one inode, as after `nix-store --optimise`, but without hashing a store anew.

Manifests know the digest of every file, so candidates are found without reading any. Before two files become
one they are compared byte by byte all the same: a file that was altered must not spread. Each exchange is one
rename of a link that was made in a workspace, so at every instant either the old file or the new one is there.

A link changes the status (ctime) of files and directories, which objects' sentinels are taken of. So objects that
do not look as they were registered are left alone, and the sentinels of the others are taken anew. The same
happens when a collection deletes a name of a shared file: the next look at the other objects hashes them once.
"""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH104, PTH108

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from hermetic.errors import StoreError
from hermetic.filesystem import translated
from hermetic.store import sentinel
from hermetic.store.store import Store
from hermetic.store.workspaces import make_movable
from hermetic.tree import Manifest

_CHUNK: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK: Final = 512  # bytes that `st_blocks` counts in
_FULL: Final = frozenset({errno.EMLINK, errno.ENOSPC, errno.EDQUOT})

Place: TypeAlias = tuple[str, bytes]  # an object's name, and a path in it


class Saving(msgspec.Struct, frozen=True):
    """What was gained.

    Attributes:
        files: how many share another's content now that did not before. freed: bytes.
        objects: how many were looked at. skipped: names of those that do not look as they were registered.
    """

    files: int
    freed: int
    objects: int
    skipped: tuple[str, ...]


def optimise(store: Store, *, progress: Callable[[int, int], None] | None = None) -> Saving:
    """Let equal files of all objects share their content.

    Args:
        progress: called with the number of groups of equal files done, of how many.

    Raises:
        StoreError: the store cannot be read or written; what was shared until then stays so.
    """
    with store.temp_roots() as keep, store.workspace("optimise") as space:
        keep.add(*[info.name for info in store.objects()])
        manifests, skipped = _sound(store)
        run = _Run(store, space)
        try:
            groups = _groups(manifests)
            for done, places in enumerate(groups):
                run.share(places)
                if progress is not None and done % 256 == 0:
                    progress(done, len(groups))
        finally:
            run.settle(manifests)
    return Saving(run.files, run.freed, len(manifests), tuple(skipped))


def _sound(store: Store) -> tuple[dict[str, Manifest], list[str]]:
    """The manifests of objects that are as they were registered, and the names of the others."""
    manifests, skipped = {}, []
    for info in store.objects():
        try:
            manifest = store.manifest(info.name)
        except StoreError:
            skipped.append(info.name)
            continue
        if store.intact(info.name):
            manifests[info.name] = manifest
        else:
            skipped.append(info.name)
    return manifests, skipped


def _groups(manifests: dict[str, Manifest]) -> list[list[Place]]:
    """Files with the same digest and mode, in groups of two and more."""
    found: dict[tuple[str, str], list[Place]] = {}
    for name, manifest in manifests.items():
        for entry in manifest.entries:
            if entry.size and entry.kind in ("file", "exec"):
                found.setdefault((entry.digest, entry.kind), []).append((name, entry.path))
    return [places for places in found.values() if len(places) > 1]


class _Run:
    """One pass: what was shared so far, and what has to be tidied up after it."""

    def __init__(self, store: Store, space: Path) -> None:
        self.store = store
        self.start = os.fsencode(store.root) + b"/"
        self.link = os.fsencode(space / "link")
        self.files = 0
        self.freed = 0
        self.touched: set[str] = set()
        self.directories: set[bytes] = set()

    def share(self, places: list[Place]) -> None:
        """Make one inode of equal files. The one that has most names stays."""
        found = [_File(self._path(place), place[0]) for place in places]
        left = sorted([file for file in found if file.status], key=lambda file: -file.names)
        while len(left) > 1:
            kept, *others = left
            with translated(kept.path, "share"):
                # What cannot have more names makes place for the next; so does what was altered.
                left = [file for file in others if not file.is_(kept) and not self._replace(file, kept)]

    def _path(self, place: Place) -> bytes:
        name, inside = place
        start = self.start + name.encode()
        return start + b"/" + inside if inside else start

    def _replace(self, file: _File, by: _File) -> bool:
        """Put a link to one file in the place of another. False: it cannot have more names, or differs."""
        if not file.equals(by):
            return False
        try:
            os.link(by.path, self.link, follow_symlinks=False)
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        self.touched.update((file.object, by.object))
        directory = file.path.rpartition(b"/")[0]
        if len(directory) > len(self.start) and directory not in self.directories:
            make_movable(Path(os.fsdecode(directory)))
            self.directories.add(directory)
        os.rename(self.link, file.path)
        self.files += 1
        self.freed += file.bytes_alone
        return True

    def settle(self, manifests: dict[str, Manifest]) -> None:
        """Give directories their canonical form again, and take the sentinels of what was changed anew."""
        for directory in self.directories:
            with translated(directory, "make canonical"):
                os.chmod(directory, 0o555)  # noqa: PTH101
                os.utime(directory, ns=(0, 0))
        marks = [
            (name, sentinel.take(os.fspath(self.store.path(name)), sentinel.choose(manifests[name])))
            for name in sorted(self.touched)
        ]
        with self.store.database.transaction() as transaction:
            transaction.set_sentinels(marks)


class _File:
    """A file that may be shared, as it is now. `status` is None where it is no regular file any more."""

    def __init__(self, path: bytes, object_name: str) -> None:
        self.path = path
        self.object = object_name
        self.status: os.stat_result | None = None
        self._content: bytes | None = None
        with suppress(FileNotFoundError):
            status = os.lstat(path)
            self.status = status if stat.S_ISREG(status.st_mode) else None

    @property
    def names(self) -> int:
        return self.status.st_nlink if self.status else 0

    @property
    def bytes_alone(self) -> int:
        """What is freed when this name goes."""
        return self.status.st_blocks * _BLOCK if self.status and self.status.st_nlink == 1 else 0

    def is_(self, other: _File) -> bool:
        """Whether both are one inode."""
        return bool(self.status and other.status and self.status.st_ino == other.status.st_ino)

    def equals(self, other: _File) -> bool:
        """Whether both have the same bytes, mode and owner."""
        if not self.status or not other.status or _form(self.status) != _form(other.status):
            return False
        if self.status.st_size > _CHUNK:
            return _same_bytes(self.path, other.path)
        return self.content() == other.content()

    def content(self) -> bytes:
        """All of it, read once. Only for small files."""
        if self._content is None:
            file = os.open(self.path, _READ)
            try:
                self._content = os.read(file, self.status.st_size + 1 if self.status else 0)
            finally:
                os.close(file)
        return self._content


def _same_bytes(a: bytes, b: bytes) -> bool:
    one = os.open(a, _READ)
    try:
        two = os.open(b, _READ)
        try:
            while data := os.read(one, _CHUNK):
                if data != os.read(two, _CHUNK):
                    return False
            return not os.read(two, 1)
        finally:
            os.close(two)
    finally:
        os.close(one)


def _form(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_mode, status.st_size, status.st_uid, status.st_gid, status.st_dev)
