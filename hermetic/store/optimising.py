"""Files with the same content share one inode, as after `nix-store --optimise`, but without hashing a store anew.

Manifests know the digest of every file, so candidates are found without reading any. Before two files become
one they are compared byte by byte all the same: a file that was altered must not spread. Each exchange is one
rename of a link that was made in a workspace, so at every instant either the old file or the new one is there.

A link changes the status (ctime) of files and folders, which objects' sentinels are taken of. So objects that
do not look as they were registered are left alone, and the sentinels of the others are taken anew. The same
happens when a collection deletes a name of a shared file: the next look at the other objects hashes them once.
"""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH104, PTH108

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from hermetic.errors import StoreError
from hermetic.faults import translated
from hermetic.store import sentinel
from hermetic.store.core import Store
from hermetic.store.workspaces import make_movable
from hermetic.tree import Manifest

_CHUNK: Final = 1 << 20
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
        self.link = os.fsencode(space / "link")
        self.files = 0
        self.freed = 0
        self.touched: set[str] = set()
        self.folders: set[bytes] = set()

    def share(self, places: list[Place]) -> None:
        """Make one inode of equal files. The one that has most names stays."""
        known = [(os.lstat(self._path(place)), place) for place in self._present(places)]
        known.sort(key=lambda item: -item[0].st_nlink)
        while known:
            (kept, first), *others = known
            left = []
            for status, place in others:
                if status.st_ino == kept.st_ino:
                    continue
                if not self._replace(place, first, status):
                    left.append((status, place))
            known = left if len(left) < len(others) else []

    def _present(self, places: list[Place]) -> Iterator[Place]:
        return (place for place in places if os.path.lexists(self._path(place)))

    def _path(self, place: Place) -> bytes:
        name, inside = place
        start = os.fsencode(self.store.path(name))
        return start + b"/" + inside if inside else start

    def _replace(self, place: Place, by: Place, status: os.stat_result) -> bool:
        """Put a link to the file `by` in the place of another. False: it cannot have more names, or differs."""
        path, source = self._path(place), self._path(by)
        with translated(path, "share"):
            if not _equal(source, path):
                return False
            try:
                os.link(source, self.link, follow_symlinks=False)
            except OSError as error:
                if error.errno in _FULL:
                    return False
                raise
            self.touched.update((place[0], by[0]))
            if place[1]:
                folder = path.rpartition(b"/")[0]
                make_movable(Path(os.fsdecode(folder)))
                self.folders.add(folder)
            os.rename(self.link, path)
        self.files += 1
        if status.st_nlink == 1:
            self.freed += status.st_blocks * _BLOCK
        return True

    def settle(self, manifests: dict[str, Manifest]) -> None:
        """Give folders their canonical form again, and take the sentinels of what was changed anew."""
        for folder in self.folders:
            with translated(folder, "make canonical"):
                os.chmod(folder, 0o555)  # noqa: PTH101
                os.utime(folder, ns=(0, 0))
        marks = [
            (sentinel.take(os.fspath(self.store.path(name)), sentinel.choose(manifests[name])), name)
            for name in sorted(self.touched)
        ]
        with self.store.database.write() as transaction:
            transaction.executemany("UPDATE objects SET sentinel = ? WHERE name = ?", marks)


def _equal(a: bytes, b: bytes) -> bool:
    """Whether two files have the same bytes, the same mode, and are regular."""
    one = os.open(a, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        two = os.open(b, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            first, second = os.fstat(one), os.fstat(two)
            if not stat.S_ISREG(first.st_mode) or _form(first) != _form(second):
                return False
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
