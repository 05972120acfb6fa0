"""`hermetic store verify --repair`: finds the derivations behind damaged objects, and does them once more."""

from __future__ import annotations

import sys
from pathlib import Path

from hermetic.cli.building import Options, engine
from hermetic.derivation import graph
from hermetic.derivation.graph import Work
from hermetic.derivation.instantiate import Target
from hermetic.derivation.value import inputs_of
from hermetic.errors import HermeticError, StoreError
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
    with engine(session, work, Options(jobs=jobs)) as run:
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
        drv = work.derivations.get(realisation.drv_id)
        if drv is None:
            continue
        inputs = {}
        for needed in inputs_of(drv):
            found = steps.realized(needed)
            if found is None:
                raise StoreError(f"its input {graph.label(work.derivations[needed])} is not whole either")
            inputs[needed] = found
        drv_id = realisation.drv_id
        pin, timeout = work.pins.get(drv_id), work.timeouts.get(drv_id)
        return steps.remake(drv_id, drv, inputs, space, pin=pin, timeout=timeout)
    raise StoreError("no recipe of this checkout makes it any more, so it cannot be made again")
