"""Promises of the store on real mounts: overlays, bind mounts, file systems that lack something.

Each test runs in a child with a mount namespace of its own: as root, and as an ordinary user.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.gc import collection
from hermetic.store.integrity import verify
from hermetic.store.optimising import optimise
from hermetic.store.store import Store
from tests.support.mounts import Unmountable, image, mount, overlay, tmpfs, with_mounts
from tests.support.stores import NOBODY, ONLY_ROOTS, check, crash_at, make_chain, put, write_tree


class Place:
    """A directory for one test, and who works in it."""

    def __init__(self, path: Path, ordinary: bool) -> None:
        self.path = path
        self.ordinary = ordinary

    def run(self, work: Callable[[Path], object]) -> None:
        """Run `work` in the directory, where it can mount."""
        inside = self.path / "inside"
        inside.mkdir()
        if self.ordinary:
            os.chown(inside, NOBODY, NOBODY)
        with_mounts(lambda: work(inside), ordinary=self.ordinary, report=self.path / "skipped")


@pytest.fixture(params=["root", "ordinary"])
def place(request: pytest.FixtureRequest, open_folder: Path) -> Place:
    if os.geteuid() != 0 and request.param == "root":
        pytest.skip("the tests do not run as root")
    return Place(open_folder, request.param == "ordinary" and os.geteuid() == 0)


def names_in(path: Path) -> set[str]:
    with Store.open(path) as store:
        assert verify(store).clean
        return {info.name for info in store.objects()}


# -- an overlay: a store that is part of a container's image


@pytest.mark.parametrize("upper_on_tmpfs", [False, True])
def test_a_store_in_an_image_is_collected_and_used_on(place: Place, upper_on_tmpfs: bool) -> None:
    def work(inside: Path) -> None:
        image = inside / "image"
        image.mkdir()
        chain = make_chain(image)
        with Store.open(image / "store") as store:
            store.add_root("mine", chain["zlib"])
        merged = overlay(image, inside / "container", upper_on_tmpfs=upper_on_tmpfs) / "store"
        with Store.open(merged) as store:
            gone = collection.collect_garbage(store).deleted
        assert set(gone) == {chain["python"], chain["other"]}
        check(merged, *(chain[n] for n in ("archive", "source", "clang", "zlib"))).close()
        assert not any((merged / name).exists() for name in gone)
        with Store.open(merged) as store:
            assert put(store, "python", inputs=(chain["zlib"], chain["clang"])) == chain["python"]
            assert put(store, "other", inputs=(chain["clang"],)) == chain["other"]
        with Store.open(merged) as store:
            collection.delete(store, [chain["other"]])
        check(merged, chain["python"]).close()
        assert names_in(image / "store") == set(chain.values()), "the image is as it was"

    place.run(work)


def test_what_an_earlier_program_unregistered_in_an_image_is_realized_again(place: Place) -> None:
    def work(inside: Path) -> None:
        image = inside / "image"
        image.mkdir()
        chain = make_chain(image)
        merged = overlay(image, inside / "container") / "store"
        with Store.open(merged) as store:
            with store.database.transaction() as transaction:
                transaction.delete([chain["python"], chain["zlib"]])
            assert put(store, "zlib") == chain["zlib"]
            assert store.intact(chain["zlib"])
        with Store.open(merged) as store:
            collection.collect_garbage(store, ONLY_ROOTS)
        assert names_in(merged) == set()
        assert [path.name for path in merged.iterdir()] == [".hermetic"]

    place.run(work)


def test_a_damaged_object_in_an_image_is_replaced(place: Place) -> None:
    def work(inside: Path) -> None:
        image = inside / "image"
        image.mkdir()
        with Store.open(image / "store") as store:
            name = put(store, "zlib")
        tree.remove(image / "store" / name / "bin")
        merged = overlay(image, inside / "container") / "store"
        with Store.open(merged) as store:
            assert not store.intact(name)
            assert put(store, "zlib") == name
        check(merged, name).close()

    place.run(work)


def test_a_collection_in_an_image_may_be_killed_at_any_moment(place: Place) -> None:
    def work(inside: Path) -> None:
        image = inside / "image"
        image.mkdir()
        chain = make_chain(image)
        with Store.open(image / "store") as store:
            store.add_root("mine", chain["clang"])
        for number in range(12):
            merged = overlay(image, inside / f"container-{number}") / "store"

            def collect(path: Path = merged) -> None:
                with Store.open(path) as store:
                    collection.collect_garbage(store, ONLY_ROOTS)

            crash_at(
                20 + 9 * number, collect, only=frozenset({"rename", "unlink", "rmdir", "execute", "mkdir"})
            )
            check(merged, chain["clang"]).close()
            collect()
            assert names_in(merged) == {chain["clang"]}

    place.run(work)


def test_leftovers_and_shared_files_of_an_image(place: Place) -> None:
    def work(inside: Path) -> None:
        image = inside / "image"
        image.mkdir()
        with Store.open(image / "store") as store:
            with store.workspace("two") as space:
                one = write_tree(space / "one", "x")
                two = write_tree(space / "two", "x")
                (two / "more").write_text("more")
                names = {store.add(one, "one", "1"), store.add(two, "two", "1")}
            (store.layout.tmp / "left" / "deep").mkdir(parents=True)
            (store.layout.trash / "left" / "deep").mkdir(parents=True)
        merged = overlay(image, inside / "container") / "store"
        with Store.open(merged) as store:
            assert os.listdir(store.layout.tmp) == os.listdir(store.layout.trash) == []
            optimise(store)
            assert all(map(store.intact, names))
        assert names_in(merged) == names

    place.run(work)


def test_a_tree_of_an_image_can_be_added(place: Place) -> None:
    def work(inside: Path) -> None:
        image = inside / "image"
        write_tree(image / "tree", "x")
        merged = overlay(image, inside / "container")
        with Store.open(merged / "store") as store:
            name = store.add(merged / "tree", "thing", "1.0")
        assert not (merged / "tree").exists()
        check(merged / "store", name).close()

    place.run(work)


# -- bind mounts


@pytest.mark.parametrize("realized_by", ["store", "second"])
@pytest.mark.parametrize("noted", [True, False])
def test_a_store_at_two_paths_is_one_store(place: Place, realized_by: str, noted: bool) -> None:
    def work(inside: Path) -> None:
        second = inside / "second"
        second.mkdir()
        Store.open(inside / "store").close()
        mount("--bind", inside / "store", second)
        with Store.open(inside / realized_by) as store:
            name = put(store, "zlib")
            store.add_link_root(inside / "result", name)
            dead = put(store, "dead")
        if not noted:
            for note in (inside / "store/.hermetic/roots/notes").iterdir():
                note.unlink()
        with Store.open(inside / ("store" if realized_by == "second" else "second")) as store:
            assert [(root.object, root.remark) for root in store.roots()] == [(name, "")]
            assert collection.collect_garbage(store, ONLY_ROOTS).deleted == (dead,)
        subprocess.run(["umount", second], check=True)
        with Store.open(inside / "store") as store:
            collection.collect_garbage(store, ONLY_ROOTS)
        assert names_in(inside / "store") == {name}, "also when the other path is gone"

    place.run(work)


def test_a_link_to_an_object_that_is_mounted_elsewhere_keeps_it(place: Place) -> None:
    def work(inside: Path) -> None:
        (inside / "opt").mkdir()
        with Store.open(inside / "store") as store:
            name = put(store, "zlib")
            store.add_link_root(inside / "result", name)
        mount("--bind", inside / "store" / name, inside / "opt")
        (inside / "result").unlink()
        (inside / "result").symlink_to("opt/bin/tool")
        with Store.open(inside / "store") as store:
            collection.collect_garbage(store, ONLY_ROOTS)
        assert names_in(inside / "store") == {name}

    place.run(work)


def test_a_command_finds_an_object_by_the_other_path(place: Place) -> None:
    def work(inside: Path) -> None:
        from hermetic import Session

        second = inside / "second"
        second.mkdir()
        with Store.open(inside / "store") as store:
            name = put(store, "zlib")
        mount("--bind", inside / "store", second)
        (inside / "flake-like.lock").write_text("format = 1\n")
        with Session(inside, store=inside / "store") as session:
            assert session.object_of(f"{second}/{name}/bin/tool") == name

    place.run(work)


@pytest.mark.parametrize("folder", ["tmp", "trash"])
def test_a_store_in_parts_is_refused(place: Place, folder: str) -> None:
    """Objects are renamed between these directories."""

    def work(inside: Path) -> None:
        with Store.open(inside / "store") as store:
            name = put(store, "zlib")
        mount("-t", "tmpfs", "tmpfs", inside / "store/.hermetic" / folder)
        with pytest.raises(StoreError, match="is on another file system than"):
            Store.open(inside / "store")
        subprocess.run(["umount", inside / "store/.hermetic" / folder], check=True)
        assert names_in(inside / "store") == {name}

    place.run(work)


def test_a_trash_on_another_mount_of_the_same_file_system_is_no_trap(place: Place) -> None:
    def work(inside: Path) -> None:
        chain = make_chain(inside)
        (inside / "elsewhere").mkdir()
        mount("--bind", inside / "elsewhere", inside / "store/.hermetic/trash")
        with Store.open(inside / "store") as store:
            store.add_root("mine", chain["clang"])
            collection.collect_garbage(store, ONLY_ROOTS)
        check(inside / "store", chain["clang"]).close()
        assert names_in(inside / "store") == {chain["clang"]}

    place.run(work)


def test_work_on_another_mount_of_the_same_file_system_registers_nothing(place: Place) -> None:
    def work(inside: Path) -> None:
        Store.open(inside / "store").close()
        (inside / "elsewhere").mkdir()
        mount("--bind", inside / "elsewhere", inside / "store/.hermetic/tmp")
        with Store.open(inside / "store") as store, pytest.raises(StoreError, match="cross-device"):
            put(store, "zlib")
        assert names_in(inside / "store") == set()

    place.run(work)


# -- other file systems


def test_a_store_on_tmpfs(place: Place) -> None:
    def work(inside: Path) -> None:
        small = tmpfs(inside / "small")
        chain = make_chain(small)
        with Store.open(small / "store") as store:
            store.add_link_root(inside / "result", chain["zlib"])
            optimise(store)
            outside = write_tree(inside / "outside", "from another file system")
            added = store.add(outside, "thing", "1.0")
            collection.collect_garbage(store, ONLY_ROOTS)
        check(small / "store", chain["zlib"], added).close()

    place.run(work)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("mkfs.vfat",), "does not tell upper from lower case|has no symbolic links|keeps no permissions"),
        (("mkfs.ext4", "-q", "-O", "casefold", "-E", "encoding=utf8"), "does not tell upper from lower case"),
    ],
    ids=["vfat", "casefold"],
)
def test_a_store_is_refused_where_it_would_lose_something(
    open_folder: Path, command: tuple[str, ...], message: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts images")

    def work() -> None:
        there = image(open_folder / "disk", *command)
        if "casefold" in command:
            (there / "folded").mkdir()
            if subprocess.run(["chattr", "+F", there / "folded"], capture_output=True).returncode != 0:
                raise Unmountable("chattr knows no +F")
            there = there / "folded"
        before = os.listdir(there)
        with pytest.raises(StoreError, match=message):
            Store.open(there / "store")
        assert os.listdir(there) == before

    with_mounts(work, report=open_folder / "skipped")


def test_a_store_on_ext4_of_its_own(open_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts images")

    def work() -> None:
        there = image(open_folder / "disk", "mkfs.ext4", "-q")
        chain = make_chain(there)
        with Store.open(there / "store") as store:
            store.add_root("mine", chain["python"])
            collection.collect_garbage(store)
        check(there / "store", chain["python"]).close()

    with_mounts(work, report=open_folder / "skipped")
