"""After an unclean end: what the database may have lost is registered again, from the records beside it.

Committed transactions wait in the database's log until the last process closes it. A process that was killed
leaves the log behind. If that is then cut short or overwritten, SQLite silently truncates it, and the last
registrations are lost. But every realisation was written to a file of its own before
its transaction was committed. So whoever opens a store that was not closed compares the two.

A collection that was killed leaves records of what it has just unregistered; those objects come back too, and
the next collection takes them again.
"""

from __future__ import annotations

import os

from hermetic.store import database, protect, records, registering
from hermetic.store.layout import Layout


def recover(layout: Layout, known: database.Database) -> int:
    """Register realisations that have a record, and an object with the right content, and are not registered.

    Returns:
        how many.

    Raises:
        StoreError: the database or the records cannot be read, or the disk is full.
    """
    with protect.exclusive(layout):
        listed = known.drv_ids()
        lost = [
            found
            for name in os.listdir(layout.realisations)
            if name.endswith(".json")
            and name.removesuffix(".json") not in listed
            and (found := records.read(layout.realisations / name)) is not None
        ]
        if not lost:
            return 0
        registered = {info.name for info in known.objects()}
        objects = {r.object for r in lost} - registered
        right = {name: whole for name in objects if (whole := registering.right_manifest(layout, name))}
        with known.transaction() as transaction:
            for name, manifest in right.items():
                registering.insert_object(layout, transaction, name, manifest)
            again = [r for r in lost if r.object in registered or r.object in right]
            for realisation in again:
                transaction.insert_realisation(realisation)
        return len(again)
