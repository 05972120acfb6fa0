"""What the database of a store holds, and every question and change that is put to it: all SQL stands here.

`store.connection` opens the file, and sees to transactions and damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hermetic.errors import StoreError
from hermetic.store.connection import Connection, Schema, corrupt, create_file
from hermetic.store.records import Info, Realisation, Reference

if TYPE_CHECKING:
    import sqlite3

# The sentinel stands last: a list of objects then does not have to read it. The id of a realisation is never
# used again: a collector finds by it what was registered while it planned. `builder` and `signatures` are always
# empty. They stay for the stores that have them: programs of both kinds can then use a store at the same time.
SCHEMA: Final = Schema(
    application_id=0x6865726D,  # "herm"
    version=1,
    sql="""
CREATE TABLE objects (
    name TEXT PRIMARY KEY, size INTEGER NOT NULL, files INTEGER NOT NULL,
    registered_at INTEGER NOT NULL, last_used INTEGER NOT NULL, sentinel BLOB NOT NULL
);
CREATE TABLE realisations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    drv_id TEXT NOT NULL UNIQUE, build_key TEXT NOT NULL, object TEXT NOT NULL, name TEXT NOT NULL,
    version TEXT NOT NULL, system TEXT NOT NULL, inputs TEXT NOT NULL, seconds REAL NOT NULL,
    built_at INTEGER NOT NULL, builder TEXT NOT NULL, signatures TEXT NOT NULL
);
CREATE INDEX realisations_by_key ON realisations (build_key);
CREATE INDEX realisations_by_object ON realisations (object);
""",
)

_INFO: Final = "name, size, files, registered_at, last_used"
_FIELDS: Final = Realisation.__struct_fields__
_REALISATION: Final = ", ".join(_FIELDS)


def create(path: Path) -> None:
    """Make an empty database. It appears whole, or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    create_file(path, SCHEMA)


