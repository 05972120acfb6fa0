"""Promises of `hermetic.store`: adding, looking up, locks, damage."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermetic import tree
from hermetic.errors import BuildFailure, HashMismatch, StoreError, UsageError
from hermetic.store import Realisation, Stopped, Store, flocks, integrity, registering
from hermetic.store.rebuilding import rebuild_db
from tests.store_support import (
    NOBODY,
    WRITES,
    as_ordinary_user,
    check,
    crash_at,
    ended,
    forked,
    ident,
    put,
    realisation,
    small_disk,
    write_tree,
)

ROUNDS = int(os.environ.get("HERMETIC_TEST_ROUNDS", "15"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


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


# -- alterations


def _append(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x")
    path.chmod(0o444)
    os.utime(path, ns=(0, 0))


def _add(root: Path) -> None:
    (root / "share").chmod(0o755)
    (root / "share/new").touch()


def _remove(root: Path) -> None:
    (root / "bin").chmod(0o755)
    (root / "bin/tool").unlink()


def _retarget(root: Path) -> None:
    (root / "share").chmod(0o755)
    (root / "share/link").unlink()
    (root / "share/link").symlink_to("else")


ALTERATIONS: dict[str, Callable[[Path], None]] = {
    "content": lambda root: _append(root / "share/text"),
    "mode": lambda root: (root / "bin/tool").chmod(0o444),
    "added": _add,
    "removed": _remove,
    "retargeted": _retarget,
    "gone": tree.remove,
}


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


def test_a_look_at_a_large_object_is_cheap(store: Store) -> None:
    with store.workspace("large") as space:
        for number in range(3000):
            path = space / "t" / str(number % 50) / str(number)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(str(number))
        name = store.add(space / "t", "large", "1")
    times = []
    for _ in range(10):
        start = time.perf_counter()
        assert store.intact(name)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.002
    for path in (store.path(name) / "7", store.path(name) / "49"):
        path.chmod(0o755)
        (path / "new").touch()
        assert not store.intact(name)
        (path / "new").unlink()
        assert store.intact(name)


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


def _rewrite(text: str) -> Callable[[list[Realisation], Path], Path]:
    return lambda _made, space: write_tree(space / "again", text)


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
        integrity.repair(store, name, _rewrite("b"))
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


# -- crashes


def test_a_kill_at_any_instant_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        base = put(store, "base")
    call, crashes, states = 1, 0, set()
    while True:
        text = f"crash {call}"

        def work(text: str = text) -> None:
            with Store.open(path) as mine:
                put(mine, text, inputs=(base,))

        crashed = crash_at(call, work, only=WRITES)
        with check(path, base) as store:
            found = store.realisation(ident(text))
            states.add(found is not None)
            if found is not None:
                assert store.intact(found.object)
            if not crashed:
                break
            crashes += 1
            assert store.intact(put(store, text))
        call += 1
    assert crashes > 10
    assert states == {True, False}


def test_a_kill_while_mending_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        name, other = put(store, "a"), put(store, "b")

    def work() -> None:
        with Store.open(path) as mine:
            integrity.repair(mine, name, _rewrite("a"))

    call, crashed = 1, True
    while crashed:
        if (path / name).exists():
            with Store.open(path) as store:
                if store.intact(name):
                    ALTERATIONS["content"](path / name)
        crashed = crash_at(call, work, only=WRITES)
        with Store.open(path) as store:
            assert (path / name).exists(), "the old one was removed before the right bytes were there"
            assert store.info(name) is not None
            assert store.intact(other)
        call += 1
    check(path, name, other).close()


def test_a_kill_while_the_store_is_made_is_no_harm(tmp_path: Path) -> None:
    call, crashed = 1, True
    while crashed:
        path = tmp_path / f"store{call}"
        crashed = crash_at(call, lambda path=path: Store.open(path).close(), only=WRITES)  # type: ignore[misc]
        with Store.open(path) as store:
            put(store, "a")
        check(path).close()
        call += 1


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store.open(path).close()
    dice = random.Random(5)
    done = os.pipe()
    os.set_blocking(done[0], False)

    def work(seed: int) -> None:
        with Store.open(path) as mine:
            for number in range(1000):
                name = put(mine, f"{seed} {number}")
                os.write(done[1], f"{name}\n".encode())

    promised: list[str] = []
    for round_ in range(ROUNDS):
        children = [forked(lambda s=2 * round_ + i: work(s)) for i in range(2)]  # type: ignore[misc]
        time.sleep(dice.uniform(0.005, 0.08))
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert [ended(child) for child in children] == [-signal.SIGKILL] * 2
        try:
            promised += os.read(done[0], 1 << 20).decode().splitlines()
        except BlockingIOError:
            continue
    assert promised
    check(path, *promised).close()


# -- disks


def _fill(folder: Path, leave: int) -> Path:
    """Use up a disk but for some bytes."""
    status = os.statvfs(folder)
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(4096, status.f_bavail * status.f_frsize - leave))
    return ballast


def test_a_full_disk_at_any_point_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        path = disk / "store"
        with Store.open(path) as store:
            base = put(store, "base")
        failures = 0
        for point in range(40):
            ballast = _fill(disk, leave=point * 4096)
            text = f"full {point}"
            try:
                with Store.open(path) as store:
                    put(store, text)
            except StoreError as error:
                failures += 1
                assert "no space left" in error.message, error.message
                assert "MB" in error.message
                assert error.hint
                assert os.fspath(disk) in error.message
            except OSError as error:  # from the test's own writing into the workspace
                failures += 1
                assert error.errno == 28
            ballast.unlink()
            with check(path, base) as store:
                assert integrity.verify(store).unregistered == (), "half-written things stay"
                assert store.intact(put(store, text))
        assert 0 < failures < 40


def test_a_store_that_cannot_be_made_for_lack_of_space_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        for leave in range(0, 200_000, 8192):
            ballast = _fill(disk, leave)
            path = disk / f"s{leave}"
            try:
                Store.open(path).close()
            except StoreError as error:
                assert "no space left" in error.message, error.message
            ballast.unlink()
            check(path).close()
            shutil.rmtree(path)


def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        with Store.open(disk / "store") as store:
            name = put(store, "a")
        subprocess.run(["mount", "-o", "remount,ro", os.fspath(disk)], check=True)
        with pytest.raises(StoreError, match="Read-only file system") as caught:
            Store.open(disk / "store")
        assert caught.value.hint
        with Store.open(disk / "store", read_only=True) as store:
            assert store.intact(name)
            assert integrity.verify(store).clean
            assert store.realisation(ident("a")) is not None


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that ordinary users can reach, too."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    tree.remove(path)


def test_a_store_of_someone_else_is_refused_but_can_be_read(open_folder: Path) -> None:
    with Store.open(open_folder / "store") as store:
        name = put(store, "a")
    if os.geteuid() != 0:
        pytest.skip("needs two users")

    def work() -> None:
        with pytest.raises(StoreError, match="Permission denied") as caught:
            Store.open(open_folder / "store")
        assert str(NOBODY) in str(caught.value.hint)
        with Store.open(open_folder / "store", read_only=True) as store:
            assert store.intact(name)

    as_ordinary_user(work)


def test_an_ordinary_user_can_do_everything(open_folder: Path) -> None:
    """Root may rename and delete in read-only folders; others may not, which hides mistakes from root."""
    open_folder.chmod(0o777)

    def work() -> None:
        from hermetic import gc

        with Store.open(open_folder / "store") as store:
            name, other = put(store, "a"), put(store, "b")
            ALTERATIONS["content"](store.path(name))
            assert put(store, "a") == name
            ALTERATIONS["content"](store.path(name))
            integrity.repair(store, name, _rewrite("a"))
            store.add_root("keep", name)
            assert put(store, "b") == other
        with check(open_folder / "store", name, other) as store:
            assert gc.collect_garbage(store).deleted == (other,)
        check(open_folder / "store", name).close()

    as_ordinary_user(work)


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


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_database_is_detected_at_open_and_rebuilt(store: Store, tmp_path: Path, how: str) -> None:
    base = put(store, "base")
    for number in range(40):
        put(store, f"o{number}", inputs=(base,))
    store.add_root("keep", base)
    before = _content(store)
    store.close()
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


def test_a_kill_while_rebuilding_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        name = put(store, "a")
    call, crashed = 1, True
    while crashed:
        crashed = crash_at(call, lambda: rebuild_db(path), only=WRITES)
        rebuild_db(path)
        check(path, name).close()
        call += 1


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


# -- beside objects


def test_evaluations_are_kept_and_bounded(store: Store) -> None:
    store.put_eval("k/..", b"value")
    assert store.get_eval("k/..") == b"value"
    assert store.get_eval("other") is None
    for number in range(40):
        store.put_eval(str(number), b"x")
        os.utime(max(store.layout.eval.iterdir(), key=lambda p: p.stat().st_mtime_ns))
    assert len(list(store.layout.eval.iterdir())) == 32
    assert store.get_eval("39") == b"x"


def test_a_damaged_evaluation_is_none(store: Store) -> None:
    store.put_eval("k", b"value" * 100)
    (path,) = store.layout.eval.iterdir()
    os.truncate(path, 100)
    assert store.get_eval("k") is None


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
