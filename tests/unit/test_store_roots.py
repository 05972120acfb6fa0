"""Promises of roots: no object in use is collected, by whatever path the store and its links are reached."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from hermetic.errors import StoreError
from hermetic.gc import collection
from hermetic.gc.plan import Options
from hermetic.store.store import Store
from tests.support.stores import ONLY_ROOTS, alive, as_ordinary_user, put

CALLS = ("lstat", "stat", "readlink")
UNSEEN = [
    *((getattr(errno, name), CALLS) for name in ("EACCES", "ESTALE", "ELOOP", "ENAMETOOLONG", "EPERM")),
    *((errno.EIO, calls) for calls in (CALLS, ("lstat",), ("readlink",))),
]


def collect(path: Path, options: Options = ONLY_ROOTS) -> None:
    with Store.open(path) as store:
        collection.collect_garbage(store, options)


def left(path: Path) -> set[str]:
    """Names of the objects that are in a store."""
    with Store.open(path) as store:
        return {info.name for info in store.objects() if store.intact(info.name)}


def link_from(path: Path, link: Path, text: str = "zlib") -> str:
    """Add an object to the store as it is called by `path`, with a result link."""
    with Store.open(path) as store:
        name = put(store, text)
        store.add_link_root(link, name)
    return name


@contextmanager
def failing(number: int, *places: Path, calls: tuple[str, ...] = CALLS) -> Iterator[None]:
    """Some paths, and all below, cannot be examined."""
    patch = pytest.MonkeyPatch()
    for call in calls:
        real = getattr(os, call)

        def fail(path: Any, *args: Any, real: Callable[..., Any] = real, **options: Any) -> Any:
            text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
            if any(text == str(place) or text.startswith(f"{place}/") for place in places):
                raise OSError(number, os.strerror(number), text)
            return real(path, *args, **options)

        patch.setattr(os, call, fail)
    try:
        yield
    finally:
        patch.undo()


def forget_notes(path: Path) -> None:
    """As an earlier program left a store: no notes, no id."""
    shutil.rmtree(path / ".hermetic/roots/notes")
    (path / ".hermetic/id").unlink()
    (path / ".hermetic/probed").unlink()


# -- one identity


@pytest.mark.parametrize("collected_by", ["store", "alias"])
@pytest.mark.parametrize("realized_by", ["store", "alias", "chain"])
@pytest.mark.parametrize("noted", [True, False])
def test_a_store_reached_through_links_is_one_store(
    tmp_path: Path, realized_by: str, collected_by: str, noted: bool
) -> None:
    Store.open(tmp_path / "store").close()
    (tmp_path / "alias").symlink_to("store")
    (tmp_path / "chain").symlink_to(tmp_path / "alias")
    name = link_from(tmp_path / realized_by, tmp_path / "result")
    put_away = link_from(tmp_path / realized_by, tmp_path / "gone", "other")
    (tmp_path / "gone").unlink()
    if not noted:
        forget_notes(tmp_path / "store")
    collect(tmp_path / collected_by)
    assert left(tmp_path / "store") == {name}
    assert put_away != name


def test_a_link_keeps_its_object_when_the_directory_to_it_is_repointed(tmp_path: Path) -> None:
    for directory in ("one", "two"):
        (tmp_path / directory).mkdir()
    (tmp_path / "current").symlink_to("one")
    first = link_from(tmp_path / "store", tmp_path / "current/result", "first")
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("two")
    collect(tmp_path / "store")
    assert left(tmp_path / "store") == {first}
    second = link_from(tmp_path / "store", tmp_path / "current/result", "second")
    collect(tmp_path / "store")
    assert left(tmp_path / "store") == {first, second}
    with Store.open(tmp_path / "store") as store:
        assert store.remove_root(str(tmp_path / "current/result")), "by the path that it was given"
        assert [root.name for root in store.roots()] == [str(tmp_path / "one/result")]


@pytest.mark.parametrize(
    "text",
    [
        "store/{}",
        "./store/../store//{}",
        "{root}/store/{}",
        "{root}/alias/{}/bin/tool",
        "alias/{}",
        "next",
        "{root}/d/{}",
    ],
)
def test_a_link_may_lead_to_its_object_on_any_way(tmp_path: Path, text: str) -> None:
    name = link_from(tmp_path / "store", tmp_path / "result")
    (tmp_path / "alias").symlink_to("store")
    (tmp_path / "d").symlink_to(tmp_path / "alias")
    (tmp_path / "next").symlink_to(tmp_path / "alias" / name)
    forget_notes(tmp_path / "store")  # so that only the link can tell
    (tmp_path / "result").unlink()
    (tmp_path / "result").symlink_to(text.format(name, root=tmp_path))
    collect(tmp_path / "store")
    assert left(tmp_path / "store") == {name}


@pytest.mark.parametrize("noted", [True, False])
def test_a_store_that_was_moved_keeps_what_links_to_its_old_place_name(tmp_path: Path, noted: bool) -> None:
    name = link_from(tmp_path / "store", tmp_path / "result")
    if not noted:
        forget_notes(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "moved")
    collect(tmp_path / "moved")
    with Store.open(tmp_path / "moved") as store:
        (root,) = store.roots()
        assert root.object == name
        assert root.remark == f"the link leads to {tmp_path / 'store' / name}, which does not exist"
        assert collection.why_live(store, name) == [f"link {tmp_path / 'result'} ({root.remark})", name]
    (tmp_path / "result").unlink()
    collect(tmp_path / "moved")
    assert left(tmp_path / "moved") == set()


def test_a_link_through_an_alias_that_now_leads_to_another_store_keeps_its_object(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    (tmp_path / "alias").symlink_to("store")
    name = link_from(tmp_path / "alias", tmp_path / "result")
    with Store.open(tmp_path / "other") as other:
        put(other, "zlib")
    (tmp_path / "alias").unlink()
    (tmp_path / "alias").symlink_to("other")
    collect(tmp_path / "store")
    assert left(tmp_path / "store") == {name}
    with Store.open(tmp_path / "store") as store:
        assert store.roots()[0].remark.endswith(", in another store")


def test_a_copied_store_is_another_one(tmp_path: Path) -> None:
    """Its roots are those of the first until their links go; its links are no roots of the first."""
    name = link_from(tmp_path / "store", tmp_path / "result")
    shutil.copytree(tmp_path / "store", tmp_path / "copy", symlinks=True)
    collect(tmp_path / "copy")
    assert left(tmp_path / "copy") == {name}
    (tmp_path / "result").unlink()
    (tmp_path / "result").symlink_to(tmp_path / "copy" / name / "bin")
    forget_notes(tmp_path / "store")
    collect(tmp_path / "store")
    assert left(tmp_path / "store") == set()
    collect(tmp_path / "copy")
    assert left(tmp_path / "copy") == {name}


def test_a_store_on_two_mounts_with_their_own_device_numbers_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network file system that is mounted twice: the same inodes, another device."""
    name = link_from(tmp_path / "store", tmp_path / "result")
    (tmp_path / "second").symlink_to("store")
    real = os.stat
    second = str(tmp_path / "second")

    def stat(path: Any, *args: Any, **options: Any) -> os.stat_result:
        found = real(path, *args, **options)
        if str(path) == second:
            return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))
        return found

    shutil.rmtree(tmp_path / "store/.hermetic/roots/notes")
    with Store.open(tmp_path / "second") as store, monkeypatch.context() as patch:
        store.layout.root_notes.mkdir(exist_ok=True)
        patch.setattr(os, "stat", stat)
        assert [root.object for root in store.roots()] == [name]
        store.layout.id.unlink()
        assert store.roots() == [], "with neither device nor id, nothing says that it is the same"


