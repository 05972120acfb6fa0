"""A substituter: another store on this machine.

It is only read, and nothing is asked of it but files: no lock is taken there and its database is not opened,
for even reading that would leave files behind. What a derivation gave stands in the records beside the
database, one file each. So the other store may be on a read-only file system, may have been left by a process
that was killed, may have a damaged database, and may be collected meanwhile: then an object is found
incomplete when its content is hashed.

Objects are copied, by reflink where the file system can. They are never hard links to the other store: a link
changes the time of change of the file there, by which that store's sentinels tell that nobody has touched its
objects, and what damages a file in one store would damage it in both.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from hermetic import tree
from hermetic.errors import StoreError, SubstituterError, UsageError
from hermetic.store import records
from hermetic.store.layout import Layout
from hermetic.store.records import Realisation

_HINT = "--substitute and HERMETIC_SUBSTITUTE take the directory of another store"


class StoreSubstituter:
    """One other store.

    Args:
        path: its directory.

    Raises:
        UsageError: there is no store, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        self.name = os.fspath(path)
        self._layout = Layout(path.absolute())
        self._mutex = threading.Lock()
        self._by_key: dict[str, Realisation] = {}
        self._read: set[str] = set()  # names of the records that are in `_by_key`
        self._read_at = -1  # time of change of the records' directory, ns
        if not path.is_dir():
            raise UsageError(f"cannot substitute from {self.name}: there is no such directory", hint=_HINT)
        try:
            there = self._layout.exists()
        except StoreError as error:
            message = f"cannot substitute from {self.name}: {error.message}"
            raise UsageError(message, hint=_HINT) from error
        if not there:
            raise UsageError(f"cannot substitute from {self.name}: it is not a store", hint=_HINT)

    def by_derivation(self, drv_ids: Collection[str]) -> Mapping[str, Realisation]:
        """See `substituter.Substituter`."""
        if not self._layout.realisations.is_dir():
            raise SubstituterError(f"{self._layout.realisations} is not there any more")
        found = {}
        for drv_id in drv_ids:
            record = records.read(self._layout.realisation(drv_id))
            if record is not None:
                found[drv_id] = record
        return found

    def by_build_key(self, key: str) -> Realisation | None:
        """See `substituter.Substituter`. All records are read when it is first called."""
        with self._mutex:
            try:
                self._update()
            except OSError as error:
                message = f"cannot read {self._layout.realisations}: {error.strerror}"
                raise SubstituterError(message) from error
            return self._by_key.get(key)

    def _update(self) -> None:
        changed = self._layout.realisations.stat().st_mtime_ns
        if changed == self._read_at:
            return
        for name in os.listdir(self._layout.realisations):
            if name not in self._read and name.endswith(".json") and not name.startswith("."):
                self._read.add(name)
                record = records.read(self._layout.realisations / name)
                if record is not None:
                    known = self._by_key.get(record.build_key)
                    if known is None or known.built_at <= record.built_at:
                        self._by_key[record.build_key] = record
        self._read_at = changed

    def obtain(self, name: str, target: Path, stop: threading.Event) -> tree.Manifest:
        """See `substituter.Substituter`."""
        source = self._layout.object(name)
        if not os.path.lexists(source):
            raise SubstituterError(f"{name} is not in that store, although a record names it")
        try:
            return tree.copy_and_scan(source, target)
        except (tree.Unreadable, tree.Unstorable) as error:
            raise SubstituterError(f"{name} cannot be copied: {error.message}") from error
