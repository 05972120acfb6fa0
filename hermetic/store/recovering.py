"""After an unclean end: what the database may have lost is registered again, from the records beside it.

Committed transactions wait in the database's log until the last process closes it. A process that was killed
leaves the log behind; if that is then cut short or overwritten, SQLite takes the damage for the log's end, and
the last registrations are gone without a word. But every realisation was written to a file of its own before
its transaction was committed. So whoever opens a store that was not closed compares the two.

A collection that was killed leaves records of what it has just unregistered; those objects come back too, and
the next collection takes them again.
"""

from __future__ import annotations

import os

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.store import database, flocks, protect, records, registering, sentinel
from hermetic.store.layout import Layout
from hermetic.store.names import content_hash_of


def was_left_open(layout: Layout) -> bool:
    """Whether the last process that had the database open was killed, and nobody has it open now.

    To be asked before the database is connected to.
    """
    beside = (layout.database.with_name(f"{layout.database.name}{suffix}") for suffix in ("-wal", "-shm"))
    if not any(path.exists() for path in beside):
        return False
    alone = flocks.acquire(layout.database_lock, wait=False)
    if alone is None:
        return False
    os.close(alone)
    return True


def recover(layout: Layout, known: database.Database) -> int:
    """Register realisations that have a record, and an object with the right content, and are not registered.

    Returns:
        how many.

    Raises:
        StoreError: the database or the records cannot be read, or the disk is full.
    """
    with protect.exclusive(layout):
        listed = {drv_id for (drv_id,) in known.read("SELECT drv_id FROM realisations")}
        lost = [
            found
            for name in os.listdir(layout.realisations)
            if name.endswith(".json")
            and name.removesuffix(".json") not in listed
            and (found := records.read(layout.realisations / name)) is not None
            and f"{found.drv_id}.json" == name
        ]
        if not lost:
            return 0
        registered = {name for (name,) in known.read("SELECT name FROM objects")}
        objects = {r.object for r in lost} - registered
        right = {name: manifest for name in objects if (manifest := _intact(layout, name)) is not None}
        with known.write() as transaction:
            for name, manifest in right.items():
                mark = sentinel.take(os.fspath(layout.object(name)), sentinel.choose(manifest))
                registering.insert_object(transaction, name, manifest, mark)
            whole = [r for r in lost if r.object in registered or r.object in right]
            for realisation in whole:
                registering.insert_realisation(transaction, realisation)
        return len(whole)


def _intact(layout: Layout, name: str) -> tree.Manifest | None:
    """The manifest of an object that has the content it is named for."""
    try:
        manifest = tree.scan(layout.object(name))
    except StoreError:
        return None
    return manifest if manifest.content_hash == content_hash_of(name) else None
