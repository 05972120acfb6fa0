"""Garbage collection of stores that were filled by hand, many small objects each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.measure import Case
from benchmarks.places import Nix, after, chains, copy, remove, work
from hermetic import hashing
from hermetic.store import records
from hermetic.store.names import content_hash_of
from hermetic.store.records import Info, Realisation
from hermetic.store.store import Store

_LIVE: Final = 1000
_CHAIN: Final = 10  # live objects that hang on one root


def collecting(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """10,000 dead objects beside 1,000 live ones: planned, and deleted."""
    yield from _planning(directory, nix, 10_000, mark=0.3)
    store, full = directory / "store", directory / "full"
    work("open", store)
    store.rename(full)

    def refill() -> None:
        remove(store)
        copy(full, store)

    def refill_nix() -> None:
        assert nix
        remove(nix.store)
        copy(directory / "full-nix", nix.store)

    if nix:
        copy(nix.store, directory / "full-nix")
    yield Case(
        "gc: delete 10,000 dead objects",
        after(refill, lambda: work("collect", store)),
        after(refill_nix, nix.timed("nix-store", "--gc")) if nix else None,
    )


def collecting_many(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """100,000 dead objects: planned only."""
    yield from _planning(directory, nix, 100_000, mark=3.0)


def _planning(directory: Path, nix: Nix | None, dead: int, mark: float) -> Iterator[Case]:
    store = directory / "store"
    _fill(store, dead)
    if nix:
        nix.empty()
        _fill_nix(nix, dead)
    yield Case(
        f"gc: plan with {dead:,} dead, {_LIVE:,} live",
        lambda: work("plan", store),
        nix.timed("nix-store", "--gc", "--print-dead") if nix else None,
        mark=mark,
    )


def _fill(path: Path, dead: int) -> None:
    """Objects of one small file each. Their names are made up: a collection does not look into them."""
    numbers = random.Random(dead)
    names = [f"{hashing.encode_base32(numbers.randbytes(32))}-thing-1" for _ in range(_LIVE + dead)]
    with Store.open(path) as store:
        data = b"x" * 100
        with store.database.transaction() as transaction:
            for number, name in enumerate(names):
                store.layout.object(name).write_bytes(data)
                store.layout.manifest(name).write_bytes(data)
                realisation = Realisation(
                    drv_id=content_hash_of(name),
                    build_key=content_hash_of(name),
                    object=name,
                    name="thing",
                    version="1",
                    system="x86_64-linux-musl",
                    inputs=(names[number + 1],) if (number + 1) % _CHAIN else (),
                )
                store.layout.realisation(realisation.drv_id).write_bytes(records.encode(realisation))
                transaction.insert_realisation(realisation)
                transaction.insert_object(Info(name, 100, 1, number, number), b"s" * 200)
        for number in range(0, _LIVE, _CHAIN):
            store.add_root(f"root-{number}", names[number])


def _fill_nix(nix: Nix, dead: int) -> None:
    """Derivations of Nix are store paths themselves. Chains are as long as hermetic's."""
    live = nix.expression(chains(_LIVE, _CHAIN), salt="-live")
    nix.output("nix-instantiate", "--add-root", str(nix.directory / "root"), str(live))
    for number in range(0, dead, 10_000):
        expression = nix.expression(chains(10_000, _CHAIN), salt=f"-dead-{number}")
        nix.output("nix-instantiate", str(expression))
