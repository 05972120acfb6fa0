"""Promises of `hermetic.store.recovering`: what was registered survives the loss of the database's log."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hermetic.store import integrity
from hermetic.store.store import Store
from tests.support.stores import ALTERATIONS, check, ended, forked, ident, put


def log_of(path: Path) -> Path:
    return path / ".hermetic" / "db.sqlite-wal"


def killed_with(path: Path, *texts: str) -> list[str]:
    """Add objects in a process that ends without closing the store."""
    Store.open(path).close()
    names = path.with_name("names")

    def work() -> None:
        store = Store.open(path)
        names.write_text("\n".join(put(store, text) for text in texts))
        os._exit(0)

    assert ended(forked(work)) == 0
    assert log_of(path).stat().st_size > 0
    return names.read_text().split("\n")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut to nothing": lambda log: os.truncate(log, 0),
    "cut short": lambda log: os.truncate(log, log.stat().st_size // 2),
    "overwritten": lambda log: log.write_bytes(os.urandom(log.stat().st_size)),
    "removed": lambda log: log.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_a_damaged_log_held_is_registered_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "store"
    names = killed_with(path, "a", "b", "c")
    DAMAGE[how](log_of(path))
    with check(path, *names) as store:
        assert [info.name for info in store.objects()] == sorted(names)
        for text, name in zip(("a", "b", "c"), names, strict=True):
            found = store.realisation(ident(text))
            assert found is not None
            assert found.object == name
            assert store.realisation_by_key(found.build_key) == found
    assert not Store.open(path).database.was_left_open()


def test_a_store_that_was_closed_or_is_in_use_was_not_left_open(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        put(store, "a")
        assert log_of(store.root).exists()
        assert not store.database.was_left_open()
    assert not store.database.was_left_open()


@pytest.mark.parametrize("how", ALTERATIONS)
def test_an_altered_object_is_not_registered_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "store"
    a, b = killed_with(path, "a", "b")
    os.truncate(log_of(path), 0)
    ALTERATIONS[how](path / a)
    with Store.open(path) as store:
        assert [info.name for info in store.objects()] == [b]
        assert store.realisation(ident("a")) is None
        assert integrity.verify(store).clean


def test_a_realisation_that_is_registered_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store"
    (name,) = killed_with(path, "a")
    with Store.open(path) as store:
        before = store.realisations()
        record = store.layout.realisation(ident("a"))
    text = record.read_text()
    record.write_text(text.replace('"seconds": 1.5', '"seconds": 2.5'))
    assert record.read_text() != text
    killed_with(path, "b")
    os.truncate(log_of(path), 0)
    with Store.open(path) as store:
        assert [r for r in store.realisations() if r.object == name] == before