# -- what cannot be examined is not gone


@pytest.mark.parametrize(("number", "calls"), UNSEEN)
@pytest.mark.parametrize("where", ["link", "parent", "target"])
def test_a_link_that_cannot_be_examined_keeps_its_object(
    tmp_path: Path, number: int, where: str, calls: tuple[str, ...]
) -> None:
    (tmp_path / "home").mkdir()
    Store.open(tmp_path / "store").close()
    (tmp_path / "mnt").symlink_to("store")
    name = link_from(tmp_path / "mnt" if where == "target" else tmp_path / "store", tmp_path / "home/result")
    place = {"link": tmp_path / "home/result", "parent": tmp_path / "home", "target": tmp_path / "mnt"}[where]
    with failing(number, place, calls=calls):
        with Store.open(tmp_path / "store") as store:
            (root,) = store.roots()
            assert root.object == name
            assert root.remark.endswith(f"cannot be examined: {os.strerror(number)}")
            collection.collect_garbage(store, ONLY_ROOTS)
        assert left(tmp_path / "store") == {name}
    with Store.open(tmp_path / "store") as store:
        assert [(root.object, root.remark) for root in store.roots()] == [(name, "")]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR], ids=errno.errorcode.get)
def test_a_link_that_is_seen_to_be_gone_keeps_nothing(tmp_path: Path, number: int) -> None:
    link_from(tmp_path / "store", tmp_path / "result")
    with failing(number, tmp_path / "result"):
        collect(tmp_path / "store")
        assert left(tmp_path / "store") == set()
        assert list((tmp_path / "store/.hermetic/roots/auto").iterdir()) == []
        assert list((tmp_path / "store/.hermetic/roots/notes").iterdir()) == []


