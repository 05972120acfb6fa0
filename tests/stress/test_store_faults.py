"""Promises of `hermetic.store`: killed at any instant, on any disk, it loses nothing."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hermetic.errors import StoreError
from hermetic.store import integrity
from hermetic.store.store import Store
from tests.support.stores import (
    ALTERATIONS,
    NOBODY,
    ROUNDS,
    STEP,
    WRITES,
    as_ordinary_user,
    check,
    crash_at,
    ended,
    forked,
    ident,
    put,
    rewrite,
    small_disk,
)

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
        call += STEP
    assert crashes > 5
    assert states == {True, False}


def test_a_kill_while_mending_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        name, other = put(store, "a"), put(store, "b")

    def work() -> None:
        with Store.open(path) as mine:
            integrity.repair(mine, name, rewrite("a"))

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
    assert call > 20, "nearly nothing was interrupted"


def test_a_kill_while_the_store_is_made_is_no_harm(tmp_path: Path) -> None:
    call, crashed = 1, True
    while crashed:
        path = tmp_path / f"store{call}"
        crashed = crash_at(call, lambda path=path: Store.open(path).close(), only=WRITES)  # type: ignore[misc]
        with Store.open(path) as store:
            put(store, "a")
        check(path).close()
        call += STEP
    assert call > 5 * STEP, "nearly nothing was interrupted"


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store.open(path).close()
    dice = random.Random(5)
    done = os.pipe()

    def work(seed: int) -> None:
        with Store.open(path) as mine:
            for number in range(1000):
                name = put(mine, f"{seed} {number}")
                os.write(done[1], f"{name}\n".encode())

    promised: list[str] = []
    for round_ in range(ROUNDS):
        children = [forked(lambda s=2 * round_ + i: work(s)) for i in range(2)]  # type: ignore[misc]
        promised += os.read(done[0], 1 << 20).decode().splitlines()  # waits until one of them has begun
        time.sleep(dice.uniform(0, 0.05))
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert [ended(child) for child in children] == [-signal.SIGKILL] * 2
        if select.select([done[0]], [], [], 0)[0]:
            promised += os.read(done[0], 1 << 20).decode().splitlines()
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
    failures = 0
    with small_disk(tmp_path / "disk", "2m") as disk:
        for leave in range(0, 200_000, 8192):
            ballast = _fill(disk, leave)
            path = disk / f"s{leave}"
            try:
                Store.open(path).close()
            except StoreError as error:
                failures += 1
                assert "no space left" in error.message, error.message
            ballast.unlink()
            check(path).close()
            shutil.rmtree(path)
    assert failures > 0


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
        from hermetic.gc import collection

        with Store.open(open_folder / "store") as store:
            name, other = put(store, "a"), put(store, "b")
            ALTERATIONS["content"](store.path(name))
            assert put(store, "a") == name
            ALTERATIONS["content"](store.path(name))
            integrity.repair(store, name, rewrite("a"))
            store.add_root("keep", name)
            assert put(store, "b") == other
        with check(open_folder / "store", name, other) as store:
            assert collection.collect_garbage(store).deleted == (other,)
        check(open_folder / "store", name).close()

    as_ordinary_user(work)
