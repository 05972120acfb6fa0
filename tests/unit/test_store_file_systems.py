"""Promises of the store on file systems that lack something, by faults in single system calls.

The same on real file systems: `tests/sandbox/test_store_mounts.py`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hermetic import tree
from hermetic.errors import PatchError, StoreError
from hermetic.gc import collection
from hermetic.sources.patching import apply_to_tree
from hermetic.store import disk, layout
from hermetic.store.names import content_hash_of
from hermetic.store.optimising import optimise
from hermetic.store.store import Store
from tests.support.stores import alive, check, ident, put, write_tree

Fails = Callable[..., bool]


@contextmanager
def refusing(module: object, call: str, number: int, when: Fails = lambda *_: True) -> Iterator[list[int]]:
    """A system call that fails for some arguments. Gives a list that grows with each failure."""
    failed: list[int] = []
    real = getattr(module, call)

    def fail(*args: Any, **options: Any) -> Any:
        if when(*args):
            failed.append(number)
            raise OSError(number, os.strerror(number), args[0] if isinstance(args[0], str) else None)
        return real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, call, fail)
        yield failed


def is_object(path: Any, *_: object) -> bool:
    return "-thing-1.0" in Path(path).name


# -- a collection


def test_what_cannot_be_renamed_is_deleted_in_place(store: Store, chain: dict[str, str]) -> None:
    store.add_root("mine", chain["python"])
    with refusing(os, "rename", errno.EXDEV, is_object) as failed:
        outcome = collection.collect_garbage(store)
    assert outcome.deleted == (chain["other"],)
    assert len(failed) == 1
    assert alive(store, chain) == set(chain) - {"other"}
    check(store.root, chain["python"]).close()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO, errno.EBUSY, errno.EACCES])
@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_what_cannot_be_deleted_stays_registered_and_the_others_go(
    store: Store, chain: dict[str, str], number: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "BATCH", batch)
    before = {info.name: info for info in store.objects()}
    made = {one.drv_id: one for one in store.realisations()}
    stuck = {chain["clang"], chain["source"]}
    with (
        refusing(os, "rename", number, lambda path, *_: Path(path).name in stuck),
        pytest.raises(StoreError, match=rf"cannot remove .*: {os.strerror(number)}") as raised,
    ):
        collection.collect_garbage(store)
    assert len(raised.value.details) == 1, "the other one"
    assert {info.name: info for info in store.objects()} == {name: before[name] for name in stuck}
    assert {r.drv_id: r for r in store.realisations()} == {
        ident(n): made[ident(n)] for n in ("clang", "source")
    }
    store.close()
    check(store.root, *stuck).close()
    with Store.open(store.root) as again:
        assert set(collection.collect_garbage(again).deleted) == stuck


def test_delete_that_fails_leaves_the_object_registered(store: Store, chain: dict[str, str]) -> None:
    with refusing(os, "rename", errno.EPERM, is_object), pytest.raises(StoreError, match="cannot remove"):
        collection.delete(store, [chain["other"]])
    assert alive(store, chain) == set(chain)
    assert store.intact(chain["other"])


def test_a_trash_that_cannot_be_written_deletes_nothing(store: Store, chain: dict[str, str]) -> None:
    trash = str(store.layout.trash)
    with (
        refusing(os, "mkdir", errno.ENOSPC, lambda path, *_: os.fspath(path).startswith(trash)),
        pytest.raises(StoreError, match="no space left"),
    ):
        collection.collect_garbage(store)
    assert alive(store, chain) == set(chain)
    check(store.root, *chain.values()).close()


def test_an_object_that_was_partly_deleted_is_realized_again(store: Store, chain: dict[str, str]) -> None:
    """Deleting in place fails in the middle: it is registered no more, and its place can be taken."""
    real = os.unlink

    def unlink(path: Any, *args: Any, **options: Any) -> None:
        if path == "tool":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        real(path, *args, **options)

    store.add_root("mine", chain["python"])
    with pytest.MonkeyPatch.context() as patch, refusing(os, "rename", errno.EXDEV, is_object):
        patch.setattr(os, "unlink", unlink)
        (store.path(chain["other"]) / "bin").chmod(0o755)
        with pytest.raises(StoreError, match="not permitted"):
            collection.collect_garbage(store)
    whole = tree.scan(store.path(chain["other"])).content_hash == content_hash_of(chain["other"])
    assert (store.info(chain["other"]) is not None) == whole, "registered is present"
    assert put(store, "other", inputs=(chain["clang"],)) == chain["other"]
    assert store.intact(chain["other"])
    check(store.root, *chain.values()).close()


def test_an_unregistered_object_that_cannot_be_deleted_does_not_keep_others(
    store: Store, chain: dict[str, str]
) -> None:
    foreign = store.root / f"{ident('foreign')}-foreign-1"
    foreign.mkdir()
    with (
        refusing(os, "rename", errno.EPERM, lambda path, *_: os.fspath(path) == str(foreign)),
        pytest.raises(StoreError, match="foreign-1: Operation not permitted"),
    ):
        collection.collect_garbage(store)
    assert alive(store, chain) == set()


# -- adding


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_damaged_object_is_replaced_where_names_cannot_change_places(
    store: Store, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Libc:
        def renameat2(self, *_: object) -> int:
            import ctypes

            ctypes.set_errno(number)
            return -1

    name = put(store, "zlib")
    tree.remove(store.path(name) / "bin")
    monkeypatch.setattr(disk, "_libc", Libc)
    with refusing(os, "rename", errno.EXDEV, lambda path, *_: os.fspath(path) == str(store.path(name))):
        assert put(store, "zlib") == name
    assert (store.path(name) / "bin/tool").exists()
    assert store.intact(name)


def test_a_damaged_object_stays_when_it_cannot_be_replaced(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put(store, "zlib")
    tree.remove(store.path(name) / "bin")
    monkeypatch.setattr(disk, "exchange", lambda *_: False)
    final = str(store.path(name))

    def into_place(path: Any, target: Any) -> bool:
        return os.fspath(target) == final and ".hermetic/tmp" in os.fspath(path)

    with refusing(os, "rename", errno.EIO, into_place) as failed, pytest.raises(StoreError):
        put(store, "zlib")
    assert failed
    assert (store.path(name) / "share/text").exists()


def test_what_lies_outside_is_copied_where_it_cannot_be_renamed(store: Store, tmp_path: Path) -> None:
    """On the same device, and yet elsewhere: another mount, or an overlay's lower layer."""
    outside = write_tree(tmp_path / "outside", "x")
    with refusing(os, "rename", errno.EXDEV, lambda path, *_: str(outside) in os.fspath(path)):
        name = store.add(outside, "thing", "1.0")
    assert store.intact(name)
    assert not outside.exists()