def test_a_link_replaced_by_a_file_or_directory_keeps_nothing(tmp_path: Path) -> None:
    for kind in ("directory", "file"):
        link = tmp_path / f"result-{kind}"
        link_from(tmp_path / "store", link)
        link.unlink()
        link.mkdir() if kind == "directory" else link.touch()
        collect(tmp_path / "store")
        assert left(tmp_path / "store") == set()


@pytest.mark.parametrize("noted", [True, False])
def test_a_closed_home_keeps_objects_or_stops_the_collection(open_folder: Path, noted: bool) -> None:
    """With real permissions: an ordinary user collects while the link is in a directory closed to them."""
    os.chown(open_folder, *((65534, 65534) if os.geteuid() == 0 else (-1, -1)))

    def work() -> None:
        home = open_folder / "home"
        home.mkdir()
        name = link_from(open_folder / "store", home / "result")
        with Store.open(open_folder / "store") as store:
            dead = put(store, "dead")
        if not noted:
            forget_notes(open_folder / "store")
        home.chmod(0)
        try:
            if noted:
                collect(open_folder / "store")
                assert left(open_folder / "store") == {name}
                return
            with Store.open(open_folder / "store") as store:
                (root,) = store.roots()
                assert root.object == ""
                attempts: tuple[Callable[[Store], object], ...] = (
                    collection.plan,
                    collection.collect_garbage,
                )
                for attempt in attempts:
                    with pytest.raises(StoreError, match=r"which object the root .*home/result keeps"):
                        attempt(store)
                with pytest.raises(StoreError, match="cannot tell which object"):
                    collection.delete(store, [dead])
            assert left(open_folder / "store") == {name, dead}
            with Store.open(open_folder / "store") as store:
                assert store.remove_root(str(home / "result")), "the way out"
            collect(open_folder / "store")
            assert left(open_folder / "store") == set()
        finally:
            home.chmod(0o755)

    as_ordinary_user(work)


def test_a_collection_notes_what_links_of_earlier_programs_lead_to(tmp_path: Path) -> None:
    """A root that was made through a link, under that path, by a program that wrote no notes."""
    (tmp_path / "home").mkdir()
    (tmp_path / "alias").symlink_to("home")
    with Store.open(tmp_path / "store") as store:
        name = put(store, "zlib")
        link = tmp_path / "alias/result"
        link.symlink_to(store.path(name))
        root = store.layout.link_roots / blake3(os.fsencode(link)).hexdigest()[:32]
        root.symlink_to(link)
    forget_notes(tmp_path / "store")
    collect(tmp_path / "store")
    with failing(errno.EACCES, tmp_path / "alias", tmp_path / "home"):
        collect(tmp_path / "store")
        assert left(tmp_path / "store") == {name}
    with Store.open(tmp_path / "store") as store:
        store.add_link_root(link, name)
        assert [r.name for r in store.roots()] == [str(tmp_path / "home/result")], "one root for one link"


def test_a_note_follows_a_link_that_was_changed(tmp_path: Path) -> None:
    link_from(tmp_path / "store", tmp_path / "result", "old")
    with Store.open(tmp_path / "store") as store:
        new = put(store, "new")
        (tmp_path / "result").unlink()
        (tmp_path / "result").symlink_to(store.path(new))
    collect(tmp_path / "store")
    with failing(errno.EIO, tmp_path / "result"):
        collect(tmp_path / "store")
    assert left(tmp_path / "store") == {new}


@pytest.mark.parametrize("content", [b"", b"../../etc/passwd", b"\xff\xfe", b"x" * 9999])
def test_a_damaged_note_is_no_note(tmp_path: Path, content: bytes) -> None:
    name = link_from(tmp_path / "store", tmp_path / "result")
    (note,) = (tmp_path / "store/.hermetic/roots/notes").iterdir()
    note.write_bytes(content)
    with failing(errno.EIO, tmp_path / "result"), pytest.raises(StoreError, match="cannot tell which object"):
        collect(tmp_path / "store")
    collect(tmp_path / "store")
    assert left(tmp_path / "store") == {name}
    assert note.read_text() == f"{name}\n"


def test_notes_without_a_root_are_removed(store: Store, chain: dict[str, str], tmp_path: Path) -> None:
    store.add_link_root(tmp_path / "result", chain["zlib"])
    (root,) = store.layout.link_roots.iterdir()
    root.unlink()  # as an earlier program removes a root
    collection.collect_garbage(store)
    assert list(store.layout.root_notes.iterdir()) == []
    assert alive(store, chain) == set()


def test_what_a_process_uses_by_another_path_stays(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    (tmp_path / "alias").symlink_to("store")
    with Store.open(tmp_path / "alias") as store, store.workspace("work") as space:
        name = put(store, "zlib")
        collect(tmp_path / "store")
        assert store.intact(name)
        assert space.is_dir()
