"""The store: objects, realisations, roots, workspaces, locks, logs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from hermetic import filesystem, tree
from hermetic.errors import HashMismatch, StoreError
from hermetic.store import (
    database,
    flocks,
    logs,
    protect,
    quick,
    recovering,
    registering,
    roots,
    sentinel,
    workspaces,
)
from hermetic.store.layout import Layout
from hermetic.store.names import content_hash_of, is_object_name, label_of
from hermetic.store.protect import TempRoots
from hermetic.store.records import Info, Realisation, Reference, Root

_DAY = 86400  # seconds


class Store:
    """One store, opened. Safe to use from several threads; any number of processes may have it open.

    Attributes:
        root: its directory.
        layout: where things lie in it.
        database: its database.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        """Use `Store.open`."""
        self.root = root
        self.read_only = read_only
        self.layout = Layout(root)
        self.database = database.Database(
            self.layout.database,
            self.layout.database_lock,
            read_only=read_only,
            make_room=None if read_only else self._make_room,
        )
        self._made_room = False
        self._temp_roots = TempRoots(self.layout)

    @classmethod
    def open(cls, path: Path, *, create: bool = True, read_only: bool = False) -> Store:
        """Open a store, and clear away what dead processes left in it.

        Args:
            create: make it when it is not there.
            read_only: nothing will be written, not even made ready for writing.

        Raises:
            StoreError: there is none, it is not writable, of another version, or its database is damaged.
        """
        store = cls(path.absolute(), read_only=read_only)
        layout = store.layout
        if not layout.exists():
            if read_only or not create:
                raise StoreError(f"there is no store at {path}")
            store._create()
        elif not read_only:
            layout.check_writable()
            if not layout.check_directories():
                layout.make_directories()
        try:
            left_open = not read_only and store.database.was_left_open()
            store.database.check()
            if left_open:
                store._recover()
            if not read_only:
                store._sweep()
        except BaseException:
            store.close()
            raise
        return store

    def _create(self) -> None:
        self.layout.make_directories()
        with flocks.held(self.layout.create_lock):
            if not self.layout.database.exists():
                database.create(self.layout.database)
            self.layout.make_version()

    def _make_room(self) -> bool:
        """A full disk must not keep us from collecting garbage."""
        released = self.layout.release_reserve()
        self._made_room |= released
        return released

    def _recover(self) -> None:
        with suppress(StoreError):  # on a full disk, say: the next one will try again
            recovering.recover(self.layout, self.database)

    def _sweep(self) -> None:
        try:
            workspaces.sweep(self.layout)
        except FileNotFoundError:  # someone was tidy and removed our empty directories
            self.layout.make_directories()

    def close(self) -> None:
        """Let go of everything, what `add` and `keep` protected from collection included."""
        self._temp_roots.close()
        self.database.close()
        if self._made_room:  # whoever comes next will need it as we did
            self._made_room = False
            self.layout.make_reserve()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is there

    def path(self, name: str) -> Path:
        """Path of an object, whether it is there or not."""
        return self.layout.object(name)

    def realisation(self, drv_id: str) -> Realisation | None:
        """What a derivation gave, if that is known."""
        return self.database.realisation(drv_id)

    def realisation_by_key(self, build_key: str) -> Realisation | None:
        """The last thing that was made under a build key."""
        return self.database.realisation_by_key(build_key)

    def realisations(self) -> list[Realisation]:
        """All of them, by derivation id."""
        return self.database.realisations()

    def references(self, after: int = 0) -> list[Reference]:
        """What each object was made from, one for each realisation.

        Args:
            after: only those that were registered later than the one with this id.
        """
        return self.database.references(after)

    def realisations_of(self, name: str) -> list[Realisation]:
        """All that gave this object, the newest first."""
        return self.database.realisations_of(name)

    def objects(self) -> list[Info]:
        """All registered objects, by name."""
        return self.database.objects()

    def info(self, name: str) -> Info | None:
        """What is recorded of an object; None when it is not registered."""
        return self.database.info(name) if is_object_name(name) else None

    def manifest(self, name: str) -> tree.Manifest:
        """The manifest that was recorded of an object.

        Raises:
            StoreError: there is none, or it is not the object's.
        """
        path = self.layout.manifest(name)
        try:
            data = filesystem.whole(str(path), tree.MOST)
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        if tree.content_hash(data) != content_hash_of(name):
            raise StoreError(f"{path} is not the manifest of {name}")
        return tree.Manifest.decode(data)

    def usable(self, found: Realisation | None, *, temp_roots: TempRoots | None = None) -> str | None:
        """The object of a realisation, if it is there and whole; None where it must be realized again.

        Args:
            temp_roots: what protects the object from collection; by default, until the store is closed.
        """
        if found is None:
            return None
        (temp_roots or self._temp_roots).add(found.object)  # first, so that it stays if it is there
        return found.object if self.intact(found.object) else None

    def intact(self, name: str) -> bool:
        """Whether an object is registered and, as far as a cheap look can tell, unaltered.

        A sentinel (see `store.sentinel`) that does not fit is no proof of damage, since a store may have
        been copied: then the object is hashed, and if it is right, the sentinel is taken anew.
        """
        found = self.database.mark(name)
        if found is None:
            return False
        last_used, mark = found
        if not sentinel.fits(os.fspath(self.layout.object(name)), mark) and not self._still_right(name):
            return False
        now = int(time.time())
        if not self.read_only and now - last_used > _DAY:
            self.touch([name])
        return True

    def _still_right(self, name: str) -> bool:
        path = self.layout.object(name)
        manifest = registering.right_manifest(self.layout, name)
        if manifest is None:
            return False
        if self.read_only:
            return True
        try:
            tree.canonicalise(path, unshare=False)
            mark = sentinel.take(os.fspath(path), sentinel.choose(manifest))
        except (StoreError, OSError):
            return False
        with self.database.transaction() as transaction:
            transaction.set_sentinels([(name, mark)])
        return True

    def touch(self, names: Iterable[str]) -> None:
        """Note that objects were used now."""
        now = int(time.time())
        with self.database.transaction() as transaction:
            transaction.set_last_used(names, now)

    # -- adding

    def add(
        self,
        path: Path,
        name: str,
        version: str,
        *,
        drv_id: str = "",
        build_key: str = "",
        system: str = "",
        inputs: tuple[str, ...] = (),
        seconds: float = 0.0,
        temp_roots: TempRoots | None = None,
        expected: str = "",
        manifest: tree.Manifest | None = None,
    ) -> str:
        """Make a tree a store object, and register what it is the realisation of: one transaction for both.

        Args:
            path: a directory or file, best in a workspace of this store; it is moved away from there.
            drv_id, build_key: with neither, no realisation is recorded. The other fields are those of
                `Realisation`; `inputs` in any order, repeated or not.
            temp_roots: what shall protect the object from collection; by default, until the store is closed.
            expected: the name that the object must have; empty where any will do.
            manifest: what `tree.copy_and_scan` returned when it made this tree in a workspace of this store; the
                tree is not read again. None: it is made canonical and hashed here.

        Returns:
            the object's name.

        Raises:
            HashMismatch: its content has another name than `expected`. Nothing was registered.
            StoreError: nothing was registered, and nothing of it stays in the store.
        """
        for one in inputs:
            if not is_object_name(one):
                raise StoreError(f"{one!r} is not the name of a store object")
        label = label_of(name, version)
        with registering.prepared(self.layout, path, label, manifest) as prepared:
            if expected not in ("", prepared.name):
                found = content_hash_of(prepared.name)
                raise HashMismatch(f"the content hash is {found}, not that of {expected}")
            keep = temp_roots or self._temp_roots
            keep.add(prepared.name)
            realisation = None
            if drv_id or build_key:
                realisation = Realisation(
                    drv_id=drv_id,
                    build_key=build_key,
                    object=prepared.name,
                    name=name,
                    version=version,
                    system=system,
                    inputs=tuple(sorted(set(inputs))),
                    seconds=round(seconds, 3),
                    built_at=int(time.time()),
                )
            # A damaged object of this name is replaced by what we have: these bytes are known to be right.
            there = self.info(prepared.name) is not None
            replace = there and not self.intact(prepared.name)
            if not there or replace:
                prepared.sync()
            registering.register(self.layout, self.database, prepared, realisation, keep, replace=replace)
        return prepared.name

    def record(self, realisation: Realisation, *, temp_roots: TempRoots | None = None) -> None:
        """Register one more realisation of an object that is there.

        Raises:
            StoreError: the object is not registered.
        """
        with protect.shared(self.layout):
            (temp_roots or self._temp_roots).add_locked((realisation.object,))
            with self.database.transaction() as transaction:
                if not transaction.has_object(realisation.object):
                    raise StoreError(f"{realisation.object} is not in the store")
                registering.write_realisation(self.layout, transaction, realisation)

    def workspace(self, label: str, *, keep: bool = False) -> AbstractContextManager[Path]:
        """A private empty directory, removed at the end; see `store.workspaces.workspace`."""
        return workspaces.workspace(self.layout, label, keep=keep)

    def kept_failures(self, label: str = "") -> list[Path]:
        """Kept directories of failed builds whose label begins so, the newest first."""
        return workspaces.kept_failures(self.layout, label)

    def lock(
        self,
        key: str,
        on_wait: Callable[[str], None] | None = None,
        *,
        label: str = "",
        stop: threading.Event | None = None,
    ) -> AbstractContextManager[None]:
        """Be the only one to work on `key`, among all processes and threads; see `store.flocks.owned`.

        Raises:
            Stopped: `stop` was set while waiting.
        """
        path = self.layout.locks / f"{key}.build"
        return flocks.owned(path, label=label, on_wait=on_wait, stop=stop)

    # -- roots

    def temp_roots(self) -> TempRoots:
        """Protection for objects that this process uses, until it is closed; see `store.protect`."""
        return TempRoots(self.layout)

    def keep(self, *names: str) -> None:
        """Protect objects from collection until the store is closed. Look only afterwards whether they are there.

        Raises:
            StoreError: the store cannot be written.
        """
        self._temp_roots.add(*names)

    def outlive_exec(self) -> None:
        """Protect what `keep` protects also while another program runs in the place of this one."""
        self._temp_roots.outlive_exec()

    def add_root(self, name: str, target: str) -> None:
        """Keep an object, under a name, until the root is removed or changed.

        Raises:
            StoreError: the object is not registered.
            UsageError: the name will not do.
        """
        with protect.shared(self.layout):
            self._require(target)
            roots.add(self.layout, name, target)

    def add_link_root(self, link: Path, target: str) -> None:
        """Make a link to an object, and keep the object for as long as the link points at it.

        Raises:
            StoreError: the object is not registered, or something that is no link stands there.
        """
        with protect.shared(self.layout):
            self._require(target)
            roots.add_link(self.layout, link, target)

    def _require(self, name: str) -> None:
        if self.info(name) is None:
            raise StoreError(f"{name} is not in the store")

    def remove_root(self, name: str) -> bool:
        """Remove a named root, or that of a link given by its path. False: there is none such."""
        with protect.shared(self.layout):
            return roots.remove(self.layout, name)

    def roots(self) -> list[Root]:
        """All permanent roots: named ones and links that still hold."""
        return roots.permanent(self.layout)

    # -- logs and answers

    def log_path(self, drv_id: str, label: str = "") -> Path:
        """Where the log of a derivation's build is. With a label, `find_log` finds it by that later."""
        return logs.log_path(self.layout, drv_id, label)

    def find_log(self, label: str) -> Path | None:
        """The log of the last build under a label, or the newest under one that begins with it."""
        return logs.find_log(self.layout, label)

    def put_answer(self, fingerprint: str, target: str, name: str) -> None:
        """Note for `store.quick` which object a target of a project is, and how it looks."""
        found = self.database.mark(name)
        if found is not None and not self.read_only:
            quick.note(self.layout.eval, fingerprint, target, name, *found)
