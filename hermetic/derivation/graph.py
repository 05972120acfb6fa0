"""Decisions about graphs, made from values alone: what is missing, what comes first, what depends on what."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

import msgspec

from hermetic.derivation.step import Instance, Step
from hermetic.derivation.value import Derivation, Fetch, Unpack, inputs_of

Derivations = Mapping[str, Derivation]


def closure(derivations: Derivations, roots: Iterable[str]) -> list[str]:
    """All that `roots` need, themselves included, inputs before what needs them."""
    order: dict[str, None] = {}
    stack = [(root, False) for root in roots]
    while stack:
        drv_id, inputs_done = stack.pop()
        if drv_id in order:
            continue
        if inputs_done:
            order[drv_id] = None
        else:
            stack.append((drv_id, True))
            stack += [(i, False) for i in reversed(inputs_of(derivations[drv_id])) if i not in order]
    return list(order)


def direct(derivations: Derivations, inputs: Iterable[str]) -> list[str]:
    """Those of `inputs` that none of the others brings along."""
    chosen = list(inputs)
    below = {i: set(closure(derivations, [i])) - {i} for i in chosen}
    return [i for i in chosen if not any(i in below[other] for other in chosen)]


def referrers(derivations: Derivations) -> dict[str, list[str]]:
    """For each derivation those that have it as a direct input."""
    found: dict[str, list[str]] = {drv_id: [] for drv_id in derivations}
    for drv_id, drv in derivations.items():
        for needed in inputs_of(drv):
            found[needed].append(drv_id)
    return found


def path_between(derivations: Derivations, start: str, end: str) -> list[str] | None:
    """The shortest chain of inputs from `start` down to `end`, both included; None where there is none."""
    came_from: dict[str, str] = {start: start}
    queue = [start]
    for drv_id in queue:  # grows while it is walked
        if drv_id == end:
            chain = [end]
            while chain[-1] != start:
                chain.append(came_from[chain[-1]])
            return chain[::-1]
        for needed in inputs_of(derivations[drv_id]):
            if needed not in came_from:
                came_from[needed] = drv_id
                queue.append(needed)
    return None


class Work(msgspec.Struct, frozen=True):
    """Several instantiated targets as one piece of work.

    Attributes:
        roots: target label to derivation id. steps: by derivation id.
    """

    roots: dict[str, str]
    steps: dict[str, Step]

    @property
    def derivations(self) -> dict[str, Derivation]:
        """The derivations alone, by id. Made anew for each call."""
        return {drv_id: step.derivation for drv_id, step in self.steps.items()}


def pending(
    derivations: Derivations,
    roots: Iterable[str],
    done: Callable[[str], bool],
    offered: Callable[[list[str]], Container[str]] = lambda drv_ids: (),
) -> list[str]:
    """What may have to be realized, inputs first. Nothing below a derivation that is done is looked at.

    It is an upper bound: early cutoff may spare some of it.

    Args:
        offered: from some that are not done to those whose output can be had without their inputs: nothing
            below these is looked at either. Called once for each generation of the graph.
    """
    needed: set[str] = set()
    seen: set[str] = set()
    wanted = list(roots)
    generation = dict.fromkeys(wanted)
    while generation:
        seen.update(generation)
        todo = [d for d in generation if not done(d)]
        needed.update(todo)
        spared = offered(todo)
        below = (i for d in todo if d not in spared for i in inputs_of(derivations[d]))
        generation = dict.fromkeys(i for i in below if i not in seen)
    return [d for d in closure(derivations, wanted) if d in needed]


def urgency(derivations: Derivations, todo: Iterable[str]) -> dict[str, int]:
    """How much work hangs on each derivation: what is started first when there is a choice.

    The length of the longest way up to a root. A step's own length is taken from the size of its
    source archive, the best guess that needs no memory of earlier runs.
    """
    members = list(todo)
    above: dict[str, int] = {}
    uses = referrers({d: derivations[d] for d in closure(derivations, members)})
    for drv_id in reversed(closure(derivations, members)):
        heights = [above[r] for r in uses[drv_id] if r in above]
        above[drv_id] = max(heights, default=0) + _weight(derivations, drv_id)
    return {d: above[d] for d in members}


def _weight(derivations: Derivations, drv_id: str) -> int:
    drv = derivations[drv_id]
    if isinstance(drv, Fetch):
        return drv.size
    if isinstance(drv, Unpack):
        return 1
    fetches = (f for s in drv.sources.values() for f in (inputs_of(derivations[s]) or (s,)))
    return 1 + sum(_weight(derivations, f) for f in fetches)


def merge(instances: Iterable[Instance]) -> Work:
    """One piece of work from several targets; what they share is there once."""
    work = Work({}, {})
    for instance in instances:
        work.roots[instance.target.label] = instance.graph.root
        work.steps.update(instance.graph.steps)
    return work
