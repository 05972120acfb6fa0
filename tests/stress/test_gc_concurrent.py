"""Promises of `hermetic.gc`: beside builds, other collections and kills, nothing needed is lost."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from pathlib import Path

import pytest

from hermetic import tree
from hermetic.gc import collection
from hermetic.store import integrity
from hermetic.store.store import Store
from tests.support.stores import (
    ONLY_ROOTS,
    ROUNDS,
    STEP,
    WRITES,
    alive,
    check,
    crash_at,
    ended,
    forked,
    ident,
    put,
    small_disk,
    write_tree,
)


def test_what_a_process_uses_or_has_made_stays_while_it_lives(store: Store, chain: dict[str, str]) -> None:
    with store.temp_roots() as use:
        use.add(chain["zlib"])
        with Store.open(store.root) as other:
            fresh = put(other, "fresh")
            collection.collect_garbage(store)
            assert alive(store, chain) == {"zlib"}
            assert store.intact(fresh)
        collection.collect_garbage(store)
        assert not store.intact(fresh)
    collection.collect_garbage(store)
    assert alive(store, chain) == set()


def test_who_looks_at_processes_disturbs_none_that_is_just_starting(
    store: Store, chain: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making its file and locking it, a process looks dead. (The stress test found it.)"""
    real = fcntl.flock
    looked = False

    def flock(file: int, mode: int) -> None:
        nonlocal looked
        if not looked and "/temproots/" in str(Path(f"/proc/self/fd/{file}").readlink()):
            looked = True
            collection.plan(store)
            collection.why_live(store, chain["zlib"])
            collection.all_roots(store)
        real(file, mode)

    monkeypatch.setattr(fcntl, "flock", flock)
    with store.temp_roots() as use:
        use.add(chain["zlib"])
        monkeypatch.undo()
        assert looked
        collection.collect_garbage(store)
        assert alive(store, chain) == {"zlib"}


def test_what_a_killed_process_used_goes(store: Store, chain: dict[str, str]) -> None:
    ready = os.pipe()

    def work() -> None:
        with Store.open(store.root) as mine:
            use = mine.temp_roots()
            use.add(chain["zlib"])
            os.write(ready[1], b"x")
            time.sleep(60)

    child = forked(work)
    os.read(ready[0], 1)
    collection.collect_garbage(store)
    assert alive(store, chain) == {"zlib"}
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    collection.collect_garbage(store)
    assert alive(store, chain) == set()
    assert list(store.layout.temp_roots.iterdir()) == []


def test_a_root_made_while_a_collection_runs_counts(
    store: Store, chain: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "BATCH", 1)

    def progress(state: collection.Progress) -> None:
        if state.deleted == 1:
            with Store.open(store.root) as other:
                left = [i.name for i in other.objects()]
                other.add_root("late", chain["other"] if chain["other"] in left else left[0])

    collection.collect_garbage(store, progress=progress)
    (root,) = store.roots()
    assert store.intact(root.object)


