"""Carries a collection out, beside running builds and other collections.

Objects are taken in batches. For each batch, under the collector's lock held exclusively (see
`store.protect`): roots and running processes are looked at once more, the rows are deleted in one
transaction, and the objects are renamed to the trash. The lock is then released and the trash deleted, which
is what takes the time.

The rows go first. Killed after them, we leave objects that the database does not know: nobody relies on them,
and the next collection removes them. The other way round the database would promise objects that are gone.
"""

# One unlink for each of many thousand records: pathlib would take most of the time.
# ruff: noqa: PTH108

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.filesystem import translated
from hermetic.gc import plan as planning
from hermetic.gc.plan import Options, Plan
from hermetic.store import leftovers as leftover
from hermetic.store import protect, workspaces
from hermetic.store.layout import LOW
from hermetic.store.leftovers import Leftovers
from hermetic.store.records import Reference, Root
from hermetic.store.store import Store

BATCH = 1000  # objects taken under one hold of the lock: some 50 ms, for which builds wait at most
SMALL_BATCH = 20  # where the disk is so full that a transaction must be small


class Progress(msgspec.Struct, frozen=True):
    """How far a collection is: objects deleted, of how many, and bytes freed so far."""

    deleted: int
    total: int
    freed: int


class Outcome(msgspec.Struct, frozen=True):
    """What a collection did.

    Attributes:
        deleted: names of the objects. freed: bytes, with leftovers.
        leftovers: what else was removed.
    """

    deleted: tuple[str, ...]
    freed: int
    leftovers: Leftovers


def plan(store: Store, options: Options = Options()) -> Plan:  # noqa: B008 - frozen
    """What a collection would delete now."""
    return _plan(store, options, store.roots(), store.references())


def leftovers(store: Store, options: Options = Options()) -> Leftovers:  # noqa: B008
    """What a collection would remove beside objects."""
    with protect.exclusive(store.layout):
        found = leftover.find(store, options.keep_recent)
    return found.describe(store)


def collect_garbage(
    store: Store,
    options: Options = Options(),  # noqa: B008
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Delete what nothing keeps, and what dead processes have left.

    Raises:
        StoreError: something cannot be deleted; what was deleted until then is gone cleanly.
    """
    layout = store.layout
    low = _free(store) < LOW
    layout.release_reserve()
    removed = leftovers(store, options)
    workspaces.sweep(layout)
    with protect.exclusive(layout):
        protect.living(layout, clear=True)
        leftover.clear(store, leftover.find(store, options.keep_recent))
    workspaces.empty_trash(layout)
    run = _Run(store, options, progress)
    while run.step(SMALL_BATCH if low else BATCH):
        low = low and _free(store) < LOW
    layout.make_reserve()
    return Outcome(tuple(run.deleted), run.freed + removed.size, removed)


class _Run:
    """One collection: a queue of what to delete, and the state of the world that it was planned for."""

    def __init__(self, store: Store, options: Options, progress: Callable[[Progress], None] | None) -> None:
        self.store = store
        self.options = options
        self.progress = progress
        self.deleted: list[str] = []
        self.freed = 0
        self._plan_again(store.roots())

    def _plan_again(self, current: list[Root]) -> None:
        self.roots = current
        references = self.store.references()
        self.last_reference = references[-1].id if references else 0
        options = self.options
        if options.max_freed is not None:
            options = msgspec.structs.replace(options, max_freed=max(0, options.max_freed - self.freed))
        self.queue = list(_plan(self.store, options, current, references).delete)
        self.queue.reverse()  # taken from the end

    def step(self, size: int) -> bool:
        """Delete one batch. False: there was nothing left."""
        with protect.exclusive(self.store.layout):
            current = self.store.roots()
            if current != self.roots or self._needed_by_new():
                self._plan_again(current)
            if not self.queue:
                return False
            batch = self.queue[-size:][::-1]
            del self.queue[-size:]
            in_use = _in_use(self.store)
            batch = [info for info in batch if info.name not in in_use]
            trash = take(self.store, [info.name for info in batch])
        if trash is not None:
            tree.remove(trash)
        self.deleted += [info.name for info in batch]
        self.freed += sum(info.size for info in batch)
        if self.progress is not None:
            total = len(self.deleted) + len(self.queue)
            self.progress(Progress(len(self.deleted), total, self.freed))
        return True

    def _needed_by_new(self) -> bool:
        """Whether something registered since the plan was made from something that is to be deleted."""
        new = self.store.references(after=self.last_reference)
        if not new:
            return False
        self.last_reference = new[-1].id
        doomed = {info.name for info in self.queue}
        return any(not doomed.isdisjoint((r.object, *r.inputs)) for r in new)


def take(store: Store, names: list[str]) -> Path | None:
    """Unregister objects and move them to the trash. The caller holds the collector's lock exclusively.

    Returns:
        the directory in the trash where they are now, to be deleted.
    """
    if not names:
        return None
    layout = store.layout
    with store.database.transaction() as transaction:
        drv_ids = transaction.delete(names)
    for drv_id in drv_ids:
        _unlink(f"{layout.realisations}/{drv_id}.json")
    for name in names:
        _unlink(f"{layout.manifests}/{name}")
    return workspaces.discard_all(layout, [layout.object(name) for name in names])


def _unlink(path: str) -> None:
    with translated(path, "remove"), suppress(FileNotFoundError):
        os.unlink(path)


def delete(store: Store, names: Iterable[str], options: Options = Options()) -> int:  # noqa: B008
    """Delete certain objects that nothing keeps.

    Returns:
        bytes freed.

    Raises:
        StoreError: one is not in the store, or is kept; then none is deleted.
    """
    wanted = list(dict.fromkeys(names))
    with protect.exclusive(store.layout):
        infos = {info.name: info for info in store.objects()}
        for name in wanted:
            if name not in infos:
                raise StoreError(f"{name} is not in the store")
            if keeper := why_live(store, name, options):
                raise StoreError(f"{name} is in use: {keeper[0]}", hint=f"see `hermetic why-live {name}`")
        trash = take(store, wanted)
    if trash is not None:
        tree.remove(trash)
    return sum(infos[name].size for name in wanted)


def why_live(store: Store, name: str, options: Options = Options()) -> list[str] | None:  # noqa: B008
    """Why an object stays: the root or process in words, then objects, each made from the next.

    None: nothing keeps it.
    """
    for who, used in protect.living(store.layout).items():
        if name in used:
            return [f"in use by {who}", name]
    permanent = {root.object: root for root in reversed(store.roots())}
    way = planning.why_live(name, store.references(), [*permanent, *options.pinned], options)
    if way is None:
        return None
    root = permanent.get(way[0])
    if root is None:
        return ["a seed of this project", *way]
    return [f"{'link' if root.kind == 'link' else 'root'} {root.name}", *way]


def all_roots(store: Store) -> list[Root]:
    """Everything that keeps objects alive: permanent roots, and running processes."""
    now = int(time.time())
    processes = [
        Root("process", who, name, now)
        for who, names in protect.living(store.layout).items()
        for name in names
    ]
    return store.roots() + processes


def _in_use(store: Store) -> set[str]:
    return {name for names in protect.living(store.layout).values() for name in names}


def _plan(store: Store, options: Options, roots: list[Root], references: list[Reference]) -> Plan:
    kept = [root.object for root in roots]
    return planning.plan(store.objects(), references, kept, _in_use(store), options, now=int(time.time()))


def _free(store: Store) -> int:
    status = os.statvfs(store.root)
    return status.f_bavail * status.f_frsize
