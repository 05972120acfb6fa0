"""Where results of others come from: another store, a directory with a list, a list."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.errors import HermeticError
from hermetic.store import published
from hermetic.store.store import Store
from hermetic.verify.agreement import LIST, theirs
from tests.support.stores import put

SYSTEM = "x86_64-linux-musl"


def test_a_store_a_directory_and_a_list_say_the_same(store: Store, tmp_path: Path) -> None:
    put(store, "a", system=SYSTEM)
    put(store, "b", system=SYSTEM, inputs=(put(store, "c", system=""),))
    mine = store.realisations()
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / LIST).write_bytes(published.format(mine))
    for place in (store.root, tmp_path / "published", tmp_path / "published" / LIST):
        table = published.agreement(mine, theirs(str(place)))
        assert [row.verdict for row in table.rows] == ["agree"] * 3
        assert published.format(theirs(str(place))) == published.format(mine)


def test_another_store_is_only_read(store: Store, tmp_path: Path) -> None:
    put(store, "a", system=SYSTEM)
    store.close()
    before = {p: p.lstat().st_mtime_ns for p in store.layout.meta.rglob("*")}
    assert len(theirs(str(store.root))) == 1
    assert {p: p.lstat().st_mtime_ns for p in store.layout.meta.rglob("*") if p in before} == before


@pytest.mark.parametrize("place", ["missing", "."])
def test_what_is_no_list_is_said_with_what_would_be_one(place: str, tmp_path: Path) -> None:
    with pytest.raises(HermeticError) as caught:
        theirs(str(tmp_path / place))
    assert str(tmp_path / place) in caught.value.message
    assert LIST in (caught.value.hint or "")
