"""Promises of `hermetic.store.optimising`: equal files share space, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermetic.gc import collection
from hermetic.store import integrity
from hermetic.store.optimising import optimise
from hermetic.store.store import Store
from tests.support.stores import ONLY_ROOTS, as_ordinary_user, check

BIG = b"the same in all of them\n" * 10_000


def fill(store: Store, *texts: str) -> list[str]:
    """Objects that have a large file in common, an executable copy of it, and an empty file."""
    names = []
    for text in texts:
        with store.workspace(text) as space:
            (space / "t" / "sub").mkdir(parents=True)
            (space / "t" / "same").write_bytes(BIG)
            (space / "t" / "sub" / "tool").write_bytes(BIG)
            (space / "t" / "sub" / "tool").chmod(0o755)
            (space / "t" / "empty").touch()
            (space / "t" / "own").write_text(text)
            names.append(store.add(space / "t", "thing", "1"))
    return names


def damage(file: Path) -> None:
    """Other bytes of the same length, in place."""
    file.chmod(0o644)
    file.write_bytes(BIG.replace(b"same", b"SAME"))
    file.chmod(0o444)
    os.utime(file, ns=(0, 0))


def inode(store: Store, name: str, inside: str = "same") -> int:
    return (store.path(name) / inside).lstat().st_ino


def test_equal_files_of_the_same_mode_become_one(store: Store) -> None:
    a, b, c = fill(store, "a", "b", "c")
    found = optimise(store)
    assert inode(store, a) == inode(store, b) == inode(store, c)
    assert inode(store, a, "sub/tool") == inode(store, b, "sub/tool") != inode(store, a)
    assert inode(store, a, "own") != inode(store, b, "own")
    assert inode(store, a, "empty") != inode(store, b, "empty")
    assert (found.files, found.objects, found.skipped) == (4, 3, ())
    assert found.freed >= 4 * len(BIG)
    assert optimise(store).files == 0


def test_objects_stay_what_they_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(store, "a", "b")
    before = [
        sorted((p.name, p.lstat().st_mode, p.lstat().st_mtime_ns) for p in store.path(n).rglob("*"))
        for n in names
    ]
    optimise(store)
    after = [
        sorted((p.name, p.lstat().st_mode, p.lstat().st_mtime_ns) for p in store.path(n).rglob("*"))
        for n in names
    ]
    assert before == after
    monkeypatch.setattr(store, "_still_right", lambda name: pytest.fail(f"{name} was hashed again"))
    assert all(store.intact(name) for name in names)
    assert integrity.verify(store).clean


def test_single_files_share_too(store: Store) -> None:
    names = []
    for label in ("one", "two"):
        with store.workspace(label) as space:
            (space / "f").write_bytes(BIG)
            names.append(store.add(space / "f", label, "1"))
    assert optimise(store).files == 1
    assert len({store.path(name).lstat().st_ino for name in names}) == 1


def test_an_altered_file_does_not_spread(store: Store) -> None:
    a, b = fill(store, "a", "b")
    damage(store.path(a) / "same")
    found = optimise(store)
    assert found.skipped == (a,)
    assert found.files == 0
    assert (store.path(b) / "same").read_bytes() == BIG


def test_a_damage_that_no_sentinel_shows_does_not_spread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = fill(store, "a", "b")
    damage(store.path(a) / "same")
    monkeypatch.setattr(store, "intact", lambda name: True)
    optimise(store)
    assert (store.path(b) / "same").read_bytes() == BIG
    assert inode(store, a) != inode(store, b)


def test_what_is_shared_survives_the_collection_of_another(store: Store) -> None:
    a, b = fill(store, "a", "b")
    optimise(store)
    store.add_root("kept", b)
    store.close()
    with Store.open(store.root) as again:
        assert collection.collect_garbage(again, ONLY_ROOTS).deleted == (a,)
        shared = fill(again, "c")
        optimise(again)
        assert again.intact(b)
        assert inode(again, b) == inode(again, shared[0])


def test_a_closer_look_does_not_undo_it(store: Store) -> None:
    a, b = fill(store, "a", "b")
    optimise(store)
    os.link(store.path(a) / "same", store.root.parent / "another-name")  # changes the time of change
    assert store.intact(a)
    assert store.intact(b)
    assert inode(store, a) == inode(store, b)


def test_an_ordinary_user_can_do_it(open_folder: Path) -> None:
    open_folder.chmod(0o777)

    def work() -> None:
        with Store.open(open_folder / "store") as store:
            a, b = fill(store, "a", "b")
            assert optimise(store).files == 2
            assert inode(store, a) == inode(store, b)
            assert store.path(a).lstat().st_mode & 0o777 == 0o555
        check(open_folder / "store", a, b).close()

    as_ordinary_user(work)
