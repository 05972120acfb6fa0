"""Rebuilds the database from what lies in the store: objects, manifests and realisation records."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path

import msgspec

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.filesystem import full, translated, write_atomically
from hermetic.store import database, flocks, protect, records, registering, sentinel
from hermetic.store.layout import Layout
from hermetic.store.names import content_hash_of, is_object_name


class Rebuilt(msgspec.Struct, frozen=True):
    """What was restored.

    Attributes:
        objects, realisations: how many are registered now.
        altered: names of objects in the store's directory whose content is wrong; they are not registered.
        unusable: names of realisation records that are damaged, or whose object is not there.
        old: where the old database was moved to; None when there was none.
    """

    objects: int
    realisations: int
    altered: tuple[str, ...]
    unusable: tuple[str, ...]
    old: Path | None


def rebuild_db(path: Path, *, progress: Callable[[int, int], None] | None = None) -> Rebuilt:
    """Make a new database. Each object is hashed, and registered only if it is right.

    Args:
        path: the store's directory.
        progress: called with the number of objects done, and of all.

    Raises:
        StoreError: there is no store, another process uses it, or it cannot be written. The old database is
            then as it was.
    """
    layout = Layout(path.absolute())
    if not layout.exists():
        raise StoreError(f"there is no store at {path}")
    layout.check_writable()
    layout.make_directories()
    in_use = flocks.acquire(layout.database_lock, wait=False)
    if in_use is None:
        raise StoreError(f"{path} is in use by another process", hint="wait until it ends, then try again")
    try:
        with protect.exclusive(layout):
            return _rebuild(layout, progress)
    finally:
        os.close(in_use)


def _rebuild(layout: Layout, progress: Callable[[int, int], None] | None) -> Rebuilt:
    part = layout.meta / f".{os.urandom(6).hex()}.part"
    database.create(part)
    try:
        new = database.Database(part, None)
        try:
            with new.transaction() as transaction:
                right, altered = _objects(layout, progress)
                for name, manifest in right.items():
                    registering.insert_object(layout, transaction, name, manifest)
                sound, unusable = _records(layout, right.keys())
                for realisation in sound:
                    transaction.insert_realisation(realisation)
        finally:
            new.close()
        if part.with_name(part.name + "-wal").exists():  # it could not be folded in, of which nothing is said
            raise full(os.fspath(layout.database), "write")
        old = _replace(layout, part)
    finally:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                part.with_name(part.name + suffix).unlink()
    return Rebuilt(len(right), len(sound), tuple(altered), tuple(unusable), old)


def _objects(
    layout: Layout, progress: Callable[[int, int], None] | None
) -> tuple[dict[str, tree.Manifest], list[str]]:
    right: dict[str, tree.Manifest] = {}
    altered = []
    names = sorted(p.name for p in layout.root.iterdir() if is_object_name(p.name))
    for count, name in enumerate(names, 1):
        manifest = registering.right_manifest(layout, name)
        if manifest is not None:
            with suppress(StoreError):
                tree.canonicalise(layout.object(name), unshare=False)
                write_atomically(layout.manifest(name), manifest.encode())
                right[name] = manifest
        if name not in right:
            altered.append(name)
        if progress is not None:
            progress(count, len(names))
    return right, altered


def _records(layout: Layout, objects: Container[str]) -> tuple[list[records.Realisation], list[str]]:
    sound, unusable = [], []
    with translated(layout.realisations, "read"):
        for path in sorted(layout.realisations.glob("[!.]*.json")):
            found = records.read(path)
            if found is None or found.object not in objects:
                unusable.append(path.name)
            else:
                sound.append(found)
    return sound, unusable


def _replace(layout: Layout, part: Path) -> Path | None:
    """Put the new database in place. Killed on the way: none is there, and this can be done again."""
    old = layout.database.with_name(f"db.sqlite.{int(time.time())}.old")
    there = layout.database.exists()
    with translated(layout.database, "replace"):
        for suffix in ("", "-wal", "-shm"):  # the old log must never meet the new database
            with suppress(FileNotFoundError):
                file = layout.database.with_name(layout.database.name + suffix)
                file.rename(old.with_name(old.name + suffix))
        part.rename(layout.database)
    return old if there else None
