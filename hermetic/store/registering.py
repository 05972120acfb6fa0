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
# ruff: noqa: PTH116, PTH118

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.filesystem import translated, write_atomically
from hermetic.store import disk, protect, records, sentinel, workspaces
from hermetic.store.layout import Layout
from hermetic.store.names import content_hash_of, object_name
from hermetic.store.records import Info, Realisation
from hermetic.tree import Manifest

if TYPE_CHECKING:
    from hermetic.store.database import Database, Transaction

FEW: Final = 16  # entries: up to here each is synced by itself, which does not wait for other programs' data
HOUR: Final = 3600  # seconds; how exactly last_used is kept


class Prepared:
    """A tree in a workspace, made canonical and hashed, that has not been added yet.

    Attributes:
        name: what the object will be called.
    """

    def __init__(self, path: Path, manifest: Manifest, label: str) -> None:
        """`label`: name and version, as they stand in the object's name."""
        self.path = path
        self.manifest = manifest
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
def prepared(
    layout: Layout, path: Path, label: str, manifest: Manifest | None = None
) -> Iterator[Prepared]:
    """The tree at `path`, ready to be registered; at the end of the block it is gone from there.

    What lies outside the store may be on another file system, on another mount of the same one, or in the lower
    layer of an overlay, so that it cannot be renamed into the store: a copy in a workspace takes its place.

    Args:
        label: name and version, as they stand in the object's name.
        manifest: what `tree.copy_and_scan` returned when it made the tree; it is not read again.

    Raises:
        StoreError: it cannot be read or changed, or holds what no store object may hold.
    """
    with translated(path, "read"):
        here = _is_inside(layout, path)
    if here:
        yield Prepared(path, manifest or tree.canonicalise_and_scan(path), label)
    else:
        with workspaces.workspace(layout, "import") as space:
            manifest = tree.copy_and_scan(path, space / "tree")
            yield Prepared(space / "tree", manifest, label)
    tree.remove(path)


def _is_inside(layout: Layout, path: Path) -> bool:
    """Whether a tree is the store's own: work in progress, or a download."""
    if path.lstat().st_dev != layout.root.stat().st_dev:
        return False
    found = [place.lstat() for place in (layout.tmp, layout.downloads) if os.path.lexists(place)]
    own = [status for status in found if stat.S_ISDIR(status.st_mode)]
    above = os.fspath(path.parent)
    status = os.stat(above)
    while not any(os.path.samestat(status, one) for one in own):
        above += "/.."
        below, status = status, os.stat(above)
        if os.path.samestat(below, status):
            return False  # the root directory
    return True


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
        with database.transaction() as transaction:
            known = transaction.has_object(name)
            if known and not replace and os.path.lexists(layout.object(name)):
                write_realisation(layout, transaction, realisation)
                return
            with _in_place(layout, prepared, undo=not known) as replaced:
                insert_object(layout, transaction, name, prepared.manifest)
                write_realisation(layout, transaction, realisation)
                # Here and not at the end of the block: when it fails, the object must go back.
                transaction.commit()
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
        OSError: it cannot be done. The old one then still stands, unless it could only be deleted in place.
    """
    workspaces.make_movable(path)
    replace = os.path.lexists(final)
    if replace:
        workspaces.make_movable(final)
        if disk.exchange(path, final):
            workspaces.discard(layout, path)
        else:
            _replace_in_two_steps(layout, path, final)
    else:
        path.rename(final)
    if stat.S_ISDIR(final.lstat().st_mode):
        final.chmod(0o555)
    return replace


def _replace_in_two_steps(layout: Layout, path: Path, final: Path) -> None:
    old = workspaces.discard(layout, final)
    try:
        path.rename(final)
    except OSError:
        if os.path.lexists(old):
            old.rename(final)
        raise


def right_manifest(layout: Layout, name: str) -> Manifest | None:
    """The manifest of an object in place, if it can be read and has the content that it is named for."""
    try:
        manifest = tree.scan(layout.object(name))
    except StoreError:
        return None
    return manifest if manifest.content_hash == content_hash_of(name) else None


def insert_object(layout: Layout, transaction: Transaction, name: str, manifest: Manifest) -> None:
    """Register an object that is in place."""
    mark = sentinel.take(os.fspath(layout.object(name)), sentinel.choose(manifest))
    now = int(time.time())
    transaction.insert_object(Info(name, manifest.size, manifest.files, now, now), mark)


def write_realisation(layout: Layout, transaction: Transaction, realisation: Realisation | None) -> None:
    """Insert a realisation, and write its record. Its inputs count as used now."""
    if realisation is None:
        return
    path = layout.realisation(realisation.drv_id)
    # Before the commit: were we killed between the two, the record would say something true that is not
    # known yet. The other way round, a rebuilt database would lack it.
    write_atomically(path, records.encode(realisation))
    transaction.insert_realisation(realisation)
    now = int(time.time())
    transaction.set_last_used((realisation.object, *realisation.inputs), now, before=now - HOUR)