def test_a_tree_too_deep_to_be_open_at_once_is_removed_where_nothing_can_be_renamed(tmp_path: Path) -> None:
    root = tmp_path / "deep"
    (root / "/".join(["d"] * 150)).mkdir(parents=True)
    with refusing(os, "rename", errno.EXDEV) as failed:
        tree.remove(root)
    assert failed
    assert not root.exists()


# -- what a file system must have


NEEDS: dict[str, tuple[object, str, int, Fails, str]] = {
    "symbolic links": (os, "symlink", errno.EPERM, lambda *_: True, r"has no symbolic links \(Operation"),
    "permissions": (os, "chmod", errno.EPERM, lambda *_: True, "keeps no permissions"),
    "locks": (fcntl, "flock", errno.ENOLCK, lambda *_: True, r"has no locks \(flock\)"),
    "rename": (os, "rename", errno.EXDEV, lambda *_: True, "cannot rename a directory"),
    "full": (os, "symlink", errno.ENOSPC, lambda *_: True, "no space left"),
}


@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize("existing", [True, False])
def test_a_store_is_refused_before_anything_is_made(tmp_path: Path, need: str, existing: bool) -> None:
    module, call, number, when, message = NEEDS[need]
    path = tmp_path / "a" / "store"
    if existing:
        path.mkdir(parents=True)
        (path / "theirs").touch()
    with refusing(module, call, number, when), pytest.raises(StoreError, match=message):
        Store.open(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == (["a", "store", "theirs"] if existing else [])


def test_short_names_and_names_without_case_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pathconf", lambda *_: 12)
        with pytest.raises(StoreError, match="has no names of 140 bytes"):
            Store.open(tmp_path / "store")
    real = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: real(os.fspath(path).replace("/CASE", "/case")))
    with pytest.raises(StoreError, match="does not tell upper from lower case"):
        Store.open(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_came_to_another_device_is_tried_again(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    with refusing(os, "symlink", errno.EPERM) as failed:
        Store.open(tmp_path / "store").close()
        assert not failed, "once is enough"
        (tmp_path / "store/.hermetic/probed").write_text("1\n")
        with pytest.raises(StoreError, match="has no symbolic links"):
            Store.open(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        assert put(store, "x")


def test_a_trial_that_is_swept_by_another_process_is_repeated(tmp_path: Path) -> None:
    swept: list[str] = []

    def sweep(_: str, path: str) -> bool:
        if not swept:
            swept.append(path)
            tree.remove(Path(path).parent)
        return False

    with refusing(os, "symlink", 0, sweep):
        Store.open(tmp_path / "store").close()
    assert swept
    check(tmp_path / "store").close()


def test_space_is_set_aside_without_fallocate(tmp_path: Path) -> None:
    with refusing(os, "posix_fallocate", errno.EOPNOTSUPP) as failed:
        store = Store.open(tmp_path / "store")
    assert failed
    status = store.layout.reserve.stat()
    assert status.st_size == layout.RESERVE
    assert status.st_blocks * 512 >= layout.RESERVE
    store.close()


@pytest.mark.parametrize("call", ["listxattr", "removexattr"])
def test_extended_attributes_are_not_needed(store: Store, call: str) -> None:
    with refusing(os, call, errno.EOPNOTSUPP):
        assert store.intact(put(store, "x"))


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP])
def test_optimise_without_hard_links_says_so_and_changes_nothing(store: Store, number: int) -> None:
    names = [put(store, "same", drv="1"), put(store, "same2")]
    with refusing(os, "link", number), pytest.raises(StoreError, match="has no hard links"):
        optimise(store)
    assert all(map(store.intact, names))
    assert list(store.layout.tmp.iterdir()) == []


PATCH = "--- a/text\n+++ b/text\n@@ -1 +1 @@\n-old\n+new\n"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP])
def test_a_tree_is_patched_without_hard_links(tmp_path: Path, number: int) -> None:
    (tmp_path / "text").write_text("old\n")
    with refusing(os, "link", number) as failed:
        apply_to_tree(tmp_path, "change.patch", PATCH)
    assert failed
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"text": "new\n"}


def test_a_patch_whose_file_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("old\n")
    with refusing(os, "link", errno.ENOSPC), pytest.raises(PatchError, match="cannot write"):
        apply_to_tree(tmp_path, "change.patch", PATCH)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"text": "old\n"}
