"""The store's own files, damaged: the database, its log, the records beside it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from random import Random

from tests.bad_input import mutate
from tests.bad_input.case import Case, on
from tests.bad_input.world import TARGETS, Place, World

_COMMANDS = (
    *(
        ("realize", "app"),
        ("realize", "parcel"),
        ("store", "path-info"),
        ("store", "path-info", "--json", "lib"),
    ),
    *(
        ("store", "du"),
        ("store", "verify"),
        ("store", "verify", "--repair"),
        ("store", "rebuild-db"),
        ("gc", "-n"),
    ),
    *(
        ("gc",),
        ("root", "list"),
        ("root", "add", "more", "app"),
        ("root", "remove", "kept"),
        ("why-live", "lib"),
    ),
    *(("store", "export-list", "app"), ("store", "roots"), ("log", "lib"), ("store", "delete", "app")),
    *(("verify", "--against", "../store", "app"), ("show", "app"), ("store", "rebuild-db", "--json")),
)
_TABLES = {
    "objects": ("name", "size", "files", "registered_at", "last_used", "sentinel"),
    "realisations": (
        *(
            "id",
            "drv_id",
            "build_key",
            "object",
            "name",
            "version",
            "system",
            "inputs",
            "seconds",
            "built_at",
        ),
        *("builder", "signatures"),
    ),
}
_STATEMENTS = (
    *("DROP TABLE {table}", "ALTER TABLE {table} RENAME TO other", "ALTER TABLE {table} ADD COLUMN more"),
    *("ALTER TABLE {table} RENAME COLUMN {column} TO other", "DELETE FROM {table}"),
    *("DROP INDEX realisations_by_key", "PRAGMA user_version=99", "PRAGMA user_version=-1"),
    *("PRAGMA application_id=1", "PRAGMA journal_mode=DELETE", "PRAGMA page_size=512; VACUUM"),
    "CREATE TRIGGER t BEFORE UPDATE ON objects BEGIN SELECT RAISE(FAIL, 'no'); END",
)


def damage(chance: Random, world: World, place: Place) -> Case:
    """Damage something in `.hermetic`."""
    meta = place.store / ".hermetic"
    kept = (meta / "roots/kept").readlink().name
    match chance.randrange(8):
        case 0 | 1:
            what = _database_bytes(chance, meta / "db.sqlite")
        case 2 | 3:
            what = _rows(chance, meta / "db.sqlite")
        case 4:
            what = _log(chance, meta / "db.sqlite")
        case 5 | 6:
            path = chance.choice(_records(meta))
            if path.is_symlink():
                path.unlink()
                path.symlink_to(
                    chance.choice(
                        [t for t in mutate.ODD_TEXTS if 0 < len(t) < 4000 and "\0" not in t]
                        + ["../../canary/secret"]
                    ).encode("utf-8", "surrogatepass")
                )
            else:
                path.chmod(0o644)
                path.write_bytes(mutate.text(chance, path.read_bytes()))
            what = f"{path.relative_to(meta)}: other bytes"
        case _:
            path = chance.choice([*_records(meta), *_folders(meta)])
            what = f"{path.relative_to(meta)} is {mutate.node(chance, path, place.canary)}"
    lines = {chance.choice(_COMMANDS): None, chance.choice(_COMMANDS): None}
    rooted = not what.startswith("roots") and ("root", "remove", "kept") not in lines

    def check(place: Place) -> tuple[str, str] | None:
        return None if not rooted or (place.store / kept).is_dir() else ("lost", kept)

    named = (".hermetic", "../store", str(place.store), *TARGETS, "objects are", "no root")
    return Case(what, tuple(on(place, *line) for line in lines), named, check=check)


def _records(meta: Path) -> list[Path]:
    """Every small file and link, each kind of record as often as any other."""
    folders = (
        "realisations",
        "manifests",
        "eval",
        "log",
        "log/by-name",
        "roots",
        "roots/auto",
        "locks",
        ".",
        ".",
    )
    found = []
    for folder in folders:
        if (meta / folder).is_dir():
            files = sorted(p for p in (meta / folder).iterdir() if p.is_symlink() or p.is_file())
            found += files[:3]
    return found


def _folders(meta: Path) -> list[Path]:
    return [
        meta / name for name in ("tmp", "trash", "roots", "locks", "realisations", "manifests", "eval", "log")
    ]


def _database_bytes(chance: Random, path: Path) -> str:
    """Half of the time with the file's old time, as a disk would damage it: nobody has noticed yet."""
    status = path.stat()
    data = path.read_bytes()
    if chance.random() < 0.5:
        flipped = bytearray(data)
        for _ in range(chance.choice((1, 8, 200))):
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        (path.with_name("db.checked")).write_bytes(b"%d %d\n" % (status.st_size, status.st_mtime_ns))
        return "db.sqlite: other bytes, unnoticed"
    path.write_bytes(mutate.bytes_(chance, data))
    return "db.sqlite: other bytes"


def _rows(chance: Random, path: Path) -> str:
    """What SQLite finds in order, and hermetic must not."""
    connection = sqlite3.connect(path, isolation_level=None)
    table = chance.choice(sorted(_TABLES))
    column = chance.choice(_TABLES[table])
    try:
        match chance.randrange(6):
            case 0:
                what = chance.choice(_STATEMENTS).format(table=table, column=column)
                connection.executescript(what)
                return what
            case _:
                value = _sql_value(chance)
                where = chance.choice(("", f" WHERE rowid = (SELECT max(rowid) FROM {table})"))
                connection.execute(f"UPDATE OR REPLACE {table} SET {column} = ?{where}", (value,))
                return f"{table}.{column} = {value!r:.60}{where and ', in one row'}"
    except sqlite3.Error as error:  # its own rules keep this value out
        return f"{table}.{column} stays: {error}"
    finally:
        connection.close()


def _sql_value(chance: Random) -> object:
    text = chance.choice(mutate.ODD_TEXTS).encode("utf-8", "replace").decode()
    name = "a" * 52 + "-" + chance.choice(("x-1", "../../../canary/secret", "", ".hermetic", "x\ny"))
    return chance.choice(
        (text, text.encode(), name, 0, -1, 2**62, -(2**63), 2**63 - 1, 1e308, float("inf"), None, b"\xff")
    )


def _log(chance: Random, path: Path) -> str:
    """A log that a killed process has left, damaged."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("UPDATE objects SET last_used = last_used - 1")
    log, shared = path.with_name("db.sqlite-wal"), path.with_name("db.sqlite-shm")
    left = {p: p.read_bytes() for p in (path, log, shared)}
    connection.close()
    for file, data in left.items():
        file.write_bytes(data)
    damaged = chance.choice((log, log, shared, path))
    damaged.write_bytes(mutate.bytes_(chance, left[damaged]))
    if chance.random() < 0.2:
        return f"{damaged.name} is {mutate.node(chance, damaged, path.parents[2] / 'canary')}"
    return f"{damaged.name}: other bytes, with a log"
