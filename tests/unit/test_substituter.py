"""What every substituter promises, and what is done with the answers of those that do not keep it."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from blake3 import blake3

from hermetic import tree
from hermetic.derivation.step import Step
from hermetic.derivation.value import Build, Fetch, build_key, derivation_id
from hermetic.errors import HashMismatch, StoreError, SubstituterError, UsageError
from hermetic.realize.events import Event, Notice
from hermetic.realize.store_substituter import StoreSubstituter
from hermetic.realize.substituter import Substituter, Substituters, expected_content
from hermetic.store.integrity import verify
from hermetic.store.names import content_hash_of
from hermetic.store.records import Realisation
from hermetic.store.store import Store
from tests.support.stores import as_ordinary_user, ended, forked, ident, put, write_tree

NEVER = threading.Event()


class Shelf(Protocol):
    """A substituter of one kind, and how it comes to have something."""

    @property
    def substituter(self) -> Substituter:
        """It."""

    def put(self, text: str) -> Realisation:
        """Have the object and the realisation that `tests.support.stores.put` makes of a text."""

    def damage(self, name: str) -> None:
        """Change the content of an object."""

    def lose(self, name: str) -> None:
        """Have an object no longer, without knowing it."""

    def break_down(self) -> None:
        """Be able to answer nothing."""


class StoreShelf:
    """Another store on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "other"
        Store.open(self.folder).close()
        self.substituter = StoreSubstituter(self.folder)

    def put(self, text: str) -> Realisation:
        with Store.open(self.folder) as store:
            put(store, text)
            made = store.realisation(ident(text))
            assert made is not None
            return made

    def damage(self, name: str) -> None:
        path = self.folder / name / "share/text"
        path.chmod(0o644)
        path.write_text("damaged")

    def lose(self, name: str) -> None:
        shutil.rmtree(self.folder / name)

    def break_down(self) -> None:
        shutil.rmtree(self.folder)


KINDS: dict[str, Callable[[Path], Shelf]] = {"store": lambda folder: StoreShelf(folder)}


@pytest.fixture(params=KINDS)
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    return KINDS[request.param](tmp_path)


def test_it_answers_for_the_derivations_that_it_has_and_for_no_others(shelf: Shelf) -> None:
    assert shelf.substituter.by_derivation([ident("one")]) == {}
    one, two = shelf.put("one"), shelf.put("two")
    assert shelf.substituter.by_derivation([ident("one"), ident("none"), ident("two")]) == {
        ident("one"): one,
        ident("two"): two,
    }
    assert shelf.substituter.by_derivation([]) == {}


def test_it_answers_for_build_keys_those_that_came_later_too(shelf: Shelf) -> None:
    assert shelf.substituter.by_build_key(ident("key of one")) is None
    one = shelf.put("one")
    assert shelf.substituter.by_build_key(ident("key of one")) == one
    assert shelf.substituter.by_build_key(ident("one")) is None
    two = shelf.put("two")
    assert shelf.substituter.by_build_key(ident("key of two")) == two


def test_what_it_gives_has_the_content_that_its_name_says(shelf: Shelf, tmp_path: Path) -> None:
    name = shelf.put("one").object
    target = tmp_path / "got"
    manifest = shelf.substituter.obtain(name, target, NEVER)
    assert manifest == tree.scan(target)
    assert manifest.content_hash == content_hash_of(name)
    target.chmod(0o755)  # it is the caller's own
    (target / "new").write_text("")


def test_what_it_gives_is_canonical_so_that_the_store_need_not_read_it_again(
    shelf: Shelf, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = shelf.put("one")
    with store.workspace("x") as space:
        manifest = shelf.substituter.obtain(one.object, space / "got", NEVER)
        for path in (space / "got").rglob("*"):
            status, executable = path.lstat(), path.is_dir() or path.name == "tool"
            assert status.st_mtime_ns == 0
            assert path.is_symlink() or stat.S_IMODE(status.st_mode) == (0o555 if executable else 0o444)
        monkeypatch.delattr(tree, "canonicalise_and_scan")
        assert store.add(space / "got", one.name, one.version, manifest=manifest) == one.object
    assert store.intact(one.object)
    assert verify(store).clean


def test_what_it_has_lost_is_an_error_that_names_it(shelf: Shelf, tmp_path: Path) -> None:
    name = shelf.put("one").object
    shelf.lose(name)
    with pytest.raises(SubstituterError, match=name):
        shelf.substituter.obtain(name, tmp_path / "got", NEVER)


def test_what_is_damaged_is_an_error_or_has_another_content(shelf: Shelf, tmp_path: Path) -> None:
    name = shelf.put("one").object
    shelf.damage(name)
    try:
        manifest = shelf.substituter.obtain(name, tmp_path / "got", NEVER)
    except SubstituterError:
        return
    assert manifest == tree.scan(tmp_path / "got")
    assert manifest.content_hash != content_hash_of(name)


def test_where_it_cannot_answer_it_says_so(shelf: Shelf, tmp_path: Path) -> None:
    name = shelf.put("one").object
    shelf.break_down()
    with pytest.raises(SubstituterError):
        shelf.substituter.by_derivation([ident("one")])
    with pytest.raises(SubstituterError):
        shelf.substituter.by_build_key(ident("key of one"))
    with pytest.raises(SubstituterError):
        shelf.substituter.obtain(name, tmp_path / "got", NEVER)


def test_a_full_disk_of_ours_is_not_its_fault(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = shelf.put("one").object

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "got"))

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(StoreError, match="no space left"):
        shelf.substituter.obtain(name, tmp_path / "got", NEVER)


