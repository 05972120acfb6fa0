"""Promises of `hermetic.collect` and `hermetic.gc`: what is deleted, what stays, at any moment."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import BuildFailure, StoreError
from hermetic.gc import collection
from hermetic.gc import plan as planning
from hermetic.gc.plan import Options
from hermetic.store import workspaces
from hermetic.store.records import Info, Reference
from hermetic.store.store import Store
from tests.support.stores import ONLY_ROOTS, alive, check, ident, write_tree

# -- the plan


def info(name: str, size: int = 10, used: int = 0) -> Info:
    return Info(name, size, 1, used, used)


def made(name: str, *inputs: str, source: bool = False) -> Reference:
    return Reference(1, name, source, inputs)


GRAPH = [
    made("archive", source=True),
    made("source", "archive", source=True),
    made("clang"),
    made("zlib", "clang", "source"),
    made("python", "zlib", "clang"),
    made("other", "clang"),
]
OBJECTS = [info(r.object, used=number) for number, r in enumerate(GRAPH)]


@pytest.mark.parametrize(
    ("options", "roots", "deleted"),
    [
        (Options(), ["python"], ["other"]),
        (Options(), ["other"], ["archive", "source", "zlib", "python"]),
        (Options(), [], [r.object for r in GRAPH]),
        (Options(keep_derivations=False), ["python"], ["archive", "source", "clang", "zlib", "other"]),
        (Options(keep_derivations=False), ["zlib"], ["clang", "python", "other"]),
        (Options(keep_sources=False), ["python"], ["archive", "source", "other"]),
        (ONLY_ROOTS, ["python"], ["archive", "source", "clang", "zlib", "other"]),
        (Options(max_freed=10), [], ["archive"]),
        (Options(max_freed=11), [], ["archive", "source"]),
        (Options(max_freed=0), [], []),
        (Options(keep_recent=1), [], ["archive", "source", "clang"]),
        (Options(), ["gone from the store"], [r.object for r in GRAPH]),
    ],
)
def test_what_is_deleted(options: Options, roots: list[str], deleted: list[str]) -> None:
    result = planning.plan(OBJECTS, GRAPH, roots, (), options, now=86400 + 3)
    assert [i.name for i in result.delete] == deleted
    assert result.frees == 10 * len(deleted)
    assert result.stays == 60 - result.frees
    assert result.live + result.kept + len(deleted) == 6


def test_what_a_process_uses_stays_by_itself() -> None:
    result = planning.plan(OBJECTS, GRAPH, [], {"zlib"}, now=0)
    assert {i.name for i in result.delete} == {"archive", "source", "clang", "python", "other"}


def test_an_object_of_two_derivations_keeps_the_inputs_of_both() -> None:
    graph = [*GRAPH, made("python", "other")]
    assert planning.plan(OBJECTS, graph, ["python"], now=0).delete == ()


def test_why_live_is_the_shortest_way() -> None:
    assert planning.why_live("clang", GRAPH, ["python"]) == ["python", "clang"]
    assert planning.why_live("archive", GRAPH, ["python"]) == ["python", "zlib", "source", "archive"]
    assert planning.why_live("python", GRAPH, ["python"]) == ["python"]
    assert planning.why_live("other", GRAPH, ["python"]) is None
    assert planning.why_live("archive", GRAPH, ["python"], ONLY_ROOTS) is None


graphs = st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 14))), max_size=15)


@given(graphs, st.sets(st.integers(0, 14)), st.booleans(), st.booleans())
def test_a_second_collection_finds_nothing(
    graph: list[tuple[bool, set[int]]], roots: set[int], derivations: bool, sources: bool
) -> None:
    options = Options(keep_derivations=derivations, keep_sources=sources)
    references = [
        made(str(n), *(str(i) for i in inputs if i < n), source=source)
        for n, (source, inputs) in enumerate(graph)
    ]
    objects = [info(r.object) for r in references]
    kept = [str(r) for r in roots]
    first = planning.plan(objects, references, kept, (), options, now=0)
    gone = {i.name for i in first.delete}
    assert not gone & set(kept)
    left = [r for r in references if r.object not in gone]
    again = planning.plan([o for o in objects if o.name not in gone], left, kept, (), options, now=0)
    assert again.delete == ()
    if derivations and sources:
        for reference in left:
            assert gone.isdisjoint(reference.inputs)


def test_what_is_a_source_and_was_also_built_counts_as_built() -> None:
    references = [made("same", source=True), made("same", "tool"), made("top", "same"), made("tool")]
    objects = [info(name) for name in ("same", "top", "tool")]
    without_sources = planning.plan(objects, references, ["top"], (), Options(keep_sources=False), now=0)
    assert without_sources.delete == ()
    without_builds = planning.plan(objects, references, ["top"], (), Options(keep_derivations=False), now=0)
    assert {i.name for i in without_builds.delete} == {"same", "tool"}


# -- carrying it out


def test_roots_keep_what_they_were_made_from(store: Store, chain: dict[str, str]) -> None:
    store.add_root("mine", chain["python"])
    outcome = collection.collect_garbage(store)
    assert outcome.deleted == (chain["other"],)
    assert outcome.freed == 75
    assert alive(store, chain) == set(chain) - {"other"}
    assert store.realisation(ident("other")) is None
    assert store.realisation(ident("zlib")) is not None
    check(store.root, chain["python"]).close()


def test_only_roots_stay_when_asked(store: Store, chain: dict[str, str]) -> None:
    store.add_root("mine", chain["python"])
    collection.collect_garbage(store, ONLY_ROOTS)
    assert alive(store, chain) == {"python"}


def test_without_roots_all_goes(store: Store, chain: dict[str, str]) -> None:
    collection.collect_garbage(store)
    assert alive(store, chain) == set()
    assert [p.name for p in store.root.iterdir()] == [".hermetic"]
    for folder in ("manifests", "realisations", "trash", "tmp"):
        assert list((store.layout.meta / folder).iterdir()) == []


def test_a_plan_touches_nothing(store: Store, chain: dict[str, str]) -> None:
    result = collection.plan(store)
    assert {i.name for i in result.delete} == set(chain.values())
    collection.leftovers(store)
    assert alive(store, chain) == set(chain)


def test_enough_is_enough(store: Store, chain: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "BATCH", 1)
    before = sum(i.size for i in store.objects())
    outcome = collection.collect_garbage(store, Options(max_freed=100))
    assert outcome.freed >= 100
    assert sum(i.size for i in store.objects()) == before - outcome.freed
    assert len(alive(store, chain)) == 6 - len(outcome.deleted)


def test_what_was_used_lately_stays(store: Store, chain: dict[str, str]) -> None:
    long_ago = int(time.time()) - 10 * 86400
    with store.database.write() as transaction:
        transaction.execute("UPDATE objects SET last_used = ?", (long_ago,))
    assert store.intact(chain["zlib"])  # a use
    collection.collect_garbage(store, Options(keep_recent=7))
    assert alive(store, chain) == {"zlib"}


def test_progress_is_told(store: Store, chain: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "BATCH", 2)
    seen: list[collection.Progress] = []
    collection.collect_garbage(store, progress=seen.append)
    assert [(p.deleted, p.total) for p in seen] == [(2, 6), (4, 6), (6, 6)]


def test_result_links_are_roots_until_they_go(store: Store, chain: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    link = tmp_path / "work" / "result"
    store.add_link_root(link, chain["zlib"])
    assert link.resolve() == store.path(chain["zlib"])
    (root,) = store.roots()
    assert (root.kind, root.name, root.object) == ("link", str(link), chain["zlib"])
    collection.collect_garbage(store)
    assert alive(store, chain) == {"zlib", "clang", "source", "archive"}
    store.add_link_root(link, chain["clang"])
    assert [r.object for r in store.roots()] == [chain["clang"]]
    collection.collect_garbage(store)
    assert alive(store, chain) == {"clang"}
    link.unlink()
    collection.collect_garbage(store)
    assert alive(store, chain) == set()
    assert list((store.layout.roots / "auto").iterdir()) == []


def test_a_link_that_points_elsewhere_is_no_root(store: Store, chain: dict[str, str], tmp_path: Path) -> None:
    link = tmp_path / "result"
    store.add_link_root(link, chain["zlib"])
    link.unlink()
    link.symlink_to("/etc/passwd")
    assert store.roots() == []
    link.unlink()
    link.symlink_to(store.path(chain["python"]) / "bin")
    assert [r.object for r in store.roots()] == [chain["python"]]
    link.unlink()
    link.write_text("precious")
    with pytest.raises(StoreError, match="is no link"):
        store.add_link_root(link, chain["zlib"])
    assert link.read_text() == "precious"


def test_roots_can_be_changed_and_removed(store: Store, chain: dict[str, str], tmp_path: Path) -> None:
    store.add_root("a", chain["zlib"])
    store.add_root("a", chain["other"])
    assert [(r.name, r.object) for r in store.roots()] == [("a", chain["other"])]
    assert abs(store.roots()[0].since - time.time()) < 60
    assert store.remove_root("a")
    assert not store.remove_root("a")
    store.add_link_root(tmp_path / "result", chain["zlib"])
    assert store.remove_root(str(tmp_path / "result"))
    assert store.roots() == []


def test_why_live_names_the_root(store: Store, chain: dict[str, str]) -> None:
    store.add_root("mine", chain["python"])
    assert collection.why_live(store, chain["source"]) == [
        "root mine",
        chain["python"],
        chain["zlib"],
        chain["source"],
    ]
    assert collection.why_live(store, chain["other"]) is None
    with store.temp_roots() as use:
        use.add(chain["other"])
        found = collection.why_live(store, chain["other"])
        assert found is not None
        assert found[0].startswith(f"in use by process {os.getpid()}: ")
        assert {r.kind for r in collection.all_roots(store)} == {"named", "process"}


def test_delete_refuses_what_is_kept(store: Store, chain: dict[str, str]) -> None:
    store.add_root("mine", chain["python"])
    for name in (chain["python"], chain["clang"]):
        with pytest.raises(StoreError, match="is in use: root mine"):
            collection.delete(store, [chain["other"], name])
    with pytest.raises(StoreError, match="is not in the store"):
        collection.delete(store, ["nothing"])
    assert alive(store, chain) == set(chain)
    assert collection.delete(store, [chain["other"]]) == 75
    assert alive(store, chain) == set(chain) - {"other"}


# -- leftovers


def test_leftovers_of_the_dead_go(store: Store, chain: dict[str, str]) -> None:
    stray = f"{ident('stray')}-stray-1"
    write_tree(store.path(stray), "x")
    (store.layout.manifests / stray).write_text("x")
    (store.layout.realisations / f"{ident('x')}.json").write_text("x")
    (store.layout.locks / "dead.build").write_text("process 1")
    old = store.log_path(ident("failed"))
    old.write_text("log")
    young = store.log_path(ident("new"))
    young.write_text("log")
    good = store.log_path(ident("zlib"))
    good.write_text("log")
    with pytest.raises(BuildFailure), store.workspace("failed", keep=True) as space:
        (space / "f").write_text("x" * 1000)
        raise BuildFailure("no")
    store.add_root("mine", chain["python"])
    with store.lock("living"):
        found = collection.collect_garbage(store).leftovers
        assert (store.layout.locks / "living.build").exists()
    assert found.unregistered == (stray,)
    assert len(found.failed) == 1
    assert found.size > 1000
    assert {f.split("/")[0] for f in found.files} == {"manifests", "realisations", "locks"}
    assert not store.path(stray).exists()
    assert store.kept_failures() == []
    assert young.exists()
    assert good.exists()


def test_kept_failures_stay_when_recent_things_stay(store: Store) -> None:
    with pytest.raises(BuildFailure), store.workspace("failed", keep=True):
        raise BuildFailure("no")
    collection.collect_garbage(store, Options(keep_recent=1))
    assert len(store.kept_failures()) == 1


def lay(path: Path, *, days: float = 0) -> Path:
    """A file that has not changed for so many days."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 100)
    AGES[path.name] = days
    return path


