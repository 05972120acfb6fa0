"""Stores of earlier programs stay usable, also by both programs at once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

from hermetic.store import records
from hermetic.store.database import SCHEMA
from hermetic.store.integrity import verify
from hermetic.store.rebuilding import rebuild_db
from hermetic.store.store import Store
from tests.support.stores import ident, put

# Word for word what earlier programs wrote.
EARLIER = """
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
PRAGMA application_id=1751478893; PRAGMA user_version=1; PRAGMA journal_mode=WAL;
"""
INSERT = (
    "INSERT OR REPLACE INTO realisations (drv_id, build_key, object, name, version, system, inputs, seconds,"
    " built_at, builder, signatures) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A store whose database and records have fields that this program does not know."""
    path = tmp_path / "store"
    with Store.open(path) as store:
        names = [put(store, "a"), put(store, "b", inputs=(put(store, "c"),))]
        assert all(names)
        made, layout = store.realisations(), store.layout
        rows = store.database.read("SELECT * FROM objects")
    layout.database.unlink()
    database = sqlite3.connect(layout.database)
    database.executescript(EARLIER)
    database.executemany("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)", rows)
    for one in made:
        fields = msgspec.to_builtins(one) | {"builder": "someone", "signatures": ["x", "y"]}
        layout.realisation(one.drv_id).write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")
        values = [fields[key] for key in ("drv_id", "build_key", "object", "name", "version", "system")]
        values += ["\n".join(one.inputs), one.seconds, one.built_at, "someone", "x\ny"]
        database.execute(INSERT, values)
    database.commit()
    database.close()
    return path


@pytest.mark.parametrize("read_only", [False, True])
def test_it_opens_and_all_that_it_holds_is_sound(earlier: Path, read_only: bool) -> None:
    with Store.open(earlier, read_only=read_only) as store:
        report = verify(store)
        assert report.clean
        assert report.records == ()
        assert all(store.intact(info.name) for info in store.objects())
        found = store.realisation(ident("b"))
        assert found is not None
        assert (found.seconds, len(found.inputs)) == (1.5, 1)


def test_it_takes_new_objects(earlier: Path) -> None:
    with Store.open(earlier) as store:
        name = put(store, "new")
        assert [r.drv_id for r in store.realisations_of(name)] == [ident("new")]
        put(store, "another tree of the same derivation", drv="a")
        assert len(store.realisations()) == 4


def test_its_database_can_be_rebuilt_from_its_records(earlier: Path) -> None:
    with Store.open(earlier) as store:
        before = store.realisations()
    (earlier / ".hermetic/db.sqlite").write_bytes(b"damage")
    found = rebuild_db(earlier)
    assert (found.objects, found.realisations, found.unusable) == (3, 3, ())
    with Store.open(earlier) as store:
        assert store.realisations() == before


def test_earlier_programs_can_use_a_store_of_today(store: Store) -> None:
    name = put(store, "a")
    assert SCHEMA.version == 1
    earlier = sqlite3.connect(store.layout.database)
    earlier.execute(INSERT, (ident("x"), ident("y"), name, "thing", "1.0", "s", "", 0.5, 7, "someone", ""))
    earlier.commit()
    row = earlier.execute("SELECT builder, signatures FROM realisations WHERE drv_id = ?", (ident("a"),))
    assert row.fetchall() == [("", "")]
    earlier.close()
    assert [r.drv_id for r in store.realisations_of(name)] == [ident("a"), ident("x")]


def test_unknown_fields_of_a_record_are_passed_over(store: Store) -> None:
    put(store, "a")
    made = store.realisation(ident("a"))
    assert made is not None
    more = msgspec.to_builtins(made) | {"builder": "", "signatures": [], "later": {"x": 1}}
    assert records.decode(json.dumps(more).encode()) == made
