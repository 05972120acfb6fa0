"""Adding objects: how a tree in a workspace becomes a registered store object.

The order of steps makes each instant a safe one to be killed at:

1. The tree is made canonical, hashed and synced where it is. Nothing refers to it; killed here, it is a
   leftover of a workspace.
2. All else happens under the collector's lock (shared). First its manifest is written beside the others.
   Killed here: a manifest without an object, which a collection removes.
3. Inside one database transaction the tree is renamed to its final name, the record of the realisation is
   written, and the rows are inserted. Killed before the commit: an object in place that the database does not
   know. It is nobody's, is replaced when the same object is added again, and a collection removes it. Killed
   after the commit: all is done.

The transaction excludes other adders from its first moment, so two processes that add the same object do so
one after the other, and the second finds it there.
"""

# Works on open files.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.filesystem import translated
from hermetic.store import disk, protect, records, sentinel, workspaces
from hermetic.store.layout import Layout, write_atomically
from hermetic.store.names import content_hash_of, object_name
from hermetic.store.records import Realisation
from hermetic.tree import Manifest

if TYPE_CHECKING:
    import sqlite3

    from hermetic.store.database import Database

FEW: Final = 16  # entries: up to here each is synced by itself, which does not wait for other programs' data
HOUR: Final = 3600  # seconds; how exactly last_used is kept


class Prepared:
    """A tree in a workspace, made canonical and hashed, that has not been added yet.

    Attributes:
        name: what the object will be called.
    """

    def __init__(self, path: Path, label: str) -> None:
        """`label`: name and version, as they stand in the object's name."""
        tree.canonicalise(path)
        self.path = path
        self.manifest: Manifest = tree.scan(path)
        self.encoded = self.manifest.encode()
        self.name = object_name(tree.content_hash(self.encoded), label)

    def sync(self) -> None:
        """Make sure that it survives a loss of power.

        Raises:
            StoreError: the disk is full or failed.
        """
        with translated(self.path, "write"):
            if len(self.manifest.entries) > FEW:
                disk.sync_file_system(self.path)
                return
            start = os.fsencode(self.path)
            for entry in self.manifest.entries:
                if entry.kind != "link":
                    file = os.open(os.path.join(start, entry.path) if entry.path else start, os.O_RDONLY)
                    try:
                        os.fsync(file)
                    finally:
                        os.close(file)


@contextmanager
def on_this_file_system(layout: Layout, path: Path) -> Iterator[Path]:
    """`path`, or a copy of it in a workspace when it lies on another file system and cannot be renamed."""
    with translated(path, "read"):
        same = path.lstat().st_dev == layout.tmp.stat().st_dev
    if same:
        yield path
        return
    with workspaces.workspace(layout, "import") as space:
        tree.copy(path, space / "tree", writable=True)
        yield space / "tree"
    tree.remove(path)


def register(
    layout: Layout,
    database: Database,
    prepared: Prepared,
    realisation: Realisation | None,
    temp_roots: protect.TempRoots,
    *,
    replace: bool,
) -> None:
    """Steps 2 and 3.

    Args:
        replace: an object of this name that is registered is known to be damaged.

    Raises:
        StoreError: nothing was registered, and nothing of it stays.
    """
    name = prepared.name
    with protect.shared(layout):
        temp_roots.add_locked((name,))
        write_atomically(layout.manifest(name), prepared.encoded)
        with database.write() as transaction:
            known = transaction.execute("SELECT 1 FROM objects WHERE name = ?", (name,)).fetchone()
            if known and not replace and os.path.lexists(layout.object(name)):
                write_realisation(layout, transaction, realisation)
                return
            with _in_place(layout, prepared, undo=not known) as replaced:
                insert_object(layout, transaction, name, prepared.manifest)
                write_realisation(layout, transaction, realisation)
                # Here and not at the end of the block: when it fails, the object must go back.
                transaction.execute("COMMIT")
    if replaced:  # and nobody waits for us any more
        with suppress(StoreError):  # the object is registered; what cannot be deleted is left to sweepers
            workspaces.empty_trash(layout)


@contextmanager
def _in_place(layout: Layout, prepared: Prepared, *, undo: bool) -> Iterator[bool]:
    """Move the tree to its final name. `undo`: away again, if the block fails. Gives what `put` returns."""
    final = layout.object(prepared.name)
    with translated(final, "create"):
        replaced = put(layout, prepared.path, final)
    try:
        with translated(final, "register"):
            yield replaced
    except BaseException:
        if undo:
            with suppress(OSError, StoreError):
                workspaces.discard(layout, final)
                layout.manifest(prepared.name).unlink()
        raise


def put(layout: Layout, path: Path, final: Path) -> bool:
    """Rename a canonical tree to its place. What stands there goes to the trash, if possible in one step.

    Returns:
        whether something stood there.

    Raises:
        OSError: it cannot be done; the old one then still stands.
    """
    workspaces.make_movable(path)
    replace = os.path.lexists(final)
    if replace:
        workspaces.make_movable(final)
        if disk.exchange(path, final):
            workspaces.discard(layout, path)
        else:
            workspaces.discard(layout, final)
            path.rename(final)
    else:
        path.rename(final)
    if stat.S_ISDIR(final.lstat().st_mode):
        final.chmod(0o555)
    return replace


def right_manifest(layout: Layout, name: str) -> Manifest | None:
    """The manifest of an object in place, if it can be read and has the content that it is named for."""
    try:
        manifest = tree.scan(layout.object(name))
    except StoreError:
        return None
    return manifest if manifest.content_hash == content_hash_of(name) else None


def insert_object(layout: Layout, transaction: sqlite3.Connection, name: str, manifest: Manifest) -> None:
    """Register an object that is in place."""
    mark = sentinel.take(os.fspath(layout.object(name)), sentinel.choose(manifest))
    now = int(time.time())
    transaction.execute(
        "INSERT OR REPLACE INTO objects (name, size, files, registered_at, last_used, sentinel)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (name, manifest.size, manifest.files, now, now, mark),
    )


def write_realisation(
    layout: Layout, transaction: sqlite3.Connection, realisation: Realisation | None
) -> None:
    """Insert a realisation, and write its record. Its inputs count as used now."""
    if realisation is None:
        return
    path = layout.realisation(realisation.drv_id)
    # Before the commit: were we killed between the two, the record would say something true that is not
    # known yet. The other way round, a rebuilt database would lack it.
    write_atomically(path, records.encode(realisation))
    insert_realisation(transaction, realisation)
    now = int(time.time())
    transaction.executemany(
        "UPDATE objects SET last_used = ? WHERE name = ? AND last_used < ?",
        [(now, name, now - HOUR) for name in (realisation.object, *realisation.inputs)],
    )


def insert_realisation(transaction: sqlite3.Connection, realisation: Realisation) -> None:
    """Insert the row of a realisation, or replace it."""
    values: tuple[Any, ...] = records.to_row(realisation)
    marks = ", ".join("?" * len(values))
    transaction.execute(f"INSERT OR REPLACE INTO realisations ({records.COLUMNS}) VALUES ({marks})", values)
