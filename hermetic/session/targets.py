"""What can be asked for: the targets of recipes for every system and version, and what is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from hermetic.derivation import targets
from hermetic.session import machine
from hermetic.systems import System, running_on

if TYPE_CHECKING:
    from hermetic.derivation.instantiate import Evaluator
    from hermetic.derivation.step import Target
    from hermetic.session.opened import Opened


class TargetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A target, and what is known of it.

    Attributes:
        target: as it is typed. recipe, version: what it is.
        system, triple, cpu, endian, bits: what it runs on; see `systems.System`.
        emulator: the program that runs it on other machines. native: whether this machine needs none.
        seed: prebuilt, and trusted by its hash.
        expected: content hash that the lock expects (`verify --accept` writes it); empty where it has none.
        object: the store object that it is realized as; empty where it is not.
    """

    target: str
    recipe: str
    version: str
    system: str
    triple: str
    cpu: str
    endian: str
    bits: int
    emulator: str
    native: bool
    seed: bool
    expected: str
    object: str = ""


def for_all_systems(session: Opened, names: Iterable[str] = ()) -> list[str]:
    """See `Session.for_all_systems`."""
    found: list[str] = []
    for evaluator, revision, asked in _by_revision(session, names):
        found += [target.label + revision for target in targets.for_all_systems(evaluator, asked)]
    return found


def known(session: Opened, names: Iterable[str] = ()) -> list[TargetInfo]:
    """See `Session.targets`; what is in the store is not looked up."""
    native = running_on(machine.this())
    found = []
    for evaluator, revision, asked in _by_revision(session, names):
        for target in targets.of_all_versions(evaluator, asked):
            found.append(_info(evaluator, target, target.label + revision, native))
    return found


def _by_revision(session: Opened, names: Iterable[str]) -> Iterator[tuple[Evaluator, str, list[str]]]:
    """Evaluator, `@REV` and names without it; no name at all asks for the main recipes of the work tree."""
    for name in [*dict.fromkeys(names)] or [""]:
        base, at, revision = name.partition("@")
        yield session.evaluator(revision or None), at + revision, [base] if base else []


def _info(evaluator: Evaluator, target: Target, label: str, native: list[System]) -> TargetInfo:
    recipe, system = evaluator.recipe(target.recipe), target.system
    version = evaluator.version_of(recipe, target.versions)
    return TargetInfo(
        target=label,
        recipe=recipe.name,
        version=version,
        system=system.name,
        triple=system.triple,
        cpu=system.cpu,
        endian=system.endian,
        bits=system.bits,
        emulator=system.qemu,
        native=system in native,
        seed=recipe.seed,
        expected=evaluator.lock.expect.get(system.name, {}).get(f"{recipe.name}-{version}", ""),
    )
