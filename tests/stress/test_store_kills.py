"""Promises of the store's maintenance: killed at any instant, it has lost nothing and can be repeated.

Each test kills at one call after the other, and counts how often it interrupted something: at least as
often as the work has calls that write.
"""

from __future__ import annotations

import os
from pathlib import Path

from hermetic.store.optimising import optimise
from hermetic.store.rebuilding import rebuild_db
from hermetic.store.store import Store
from tests.support.stores import STEP, WRITES, check, crash_at, put
from tests.unit.test_store_optimise import fill
from tests.unit.test_store_recovering import killed_with, log_of


def test_a_kill_while_rebuilding_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path) as store:
        name = put(store, "a")
    call, crashed = 1, True
    while crashed:
        crashed = crash_at(call, lambda: rebuild_db(path), only=WRITES)
        rebuild_db(path)
        check(path, name).close()
        call += STEP
    assert call > 5 * STEP, "nearly nothing was interrupted"


def test_a_kill_while_optimising_leaves_all_objects_right(tmp_path: Path) -> None:
    tried = 0
    for call in range(1, 10_000, STEP):
        path = tmp_path / str(call)
        with Store.open(path) as store:
            names = [*fill(store, "a", "b"), put(store, "c")]
        tried += 1
        crashed = crash_at(call, lambda path=path: optimise(Store.open(path)), only=WRITES | {"link"})  # type: ignore[misc]
        check(path, *names).close()
        if not crashed:
            break
    assert tried > 10


def test_a_kill_while_recovering_is_no_harm(tmp_path: Path) -> None:
    tried = 0
    for call in range(1, 10_000, STEP):
        path = tmp_path / str(call) / "store"
        path.parent.mkdir()
        names = killed_with(path, "a", "b")
        os.truncate(log_of(path), 0)
        tried += 1
        crashed = crash_at(call, lambda path=path: Store.open(path), only=WRITES)  # type: ignore[misc]
        check(path, *names).close()
        if not crashed:
            break
    assert tried > 3
