"""Promises of `hermetic.store`: altered objects and a damaged database are noticed, and mended."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hermetic import tree
from hermetic.errors import BuildFailure, HashMismatch, StoreError
from hermetic.store import integrity, registering
from hermetic.store.rebuilding import rebuild_db
from hermetic.store.records import Realisation
from hermetic.store.store import Store
from tests.support.stores import (
    ALTERATIONS,
    check,
    ended,
    forked,
    ident,
    put,
    rewrite,
    write_tree,
)


# -- alterations
@pytest.mark.parametrize("how", ALTERATIONS)
def test_an_altered_object_is_noticed(store: Store, how: str) -> None:
    name, other = put(store, "a"), put(store, "b")
    ALTERATIONS[how](store.path(name))
    assert not store.intact(name)
    assert store.intact(other)
    report = integrity.verify(store)
    assert not report.clean
    assert report.missing == ((name,) if how == "gone" else ())
    assert tuple(report.altered) == (() if how == "gone" else (name,))


@pytest.mark.parametrize("how", ALTERATIONS)
def test_adding_the_right_bytes_mends_an_altered_object(store: Store, how: str) -> None:
    name = put(store, "a")
    ALTERATIONS[how](store.path(name))
    assert put(store, "a") == name
    assert store.intact(name)
    assert integrity.verify(store).clean
    assert list(store.layout.trash.iterdir()) == [], "what it replaced still takes its space"


def test_new_times_alone_are_no_alteration(store: Store) -> None:
    name = put(store, "a")
    os.utime(store.path(name) / "share/text")
    assert store.intact(name)
    assert (store.path(name) / "share/text").stat().st_mtime_ns == 0


def test_a_store_can_be_copied_and_moved(store: Store, tmp_path: Path) -> None:
    name = put(store, "a")
    store.close()
    shutil.copytree(tmp_path / "store", tmp_path / "copy", symlinks=True)
    (tmp_path / "store").rename(tmp_path / "moved")
    for place in ("copy", "moved"):
        check(tmp_path / place, name).close()


def test_verify_reports_what_nobody_registered(store: Store) -> None:
    stray = f"{ident('stray')}-stray-1"
    write_tree(store.path(stray), "x")
    (store.root / "notes.txt").touch()
    report = integrity.verify(store)
    assert report.clean
    assert report.unregistered == (stray,)
    assert report.foreign == ("notes.txt",)


def test_verify_names_what_differs(store: Store) -> None:
    name = put(store, "a")
    ALTERATIONS["content"](store.path(name))
    assert integrity.verify(store).altered == {name: ("altered: share/text (was 10 bytes, is 11)",)}
    with pytest.raises(StoreError, match="is not in the store"):
        integrity.verify(store, ["nothing"])


def test_verify_hashes_in_several_processes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [put(store, f"o{i}") for i in range(12)]
    ALTERATIONS["content"](store.path(names[5]))
    monkeypatch.setattr(integrity, "WORTH_A_PROCESS", 1)
    seen: list[tuple[int, int]] = []
    report = integrity.verify(store, jobs=3, progress=lambda *done: seen.append(done))
    assert report.checked == 12
    assert list(report.altered) == [names[5]]
    assert len(seen) == 12


# -- repair
@pytest.mark.parametrize("how", ALTERATIONS)
def test_repair_puts_right_bytes_in_place(store: Store, how: str) -> None:
    name = put(store, "a")
    ALTERATIONS[how](store.path(name))
    seen: list[list[Realisation]] = []

    def remake(made: list[Realisation], space: Path) -> Path:
        seen.append(made)
        return write_tree(space / "again", "a")

    integrity.repair(store, name, remake)
    assert [r.drv_id for r in seen[0]] == [ident("a")]
    check(store.root, name).close()


@pytest.mark.parametrize("how", ALTERATIONS)
def test_repair_with_other_bytes_changes_nothing(store: Store, how: str) -> None:
    """Seen elsewhere: a failed repair that leaves nothing, or silently other bytes."""
    name = put(store, "a")
    ALTERATIONS[how](store.path(name))
    before = None if how == "gone" else tree.scan(store.path(name))
    with pytest.raises(HashMismatch, match="with other content") as caught:
        integrity.repair(store, name, rewrite("b"))
    assert name[:52] in caught.value.details[0]
    assert (before is None) == (not store.path(name).exists())
    assert before is None or tree.scan(store.path(name)) == before
    assert len(store.objects()) == 1


def test_repair_that_fails_changes_nothing(store: Store) -> None:
    name = put(store, "a")
    ALTERATIONS["content"](store.path(name))

    def remake(_made: list[Realisation], _space: Path) -> Path:
        raise BuildFailure("no")

    with pytest.raises(BuildFailure):
        integrity.repair(store, name, remake)
    assert store.path(name).exists()
    with pytest.raises(StoreError, match="is not in the store"):
        integrity.repair(store, "nothing", remake)


# -- a damaged database


def _content(store: Store) -> tuple[list[str], list[Realisation]]:
    return [info.name for info in store.objects()], store.realisations()


def _overwrite(offset: int, length: int, seed: int) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(random.Random(seed).randbytes(length))

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "truncated in the header": lambda path: os.truncate(path, 50),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "last page lost": lambda path: os.truncate(path, path.stat().st_size - 4096),
    "text": lambda path: path.write_text("hello\n" * 5000),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "header overwritten": _overwrite(0, 100, 1),
    "schema overwritten": _overwrite(100, 3000, 2),
    **{f"page {n} overwritten": _overwrite(4096 * n, 4096, n) for n in range(1, 7)},
    **{f"page {n} zeroed": lambda path, n=n: _zero(path, n) for n in range(1, 7)},  # type: ignore[misc]
}


def _zero(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(bytes(4096))


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose database has as many pages as `DAMAGES` damages: a base, and 40 objects made from it."""
    path = tmp_path_factory.mktemp("forty") / "store"
    with Store.open(path) as store:
        base = put(store, "base")
        for number in range(40):
            put(store, f"o{number}", inputs=(base,))
        store.add_root("keep", base)
    return path


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_database_is_detected_at_open_and_rebuilt(forty: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(forty, tmp_path / "store", symlinks=True)
    with Store.open(tmp_path / "store") as store:
        before = _content(store)
        (base,) = (root.object for root in store.roots())
    database = tmp_path / "store/.hermetic/db.sqlite"
    assert database.stat().st_size > 7 * 4096
    DAMAGES[how](database)
    with pytest.raises(StoreError, match=r"corrupt|missing") as caught:
        Store.open(tmp_path / "store")
    assert "rebuild-db" in str(caught.value.hint)
    result = rebuild_db(tmp_path / "store")
    assert (result.objects, result.realisations, result.altered) == (41, 41, ())
    with check(tmp_path / "store", base) as again:
        assert _content(again) == before
        assert [root.object for root in again.roots()] == [base]


def test_rebuilding_takes_only_what_is_right(store: Store, tmp_path: Path) -> None:
    good, bad, gone = (put(store, text) for text in ("good", "bad", "gone"))
    ALTERATIONS["content"](store.path(bad))
    tree.remove(store.path(gone))
    (store.layout.realisations / f"{ident('junk')}.json").write_text("{")
    store.close()
    result = rebuild_db(tmp_path / "store")
    assert (result.objects, result.altered) == (1, (bad,))
    assert len(result.unusable) == 3
    with Store.open(tmp_path / "store") as again:
        assert [info.name for info in again.objects()] == [good]
        assert put(again, "bad") == bad


def test_rebuilding_is_refused_while_others_use_the_store(store: Store, tmp_path: Path) -> None:
    put(store, "a")
    child = forked(lambda: rebuild_db(tmp_path / "store"))
    assert ended(child) == 1
    store.close()
    assert rebuild_db(tmp_path / "store").objects == 1


def test_lost_records_are_written_again(store: Store) -> None:
    name = put(store, "a")
    store.layout.manifest(name).unlink()
    store.layout.realisation(ident("a")).write_text("junk")
    assert len(integrity.verify(store).records) == 2
    assert integrity.restore_records(store) == 2
    check(store.root, name).close()


def test_a_realisation_record_is_readable(store: Store) -> None:
    name = put(store, "a")
    record = json.loads(store.layout.realisation(ident("a")).read_text())
    assert record["object"] == name
    assert record["build_key"] == ident("key of a")


def test_a_newer_store_is_refused(store: Store, tmp_path: Path) -> None:
    put(store, "a")
    store.close()
    (tmp_path / "store/.hermetic/version").write_text("2\n")
    with pytest.raises(StoreError, match="version 2; this program knows version 1"):
        Store.open(tmp_path / "store")
    (tmp_path / "store/.hermetic/version").write_text("rubbish")
    with pytest.raises(StoreError, match="is damaged: it holds 'rubbish'"):
        Store.open(tmp_path / "store")


def test_a_newer_schema_is_refused(store: Store, tmp_path: Path) -> None:
    with store.database.write() as transaction:
        transaction.execute("PRAGMA user_version = 9")
    store.close()
    with pytest.raises(StoreError, match="schema version 9"):
        Store.open(tmp_path / "store")


def test_a_transaction_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registering, "write_realisation", fail)
    with pytest.raises(StoreError, match="no space left"):
        put(store, "a")
    monkeypatch.undo()
    assert store.objects() == []
    assert [p.name for p in store.root.iterdir()] == [".hermetic"]
    assert store.intact(put(store, "a"))