AGES: dict[str, float] = {}


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No program can set the time at which a file changed, so the function that reads it is replaced."""
    monkeypatch.setattr(workspaces, "age_in_days", lambda path: AGES.get(path.name, 0.0))
    yield
    AGES.clear()


@pytest.mark.usefixtures("aged")
def test_rejected_and_abandoned_downloads_go(store: Store) -> None:
    downloads, rejected = store.layout.downloads, store.layout.rejected
    gone = [
        lay(rejected / "zlib.tar.gz-abc"),
        lay(downloads / "a.part", days=8),
        lay(downloads / "finished.tar.gz", days=8),
        lay(downloads / "lost.part.json", days=8),
    ]
    notes = [lay(downloads / "a.part.json", days=9), lay(downloads / "b.part.json", days=9)]
    stay = [
        lay(downloads / "b.part", days=6),
        lay(downloads / "new.tar.gz"),
        lay(downloads / "c.part", days=8),
    ]
    fd = os.open(stay[-1], os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)  # as by a process that downloads it
    found = collection.collect_garbage(store).leftovers
    os.close(fd)
    assert sorted(found.downloads) == sorted(os.fspath(p.relative_to(downloads)) for p in gone)
    assert found.size == 400
    assert [p for p in (*gone, notes[0]) if p.exists()] == []
    assert [p for p in (*stay, notes[1]) if not p.exists()] == []
    assert collection.leftovers(store).downloads == ("c.part",)  # nobody holds it any more


@pytest.mark.usefixtures("aged")
def test_rejected_downloads_stay_when_recent_things_stay(store: Store) -> None:
    young, old = lay(store.layout.rejected / "young"), lay(store.layout.rejected / "old", days=2)
    collection.collect_garbage(store, Options(keep_recent=1))
    assert (young.exists(), old.exists()) == (True, False)


@pytest.mark.usefixtures("aged")
def test_downloads_behind_a_link_are_not_the_stores_own(store: Store, tmp_path: Path) -> None:
    kept = lay(tmp_path / "shared/rejected/x", days=100)
    store.layout.downloads.symlink_to(tmp_path / "shared")
    collection.collect_garbage(store)
    assert kept.exists()


def test_strange_files_in_the_store_are_left_alone(store: Store) -> None:
    (store.root / ".gitkeep").touch()
    (store.root / "notes").touch()
    collection.collect_garbage(store)
    assert (store.root / "notes").exists()
    assert (store.root / ".gitkeep").exists()
