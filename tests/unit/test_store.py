"""Promises of `hermetic.store`: adding, looking up, locks, what it keeps beside objects."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from pathlib import Path

import pytest

from hermetic import tree
from hermetic.errors import BuildFailure, StoreError, UsageError
from hermetic.store import cache, flocks, integrity
from hermetic.store.flocks import Stopped
from hermetic.store.store import Store
from tests.support.stores import (
    ROUNDS,
    check,
    ended,
    forked,
    ident,
    put,
    realisation,
    write_tree,
)

# -- adding and looking up


def test_an_object_is_named_by_its_content(store: Store) -> None:
    name = put(store, "a")
    path = store.path(name)
    assert name == f"{tree.scan(path).content_hash}-thing-1.0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o555
    assert path.stat().st_mtime_ns == 0
    assert (path / "bin/tool").read_text() == "#!/bin/sh\necho a\n"


def test_object_and_realisation_are_found_again(store: Store, tmp_path: Path) -> None:
    base = put(store, "base")
    name = put(store, "a", inputs=(base, base), system="aarch64-linux-musl")
    store.close()
    with Store.open(tmp_path / "store") as again:
        found = again.realisation(ident("a"))
        assert found is not None
        assert found == again.realisation_by_key(ident("key of a"))
        assert (found.object, found.inputs, found.seconds) == (name, (base,), 1.5)
        assert (found.name, found.version, found.system) == ("thing", "1.0", "aarch64-linux-musl")
        assert abs(found.built_at - time.time()) < 60
        info = again.info(name)
        assert info is not None
        assert (info.size, info.files) == (31, 3)
        assert [i.name for i in again.objects()] == sorted([base, name])
        assert again.intact(name)
        assert again.manifest(name) == tree.scan(again.path(name))
        assert again.realisations_of(name) == [found]


def test_the_directory_of_a_store_may_have_any_name(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"100%25 a?mode=memory#b &c \xc3\xa9 \xff")
    with Store.open(root, create=True) as store:
        name = put(store, "a")
    with Store.open(root) as again:
        assert again.info(name) is not None
    assert os.listdir(tmp_path) == [root.name]


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.realisation(ident("x")) is None
    assert store.realisation_by_key(ident("x")) is None
    assert store.info(f"{ident('x')}-x-1") is None
    assert not store.intact(f"{ident('x')}-x-1")


def test_a_single_file_can_be_an_object(store: Store) -> None:
    with store.workspace("file") as space:
        (space / "f").write_bytes(b"x")
        name = store.add(space / "f", "source.tar.xz", "1")
    assert store.path(name).read_bytes() == b"x"
    assert stat.S_IMODE(store.path(name).stat().st_mode) == 0o444
    assert store.intact(name)
    assert store.realisations() == []


def test_adding_twice_gives_one_object_and_two_realisations(store: Store) -> None:
    first, second = put(store, "a"), put(store, "a", drv="other")
    assert first == second
    assert len(store.objects()) == 1
    assert {r.drv_id for r in store.realisations_of(first)} == {ident("a"), ident("other")}


def test_record_adds_a_realisation_of_an_object_that_is_there(store: Store) -> None:
    name = put(store, "a")
    store.record(realisation(object=name, drv_id=ident("other")))
    assert store.realisation(ident("other")) == realisation(object=name, drv_id=ident("other"))
    with pytest.raises(StoreError, match="is not in the store"):
        store.record(realisation())


def test_nothing_is_left_beside_the_object(store: Store) -> None:
    name = put(store, "a")
    assert [p.name for p in store.root.iterdir() if p.name != ".hermetic"] == [name]
    for folder in (store.layout.tmp, store.layout.trash):
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "..", ".x", "a b", "ä", "x\n"])
def test_odd_names_are_refused(store: Store, name: str) -> None:
    with store.workspace("x") as space:
        write_tree(space / "t", "a")
        with pytest.raises(StoreError, match="cannot be part"):
            store.add(space / "t", name, "1")


def test_a_tree_on_another_file_system_is_copied(store: Store) -> None:
    other = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        write_tree(other / "t", "a")
        name = store.add(other / "t", "thing", "1.0")
        assert store.intact(name)
        assert not (other / "t").exists()
    finally:
        shutil.rmtree(other)


def test_an_existing_project_folder_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".gitkeep").touch()
    Store.open(tmp_path / "store").close()
    assert (tmp_path / "store" / ".gitkeep").exists()


def test_no_store_is_made_unless_asked(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreError, match="there is no store"):
            Store.open(tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()


def test_opening_is_quick(store: Store, tmp_path: Path) -> None:
    put(store, "a")
    store.close()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        Store.open(tmp_path / "store").close()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.003


def test_threads_share_a_store(store: Store) -> None:
    names: list[str] = []
    threads = [threading.Thread(target=lambda i=i: names.append(put(store, f"t{i}"))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 8
    assert integrity.verify(store).clean


# -- two processes


def test_processes_can_make_the_same_store_at_once(tmp_path: Path) -> None:
    children = [
        forked(lambda i=i: put(Store.open(tmp_path / "store"), f"p{i}"))  # type: ignore[misc]
        for i in range(6)
    ]
    assert [ended(child) for child in children] == [0] * 6
    assert len(check(tmp_path / "store").objects()) == 6


def test_processes_can_add_the_same_object_at_once(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()

    def work() -> None:
        with Store.open(tmp_path / "store") as mine:
            for number in range(ROUNDS):
                assert mine.intact(put(mine, f"same {number}"))

    children = [forked(work) for _ in range(3)]
    assert [ended(child) for child in children] == [0] * 3
    with check(tmp_path / "store") as store:
        assert len(store.objects()) == ROUNDS


def test_the_second_waits_and_learns_for_whom(store: Store, tmp_path: Path) -> None:
    ready, go = os.pipe(), os.pipe()

    def hold() -> None:
        with Store.open(tmp_path / "store").lock("key", label="zlib-1.3.1"):
            os.write(ready[1], b"x")
            os.read(go[0], 1)

    child = forked(hold)
    os.read(ready[0], 1)
    told: list[str] = []

    def on_wait(holder: str) -> None:
        told.append(holder)
        os.write(go[1], b"x")

    with store.lock("key", on_wait, label="mine"):
        assert told
        assert told[0].startswith(f"process {child}: ")
        assert told[0].endswith("(zlib-1.3.1)")
    assert ended(child) == 0
    assert not list(store.layout.locks.glob("*.build"))


def test_a_lock_dies_with_its_process(store: Store, tmp_path: Path) -> None:
    ready = os.pipe()

    def hold() -> None:
        with Store.open(tmp_path / "store").lock("key"):
            os.write(ready[1], b"x")
            time.sleep(60)

    child = forked(hold)
    os.read(ready[0], 1)
    os.kill(child, signal.SIGKILL)
    with store.lock("key"):
        pass
    assert ended(child) == -signal.SIGKILL


def test_waiting_can_be_stopped(store: Store) -> None:
    stop = threading.Event()
    with store.lock("key"):
        threading.Timer(0.05, stop.set).start()
        start = time.monotonic()
        with pytest.raises(Stopped), store.lock("key", stop=stop):
            pass
        assert time.monotonic() - start < 1


def test_locks_exclude_and_their_files_vanish(store: Store) -> None:
    inside = 0
    worst = 0

    def work() -> None:
        nonlocal inside, worst
        for _ in range(20):
            with store.lock("key"):
                inside += 1
                worst = max(worst, inside)
                time.sleep(0.0002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == 1
    assert not list(store.layout.locks.glob("*.build"))


# -- workspaces


def test_a_workspace_is_private_and_removed(store: Store) -> None:
    with store.workspace("build-a/b c") as space:
        assert list(space.iterdir()) == []
        (space / "x").mkdir()
        (space / "x").chmod(0)
        Store.open(store.root).close()  # sweeps, but not ours: we live
        assert space.is_dir()
    assert not space.exists()


def test_a_workspace_of_a_dead_process_is_removed_at_open(store: Store, tmp_path: Path) -> None:
    def work() -> None:
        with Store.open(tmp_path / "store").workspace("dead") as space:
            write_tree(space / "t", "x")
            os._exit(0)

    assert ended(forked(work)) == 0
    assert len(list(store.layout.tmp.iterdir())) == 1
    Store.open(tmp_path / "store").close()
    assert list(store.layout.tmp.iterdir()) == []
    assert list(store.layout.trash.iterdir()) == []


def test_failed_builds_are_kept_when_asked(store: Store) -> None:
    for keep in (True, False):
        with pytest.raises(BuildFailure), store.workspace("build-zlib", keep=keep) as space:
            (space / "evidence").write_text(str(keep))
            raise BuildFailure("no")
    (kept,) = store.kept_failures("build-zlib")
    assert (kept / "evidence").read_text() == "True"


# -- beside objects


def test_cached_values_are_kept_and_bounded(store: Store) -> None:
    directory = store.layout.eval
    cache.write(directory, "k/..", b"value")
    assert cache.read(directory, "k/..") == b"value"
    assert cache.read(directory, "other") is None
    for number in range(40):
        cache.write(directory, str(number), b"x")
        os.utime(max(directory.iterdir(), key=lambda p: p.stat().st_mtime_ns))
    assert len(list(directory.iterdir())) == cache.KEPT
    assert cache.read(directory, "39") == b"x"


def test_a_damaged_cached_value_is_none(store: Store) -> None:
    cache.write(store.layout.eval, "k", b"value" * 100)
    (path,) = store.layout.eval.iterdir()
    os.truncate(path, 100)
    assert cache.read(store.layout.eval, "k") is None


def test_what_cannot_be_cached_is_no_error(tmp_path: Path) -> None:
    cache.write(tmp_path / "missing", "k", b"value")
    assert cache.read(tmp_path / "missing", "k") is None


def test_logs_are_found_by_label(store: Store) -> None:
    for label, text in (("zlib-1.3.1-x86_64", "old"), ("zlib-1.3.1-aarch64", "new")):
        store.log_path(ident(text), label).write_text(text)
        time.sleep(0.02)
    found = store.find_log("zlib-1.3.1-x86_64")
    assert found is not None
    assert found.read_text() == "old"
    found = store.find_log("zlib")
    assert found is not None
    assert found.read_text() == "new"
    assert store.find_log("zli") is None
    assert store.find_log("../../version") is None


def test_holders_describe_themselves() -> None:
    assert flocks.describe("x").startswith(f"process {os.getpid()}: ")


def test_root_names_are_checked(store: Store) -> None:
    name = put(store, "a")
    for odd in ("", "a/b", "..", "auto", "-x", "x" * 101):
        with pytest.raises(UsageError):
            store.add_root(odd, name)
    with pytest.raises(StoreError, match="is not in the store"):
        store.add_root("x", f"{ident('x')}-x-1")