def test_an_input_of_something_made_while_a_collection_runs_stays(
    store: Store, chain: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rooted object gets a second realisation, made from what was about to be deleted."""
    monkeypatch.setattr(collection, "BATCH", 1)
    store.add_root("mine", chain["clang"])

    def progress(state: collection.Progress) -> None:
        if state.deleted == 1:
            with Store.open(store.root) as other:
                put(other, "clang", drv="clang again", inputs=(chain["python"],))

    collection.collect_garbage(store, progress=progress)
    assert {"clang", "python"} <= alive(store, chain)


def test_a_kill_at_any_instant_of_a_collection_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        live = put(store, "live")
        store.add_root("live", live)
    call, crashes = 1, 0
    while True:
        with Store.open(path) as store:
            dead = [put(store, f"dead {n}") for n in range(3)]
        crashed = crash_at(call, lambda: collection.collect_garbage(Store.open(path)), only=WRITES)
        with check(path, live) as store:
            for name in dead:
                if store.info(name) is not None:
                    assert store.intact(name)
            again = put(store, "dead 1")
            assert store.intact(again)
        with Store.open(path) as store:
            collection.collect_garbage(store)
            assert [i.name for i in store.objects()] == [live]
            assert sorted(p.name for p in path.iterdir()) == sorted([".hermetic", live])
            assert len(list(store.layout.manifests.iterdir())) == 1
            assert len(list(store.layout.realisations.iterdir())) == 1
            assert list(store.layout.trash.iterdir()) == []
        if not crashed:
            break
        crashes += 1
        call += STEP
    assert crashes > 5


@pytest.mark.parametrize("known_good", [False, True])
def test_a_completely_full_disk_can_be_collected(tmp_path: Path, known_good: bool) -> None:
    """Whether the database must be looked at as a whole when it is opened, or is first read later."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        path = disk / "store"
        with Store.open(path) as store:
            for number in range(100):
                put(store, f"o{number}")
        if not known_good:
            (path / ".hermetic/db.checked").unlink()
        with (disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
            while True:
                file.write(bytes(4096))
        with Store.open(path) as store:
            assert len(collection.plan(store).delete) == 100
        with Store.open(path) as store:  # the first has put back what it needed
            assert len(collection.plan(store).delete) == 100
            assert len(collection.collect_garbage(store).deleted) == 100
            assert store.layout.reserve.stat().st_size > 0 or os.statvfs(disk).f_bavail == 0
        check(path).close()


def _builder(path: Path, seed: int, rounds: int) -> None:
    """Builds things from things, as `realize` does, and checks that nothing is taken away meanwhile."""
    dice = random.Random(seed)
    with Store.open(path) as store:
        for round_ in range(rounds):
            with store.temp_roots() as use:
                inputs = []
                for number in dice.sample(range(12), 3):
                    drv = f"input {number}"
                    with store.lock(ident(drv)):
                        found = store.realisation(ident(drv))
                        if found is not None:
                            use.add(found.object)
                        if found is None or not store.intact(found.object):
                            with store.workspace("w") as space:
                                name = store.add(
                                    write_tree(space / "t", drv),
                                    "thing",
                                    "1.0",
                                    drv_id=ident(drv),
                                    build_key=ident(drv),
                                    system="s",
                                    temp_roots=use,
                                )
                        else:
                            name = found.object
                    inputs.append(name)
                time.sleep(dice.random() * 0.003)  # the build
                for name in inputs:
                    assert (store.path(name) / "share/text").read_text(), name
                    assert store.info(name) is not None, name
                with store.workspace("w") as space:
                    out = store.add(
                        write_tree(space / "t", f"out {seed} {round_ % 5}"),
                        "thing",
                        "1.0",
                        drv_id=ident(f"out {seed} {round_ % 5}"),
                        build_key=ident(f"out {seed} {round_ % 5}"),
                        system="s",
                        inputs=tuple(inputs),
                        temp_roots=use,
                    )
                assert store.intact(out)
                store.add_root(f"root-{seed}", out)
            # No longer in use, but a root keeps it, and what it was made from.
            time.sleep(dice.random() * 0.002)
            for name in (out, *inputs):
                assert store.intact(name), f"{name} was lost although a root keeps it"


def _collector(path: Path, until: Path) -> None:
    with Store.open(path) as store:
        while not until.exists():
            collection.collect_garbage(store)


def test_collections_beside_builds_take_nothing_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "BATCH", 2)
    path, end = tmp_path / "store", tmp_path / "end"
    Store.open(path).close()
    collectors = [forked(lambda: _collector(path, end)) for _ in range(2)]
    victim = forked(lambda: _builder(path, 99, 10**6))
    builders = [forked(lambda s=s: _builder(path, s, ROUNDS)) for s in range(2)]  # type: ignore[misc]
    try:
        codes = []
        for child in builders:
            codes.append(ended(child, within=600))
            os.kill(victim, signal.SIGKILL)  # in the midst of whatever it does
            assert ended(victim) == -signal.SIGKILL
            victim = forked(lambda: _builder(path, 99, 10**6))
    finally:
        end.touch()
        os.kill(victim, signal.SIGKILL)
        ended(victim)
        assert [ended(child) for child in collectors] == [0, 0]
    assert codes == [0, 0]
    with check(path) as store:
        for root in store.roots():
            if root.name != "root-99":
                assert store.intact(root.object)
        collection.collect_garbage(store, ONLY_ROOTS)
        assert len(store.objects()) <= 3
    assert integrity.verify(Store.open(path)).clean
    tree.remove(path)