class Database(Connection):
    """The database of a store. Every method raises StoreError where it is corrupt or cannot be read."""

    def __init__(
        self,
        path: Path,
        in_use: Path | None,
        *,
        read_only: bool = False,
        make_room: Callable[[], bool] | None = None,
    ) -> None:
        """See `Connection`."""
        super().__init__(path, in_use, SCHEMA, read_only=read_only, make_room=make_room)

    def check_values(self, connection: sqlite3.Connection) -> None:
        """A file whose structure is valid may still hold names and hashes that are not."""
        for *row, mark in connection.execute(f"SELECT {_INFO}, sentinel FROM objects"):
            self._info(row)
            self._mark(row[0], row[4], mark)
        for row in connection.execute(f"SELECT {_REALISATION} FROM realisations"):
            if not self._realisation(row).is_sound():
                raise self._unsound_realisation(row[0])

    # -- objects

    def objects(self) -> list[Info]:
        """All registered objects, by name."""
        return [self._info(row) for row in self.read(f"SELECT {_INFO} FROM objects ORDER BY name")]

    def info(self, name: str) -> Info | None:
        """What is recorded of an object; None when it is not registered."""
        rows = self.read(f"SELECT {_INFO} FROM objects WHERE name = ?", (name,))
        return self._info(rows[0]) if rows else None

    def mark(self, name: str) -> tuple[int, bytes] | None:
        """When an object was last used (Unix time, seconds), and its sentinel."""
        rows = self.read("SELECT last_used, sentinel FROM objects WHERE name = ?", (name,))
        return self._mark(name, *rows[0]) if rows else None

    def _info(self, row: Sequence[Any]) -> Info:
        found = Info(*row)
        if not found.is_sound():
            raise self._unsound_object(row[0])
        return found

    def _mark(self, name: str, last_used: object, sentinel: object) -> tuple[int, bytes]:
        if type(last_used) is not int or type(sentinel) is not bytes:
            raise self._unsound_object(name)
        return last_used, sentinel

    def _unsound_object(self, name: object) -> StoreError:
        return corrupt(self.path, f"the row of object {name!r} is invalid")

    # -- realisations

    def realisation(self, drv_id: str) -> Realisation | None:
        """What a derivation gave, if that is known."""
        return next(iter(self._realisations("WHERE drv_id = ?", drv_id)), None)

    def realisation_by_key(self, build_key: str) -> Realisation | None:
        """The last thing that was made under a build key."""
        found = self._realisations("WHERE build_key = ? ORDER BY built_at DESC, drv_id LIMIT 1", build_key)
        return next(iter(found), None)

    def realisations(self) -> list[Realisation]:
        """All of them, by derivation id."""
        return self._realisations("ORDER BY drv_id")

    def realisations_of(self, name: str) -> list[Realisation]:
        """All that gave this object, the newest first."""
        return self._realisations("WHERE object = ? ORDER BY built_at DESC, drv_id", name)

    def _realisations(self, which: str, *values: str) -> list[Realisation]:
        rows = self.read(f"SELECT {_REALISATION} FROM realisations {which}", values)
        return [self._realisation(row) for row in rows]

    def _realisation(self, row: Sequence[Any]) -> Realisation:
        fields = dict(zip(_FIELDS, row, strict=True))
        inputs = fields["inputs"]
        if type(inputs) is str:
            fields["inputs"] = inputs.split("\n") if inputs else ()
        try:
            return msgspec.convert(fields, Realisation)
        except msgspec.ValidationError:
            raise self._unsound_realisation(row[0]) from None

    def _unsound_realisation(self, drv_id: object) -> StoreError:
        return corrupt(self.path, f"the row of the realisation of {drv_id!r} is invalid")

    def drv_ids(self) -> set[str]:
        """The derivations of all realisations."""
        return {drv_id for (drv_id,) in self.read("SELECT drv_id FROM realisations")}

    def references(self, after: int = 0) -> list[Reference]:
        """What each object was made from, one for each realisation.

        Args:
            after: only those that were registered later than the one with this id.
        """
        query = "SELECT id, object, system, inputs FROM realisations WHERE id > ? ORDER BY id"
        rows = self.read(query, (after,))
        for row in rows:
            if not (type(row[1]) is type(row[2]) is type(row[3]) is str):
                raise self._unsound_realisation(row[1])
        return [
            Reference(number, name, not system, tuple(inputs.split("\n")) if inputs else ())
            for number, name, system, inputs in rows
        ]

    # -- changes

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Changes that are made together or not at all; see `Connection.write`."""
        with self.write() as connection:
            yield Transaction(connection)


class Transaction:
    """What can be changed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def commit(self) -> None:
        """Make the changes lasting now, and not at the end of the block: to see it fail."""
        self._connection.execute("COMMIT")

    def has_object(self, name: str) -> bool:
        """Whether an object is registered."""
        query = "SELECT 1 FROM objects WHERE name = ?"
        return self._connection.execute(query, (name,)).fetchone() is not None

    def insert_object(self, info: Info, sentinel: bytes) -> None:
        """Register an object, or replace what is recorded of it."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO objects ({_INFO}, sentinel) VALUES (?, ?, ?, ?, ?, ?)",
            (info.name, info.size, info.files, info.registered_at, info.last_used, sentinel),
        )

    def insert_realisation(self, realisation: Realisation) -> None:
        """Record what a derivation gave, or replace what was recorded."""
        values = msgspec.structs.asdict(realisation) | {"inputs": "\n".join(realisation.inputs)}
        self._connection.execute(
            f"INSERT OR REPLACE INTO realisations ({_REALISATION}, builder, signatures)"
            f" VALUES ({', '.join('?' * len(_FIELDS))}, '', '')",
            tuple(values.values()),
        )

    def set_sentinels(self, sentinels: Iterable[tuple[str, bytes]]) -> None:
        """Replace the sentinels of objects, given by name."""
        self._connection.executemany(
            "UPDATE objects SET sentinel = ? WHERE name = ?", [(mark, name) for name, mark in sentinels]
        )

    def set_last_used(self, names: Iterable[str], now: int, *, before: int = 1 << 62) -> None:
        """Note that objects were used now, where the last note is from before a certain time.

        Args:
            now, before: Unix time, seconds.
        """
        self._connection.executemany(
            "UPDATE objects SET last_used = ? WHERE name = ? AND last_used < ?",
            [(now, name, before) for name in names],
        )

    def delete(self, names: list[str]) -> list[str]:
        """Forget objects and their realisations.

        Returns:
            the derivation ids of these.
        """
        import json  # only a collection needs it

        chosen = (json.dumps(names),)
        of_these = "IN (SELECT value FROM json_each(?))"
        query = f"SELECT drv_id FROM realisations WHERE object {of_these}"
        drv_ids = [drv_id for (drv_id,) in self._connection.execute(query, chosen)]
        self._connection.execute(f"DELETE FROM realisations WHERE object {of_these}", chosen)
        self._connection.execute(f"DELETE FROM objects WHERE name {of_these}", chosen)
        return drv_ids
