"""`hermetic store verify --repair`: finds the derivations behind damaged objects, and does them once more."""

from __future__ import annotations

import sys
from pathlib import Path

from hermetic.cli.display import display
from hermetic.derivation import graph
from hermetic.derivation.graph import Work
from hermetic.derivation.step import Target
from hermetic.derivation.value import inputs_of
from hermetic.errors import HermeticError, StoreError
from hermetic.realize.run import engine
from hermetic.realize.settings import Settings
from hermetic.realize.steps import Steps
from hermetic.session import Session
from hermetic.store import integrity
from hermetic.store.records import Realisation
from hermetic.systems import SYSTEMS


def repair_all(session: Session, names: list[str], jobs: int) -> None:
    """Repair objects, inputs before what was made from them.

    Raises:
        StoreError: some could not be repaired; each is named with the reason.
    """
    work = everything(session)
    order = {drv_id: n for n, drv_id in enumerate(graph.closure(work.derivations, work.roots.values()))}

    def position(name: str) -> int:
        made = session.store.realisations_of(name)
        return min((order[r.drv_id] for r in made if r.drv_id in order), default=len(order))

    failed = []
    with display() as listener, engine(session.store, work, Settings(jobs=jobs), listener) as run:
        for name in sorted(names, key=position):
            try:
                integrity.repair(
                    session.store, name, lambda made, space: _remake(run.steps, work, made, space)
                )
                print(f"repaired {name}", file=sys.stderr)
            except HermeticError as error:
                failed.append(f"{name}: {error.message}")
                failed += [f"    {line}" for line in error.details]
    if failed:
        raise StoreError(f"not repaired, and left as they are: {len(failed)}", details=tuple(failed))


def everything(session: Session) -> Work:
    """Every recipe for every system that it can be made for, in every pinned version."""
    evaluator = session.evaluator()
    instances = []
    for name in evaluator.names:
        recipe = evaluator.recipe(name)
        versions: list[str | None] = [*evaluator.lock.sources.get(recipe.source or "", {})] or [None]
        for arch in recipe.systems:
            for version in versions:
                chosen = {recipe.source: version} if recipe.source and version else {}
                target = Target(f"{name}-{version}-{arch}", name, SYSTEMS[arch], chosen)
                instances.append(evaluator.instantiate(target))
    return graph.merge(instances)


def _remake(steps: Steps, work: Work, made: list[Realisation], space: Path) -> Path:
    for realisation in made:
        step = work.steps.get(realisation.drv_id)
        if step is None:
            continue
        inputs = {}
        for needed in inputs_of(step.derivation):
            found = steps.realized(needed)
            if found is None:
                raise StoreError(f"its input {work.steps[needed].label} is not whole either")
            inputs[needed] = found
        return steps.remake(step, inputs, space)
    raise StoreError("no recipe of this checkout makes it any more, so it cannot be made again")
