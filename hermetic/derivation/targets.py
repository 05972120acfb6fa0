"""Which targets a project has: those of its recipes, for every system and every pinned version."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hermetic.derivation.instantiate import Evaluator, split_system
from hermetic.derivation.step import Target
from hermetic.errors import UsageError
from hermetic.project.lock import version_key
from hermetic.systems import BUILD_SYSTEM, SYSTEMS


def main_recipes(evaluator: Evaluator) -> list[str]:
    """The recipes that a project is for: with a main program, and made for more than the build system.

    One that extends another is a flavour of it, and is asked for by name.
    """
    recipes = [evaluator.recipe(name) for name in evaluator.names if len(evaluator.lineage(name)) == 1]
    return [r.name for r in recipes if r.meta.main_program and {*r.systems} - {BUILD_SYSTEM.arch}]


def for_all_systems(evaluator: Evaluator, names: Iterable[str] = ()) -> list[Target]:
    """One target for each system that a recipe is made for, in the order of `systems`.

    Args:
        names: `NAME` for the default version, `NAME-VERSION` for another; none for the main recipes.

    Raises:
        UsageError: a name is unknown or has a system, or there are no main recipes.
    """
    targets = []
    for name in [*dict.fromkeys(names)] or _main(evaluator):
        wanted = _of_no_system(evaluator, name)
        supported = evaluator.recipe_for(wanted.recipe, wanted.versions).systems
        targets += [
            msgspec.structs.replace(wanted, label=f"{name}-{arch}", system=system)
            for arch, system in SYSTEMS.items()
            if arch in supported
        ]
    return targets


def of_all_versions(evaluator: Evaluator, names: Iterable[str] = ()) -> list[Target]:
    """As `for_all_systems`, but `NAME` is for every pinned version, the default one first."""
    wanted: list[str] = []
    for name in [*dict.fromkeys(names)] or _main(evaluator):
        wanted.append(name)
        if name in evaluator.known and (source := evaluator.recipe(name).source) is not None:
            default = evaluator.lock.pin(source).version
            others = {*evaluator.lock.sources[source]} - {default}
            wanted += [f"{name}-{version}" for version in sorted(others, key=version_key)]
    return for_all_systems(evaluator, wanted)


def _main(evaluator: Evaluator) -> list[str]:
    found = main_recipes(evaluator)
    if found:
        return found
    raise UsageError(
        "no recipe has a main program and is made for several systems",
        hint=f"name recipes: {', '.join(evaluator.names)}",
    )


def _of_no_system(evaluator: Evaluator, name: str) -> Target:
    rest, system = split_system(name)
    if system is not None:
        raise UsageError(
            f"{name} is for {system.arch} alone, but all systems are asked for",
            hint=f"leave -{system.arch} out: {rest}",
        )
    return evaluator.read_target(name)