def test_a_place_of_ours_that_cannot_be_written_is_not_its_fault(shelf: Shelf, tmp_path: Path) -> None:
    name = shelf.put("one").object
    with pytest.raises(StoreError, match=f"{tmp_path}/none/got") as raised:
        shelf.substituter.obtain(name, tmp_path / "none/got", NEVER)
    assert not isinstance(raised.value, SubstituterError)


def test_a_limit_of_the_size_of_our_files_is_not_its_fault(shelf: Shelf, tmp_path: Path) -> None:
    name = shelf.put("one").object

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5, 5))
        with pytest.raises(StoreError) as raised:
            shelf.substituter.obtain(name, tmp_path / "got", NEVER)
        assert not isinstance(raised.value, SubstituterError)
        assert "raise the limit" in str(raised.value.hint)

    assert ended(forked(limited)) == 0


def test_a_limit_of_our_open_files_is_not_its_fault_wherever_it_is_met(shelf: Shelf, tmp_path: Path) -> None:
    name = shelf.put("one").object

    def limited() -> None:
        top = 100
        for number in range(3, top):
            os.dup2(0, number)  # all below are taken
        failed = 0
        for free in range(8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (top + free, top + 8))
            try:
                shelf.substituter.obtain(name, tmp_path / f"got-{free}", NEVER)
            except StoreError as error:
                assert not isinstance(error, SubstituterError)
                failed += 1
        assert 0 < failed < 8

    assert ended(forked(limited)) == 0


def test_several_threads_may_ask_at_once(shelf: Shelf, tmp_path: Path) -> None:
    made = [shelf.put(text) for text in "abcd"]

    def ask(number: int) -> bool:
        one = made[number % 4]
        shelf.substituter.obtain(one.object, tmp_path / f"got-{number}", NEVER)
        found = shelf.substituter.by_derivation([one.drv_id])[one.drv_id]
        return found == one == shelf.substituter.by_build_key(one.build_key)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(32)))


# -- another store


def test_a_single_file_is_given_as_one(tmp_path: Path) -> None:
    with Store.open(tmp_path / "other") as store, store.workspace("x") as space:
        (space / "file").write_text("text")
        name = store.add(space / "file", "thing", "1.0", drv_id=ident("f"), build_key=ident("k"))
    StoreSubstituter(tmp_path / "other").obtain(name, tmp_path / "got", NEVER)
    assert (tmp_path / "got").read_text() == "text"


def test_no_file_of_the_other_store_is_shared_or_touched(tmp_path: Path) -> None:
    shelf = StoreShelf(tmp_path)
    name = shelf.put("one").object
    files = [p for p in (shelf.folder / name).rglob("*") if p.is_file() and not p.is_symlink()]
    before = [p.lstat() for p in files]
    shelf.substituter.obtain(name, tmp_path / "got", NEVER)
    shelf.substituter.by_build_key(ident("x"))
    for path, old in zip(files, before, strict=True):
        now = path.lstat()
        assert (now.st_nlink, now.st_mode, now.st_mtime_ns, now.st_ctime_ns, now.st_uid) == (
            *(old.st_nlink, old.st_mode, old.st_mtime_ns, old.st_ctime_ns, old.st_uid),
        )
    with Store.open(shelf.folder) as store:
        assert store.intact(name)


@pytest.fixture
def mine(open_folder: Path) -> Path:
    """A directory to which anybody may write."""
    directory = open_folder / "mine"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def test_a_store_that_may_only_be_read_serves(open_folder: Path, mine: Path) -> None:
    shelf = StoreShelf(open_folder)
    one = shelf.put("one")
    if os.geteuid() != 0:  # then it is our own, and what follows would be permitted
        for path in (shelf.folder / ".hermetic", shelf.folder / ".hermetic/realisations", shelf.folder):
            path.chmod(0o555)

    def ask() -> None:
        source = StoreSubstituter(shelf.folder)
        assert source.by_build_key(one.build_key) == one
        assert source.by_derivation([one.drv_id]) == {one.drv_id: one}
        source.obtain(one.object, mine / "got", NEVER)
        assert tree.scan(mine / "got").content_hash == content_hash_of(one.object)

    as_ordinary_user(ask)


