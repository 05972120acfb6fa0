"""A store driven at random (hypothesis): add, root, unroot, collect, alter, and kill in the midst of each."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from hermetic import tree
from hermetic.gc import collection
from hermetic.gc import plan as planning
from hermetic.gc.plan import Options
from hermetic.store.store import Store
from tests.support.examples import TIMES
from tests.support.stores import check, crash_at, ident, put

options = st.sampled_from(
    [
        Options(),
        Options(keep_sources=False),
        Options(keep_derivations=False),
        Options(keep_derivations=False, keep_sources=False),
        Options(max_freed=60),
    ]
)
texts = st.integers(0, 7).map(str)
instants = st.integers(1, 1500)


class StoreMachine(RuleBasedStateMachine):
    """The model: which objects must be there, and which roots were made."""

    things = Bundle("things")

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "store"
        self.must: set[str] = set()  # registered for certain
        self.may: set[str] = set()  # registered or not: a crash came between
        self.roots: dict[str, str] = {}
        Store.open(self.path).close()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            tree.remove(self.folder)

    @rule(target=things, text=texts, source=st.booleans(), numbers=st.lists(st.integers(0, 99), max_size=3))
    def add(self, text: str, source: bool, numbers: list[int]) -> str:
        # Numbers and not names: what there is depends on the clock, which says what was used least recently.
        there = sorted(self.must)
        inputs = tuple(there[number % len(there)] for number in numbers) if there else ()
        with Store.open(self.path) as store:
            name = put(store, text, inputs=inputs, system="" if source else "s", drv=f"{text} {inputs}")
            assert store.intact(name)
        self._now_there(name)
        return name

    @rule(target=things, text=texts, instant=instants)
    def crash_while_adding(self, text: str, instant: int) -> str:
        def work() -> None:
            with Store.open(self.path) as store:
                put(store, text)

        crashed = crash_at(instant, work)
        with Store.open(self.path) as store:
            found = store.realisation(ident(text))
            name = found.object if found else put(store, text)
            assert crashed or found
            assert store.intact(name)
        self._now_there(name)
        return name

    def _now_there(self, name: str) -> None:
        self.must.add(name)
        self.may.discard(name)

    @rule(name=things, root=st.sampled_from("abc"))
    def root(self, name: str, root: str) -> None:
        if name in self.must:
            with Store.open(self.path) as store:
                store.add_root(root, name)
            self.roots[root] = name

    @rule(root=st.sampled_from("abc"))
    def unroot(self, root: str) -> None:
        with Store.open(self.path) as store:
            assert store.remove_root(root) == (root in self.roots)
        self.roots.pop(root, None)

    @rule(choice=options)
    def collect(self, choice: Options) -> None:
        with Store.open(self.path) as store:
            live = set(planning.live(store.references(), self.roots.values(), choice))
            deleted = set(collection.collect_garbage(store, choice).deleted)
            assert not deleted & live
            left = {info.name for info in store.objects()}
            assert self.must - deleted <= left
            if choice.max_freed is None:
                assert left <= live
        self.must -= deleted
        self.may &= left

    @rule(choice=options, instant=instants)
    def crash_while_collecting(self, choice: Options, instant: int) -> None:
        with Store.open(self.path) as store:
            live = set(planning.live(store.references(), self.roots.values(), choice))
        crash_at(instant, lambda: collection.collect_garbage(Store.open(self.path), choice))
        with Store.open(self.path) as store:
            left = {info.name for info in store.objects()}
        assert self.must & live <= left
        self.must &= left
        self.may &= left

    @rule(name=consumes(things))
    def alter_and_mend(self, name: str) -> None:
        if name not in self.must:
            return
        text = (self.path / name / "share/text").read_text()[:1]
        tree.remove(self.path / name / "bin")
        with Store.open(self.path) as store:
            assert not store.intact(name)
            assert put(store, text) == name
            assert store.intact(name)

    @invariant()
    def nothing_is_lost_or_wrong(self) -> None:
        if not hasattr(self, "path"):
            return
        with check(self.path, *self.must) as store:
            known = {info.name for info in store.objects()}
            assert known <= self.must | self.may
            assert {root.name: root.object for root in store.roots()} == self.roots


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=12 * TIMES,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