def test_a_file_that_we_may_not_read_is_the_fault_of_the_other_store(open_folder: Path, mine: Path) -> None:
    shelf = StoreShelf(open_folder)
    name = shelf.put("one").object
    closed = shelf.folder / name / "share/text"
    closed.chmod(0)

    def ask() -> None:
        with pytest.raises(SubstituterError, match=f"{name} cannot be copied: cannot read {closed}"):
            StoreSubstituter(shelf.folder).obtain(name, mine / "got", NEVER)

    as_ordinary_user(ask)


def test_a_fifo_in_the_other_store_is_its_fault(tmp_path: Path) -> None:
    shelf = StoreShelf(tmp_path)
    name = shelf.put("one").object
    (shelf.folder / name / "share").chmod(0o755)
    os.mkfifo(shelf.folder / name / "share/odd")
    with pytest.raises(SubstituterError, match=r"share/odd is a fifo"):
        shelf.substituter.obtain(name, tmp_path / "got", NEVER)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_what_is_no_store_is_wrong_usage_that_names_it(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "elsewhere"
    make(path)
    with pytest.raises(UsageError, match=f"cannot substitute from {path}: ") as error:
        StoreSubstituter(path)
    assert "HERMETIC_SUBSTITUTE" in str(error.value.hint)


# -- those of a run, asked in order


class Fake:
    """Answers what it was told to, and counts how often it is asked."""

    def __init__(self, name: str, *known: Realisation, broken: bool = False) -> None:
        self.name = name
        self.known = known
        self.broken = broken
        self.asked = 0
        self.wrong: Realisation | None = None  # what it answers to everything

    def by_derivation(self, drv_ids: Collection[str]) -> Mapping[str, Realisation]:
        self.asked += 1
        if self.broken:
            raise SubstituterError("out of order")
        if self.wrong is not None:
            return {**dict.fromkeys(drv_ids, self.wrong), "more than was asked for": self.wrong}
        return {r.drv_id: r for r in self.known if r.drv_id in drv_ids}

    def by_build_key(self, key: str) -> Realisation | None:
        self.asked += 1
        if self.broken:
            raise SubstituterError("out of order")
        return self.wrong or next((r for r in self.known if r.build_key == key), None)

    def obtain(self, name: str, target: Path, stop: threading.Event) -> tree.Manifest:
        raise SubstituterError("out of order")


def build(name: str, expected: str = "") -> Step:
    drv = Build(name, "1.0", "x86_64-linux-musl", "", f"/hermetic/x/{name}", {}, {}, {}, {}, "true")
    return Step(derivation_id(drv), drv, expected=expected)


def made(step: Step, content: str = "content", **changes: Any) -> Realisation:
    drv = step.derivation
    realisation = Realisation(
        drv_id=step.drv_id,
        build_key=ident(f"key of {drv.name}"),
        object=f"{ident(content)}-{drv.name}-{drv.version}",
        name=drv.name,
        version=drv.version,
        system=drv.system if isinstance(drv, Build) else "",
    )
    return msgspec.structs.replace(realisation, **changes)


def told(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def test_the_first_in_order_that_has_an_output_offers_it() -> None:
    one, two, three = build("one"), build("two"), build("three")
    first, second = Fake("first", made(one)), Fake("second", made(one, "other"), made(two))
    offers = Substituters([first, second], lambda event: None).by_derivation([one, two, three])
    assert {d: (o.source.name, o.realisation) for d, o in offers.items()} == {
        one.drv_id: ("first", made(one)),
        two.drv_id: ("second", made(two)),
    }


def test_after_one_that_failed_only_those_behind_it_are_asked() -> None:
    one = build("one")
    sources = [Fake(str(number), made(one)) for number in range(3)]
    substituters = Substituters(sources, lambda event: None)
    offer = substituters.by_derivation([one])[one.drv_id]
    seen = [offer.source.name]
    while found := substituters.by_derivation([one], after=offer.number):
        offer = found[one.drv_id]
        seen.append(offer.source.name)
    assert seen == ["0", "1", "2"]
    assert [s.asked for s in sources] == [1, 1, 1]


def test_for_a_build_key_each_is_asked_only_when_its_turn_comes() -> None:
    one = build("one")
    sources = [Fake("a"), Fake("b", made(one)), Fake("c", made(one, "other"))]
    offers = Substituters(sources, lambda event: None).by_build_key(one, ident("key of one"))
    assert next(offers).source.name == "b"
    assert [s.asked for s in sources] == [1, 1, 0]
    assert [o.source.name for o in offers] == ["c"]


def test_one_that_cannot_answer_is_said_once_and_not_asked_again() -> None:
    one, two = build("one"), build("two")
    events: list[Event] = []
    broken, good = Fake("broken", broken=True), Fake("good", made(two))
    substituters = Substituters([broken, good], events.append)
    assert substituters.by_derivation([one, two])[two.drv_id].source.name == "good"
    assert list(substituters.by_build_key(one, ident("key of one"))) == []
    assert broken.asked == 1
    assert told(events) == ["not substituted from broken: out of order; it is not asked again"]


def test_an_object_that_was_refused_is_offered_no_more_but_others_are() -> None:
    one, two = build("one"), build("two")
    events: list[Event] = []
    substituters = Substituters([Fake("bad", made(one), made(two))], events.append)
    offer = substituters.by_derivation([one])[one.drv_id]
    substituters.refuse(one, offer, "it is damaged")
    assert told(events) == ["not substituted from bad: it is damaged"]
    assert substituters.by_derivation([one]) == {}
    assert list(substituters.by_build_key(one, ident("key of one"))) == []
    assert two.drv_id in substituters.by_derivation([two])
    assert len(told(events)) == 1


EXPECTED = ident("expected")
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "with a path for a build key": ({"build_key": "../../x"}, "its record is not valid"),
    "with a path for an object": ({"object": "../one-1.0"}, "its record is not valid"),
    "of another derivation": ({"drv_id": ident("another")}, f"its record is of {ident('another')}"),
    "for another system": ({"system": "s390x-linux-musl"}, "its record is of an output for s390x-linux-musl"),
    "another package": ({"object": f"{EXPECTED}-two-1.0"}, f"it names {EXPECTED}-two-1.0 as the output"),
    "another version": ({"object": f"{EXPECTED}-one-1.1"}, f"it names {EXPECTED}-one-1.1 as the output"),
    "not what the lock expects": ({}, f"flake-like.lock expects the content hash {EXPECTED}"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_cannot_be_right_is_named_and_the_next_is_asked(lie: str) -> None:
    changes, words = LIES[lie]
    one = build("one", EXPECTED)
    liar, honest = Fake("liar"), Fake("honest", made(one, "expected"))
    liar.wrong = made(one, "content", **changes)
    events: list[Event] = []
    substituters = Substituters([liar, honest], events.append)
    assert substituters.by_derivation([one])[one.drv_id].source.name == "honest"
    (said,) = told(events)
    assert said.startswith("not substituted from liar: ")
    assert words in said


def test_an_answer_for_another_build_key_is_refused() -> None:
    one = build("one")
    liar, events = Fake("liar"), list[Event]()
    liar.wrong = made(one)
    substituters = Substituters([liar], events.append)
    assert list(substituters.by_build_key(one, ident("asked for"))) == []
    assert told(events) == [f"not substituted from liar: its record is of {ident('key of one')}"]


def test_a_source_must_be_the_bytes_that_are_pinned(tmp_path: Path) -> None:
    data = b"an archive"
    fetch = Fetch("lib", "1.0", hashlib.sha256(data).hexdigest(), blake3(data).hexdigest(), len(data))
    step = Step(derivation_id(fetch), fetch)
    (tmp_path / "file").write_bytes(data)
    right = tree.scan(tmp_path / "file").content_hash
    assert expected_content(step) == right
    key = build_key(fetch, str)
    for content, number, accepted in (
        (right, key, True),
        (ident("x"), key, False),
        (right, ident("k"), False),
    ):
        source = Fake("source", made(step, object=f"{content}-lib-1.0", build_key=number))
        assert bool(Substituters([source], lambda event: None).by_derivation([step])) is accepted


def test_an_object_is_registered_only_under_the_name_that_was_expected(store: Store) -> None:
    with store.workspace("x") as space, pytest.raises(HashMismatch, match="the content hash is"):
        path = write_tree(space / "t", "text")
        expected = f"{ident(1)}-thing-1.0"
        store.add(path, "thing", "1.0", drv_id=ident("d"), build_key=ident("k"), expected=expected)
    assert store.objects() == []
    assert store.realisation(ident("d")) is None


def test_a_copy_that_was_hashed_already_is_compared_with_the_name_too(tmp_path: Path, store: Store) -> None:
    original = write_tree(tmp_path / "t", "text")
    with store.workspace("x") as space, pytest.raises(HashMismatch, match="the content hash is"):
        manifest = tree.copy_and_scan(original, space / "t")
        store.add(space / "t", "thing", "1.0", manifest=manifest, expected=f"{ident(1)}-thing-1.0")
    assert store.objects() == []
