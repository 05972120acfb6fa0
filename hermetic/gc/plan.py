"""What a garbage collection deletes: decided from values, without touching anything.

Outputs are static and hold no store path, so nothing that is *used* needs anything but itself. What an object
was made from matters only for the next build. The rules follow from that:

- A root keeps its object, always.
- By default it keeps also everything that a rebuild would need: what the object was built from
  (`keep_derivations`) and the sources (`keep_sources`), and so on down. To rebuild a toolchain takes twenty
  minutes, and who edits a recipe after a collection should not pay them; disk space is the smaller price.
  Each can be switched off; with both off, only the roots' own objects stay.
- What a running process uses is kept by itself, not with what it was made from: the process names each object
  that it needs.
- `keep_recent` keeps what was made or used lately, by itself; `max_freed` stops when enough was freed, the
  least recently used going first.

A kept object is followed only through inputs that are kept, so a second collection finds nothing to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping

import msgspec

from hermetic.store.records import Info, Reference

_DAY = 86400  # seconds


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to keep beyond the roots.

    Attributes:
        max_freed: bytes after which enough has been freed; None for no limit.
        keep_recent: days; what was used within them stays. None: its last use keeps nothing.
        keep_derivations: keep what live objects were built from.
        keep_sources: keep the sources that live objects were built from.
        pinned: names of objects that are kept as if a root named them: the project's seeds.
    """

    max_freed: int | None = None
    keep_recent: float | None = None
    keep_derivations: bool = True
    keep_sources: bool = True
    pinned: frozenset[str] = frozenset()


class Plan(msgspec.Struct, frozen=True):
    """What to do.

    Attributes:
        delete: in this order, the least recently used first.
        live: how many objects stay because a root or a process keeps them.
        kept: how many stay for another reason: used lately, or enough was freed.
        frees: bytes of what is deleted. stays: bytes of what is not.
    """

    delete: tuple[Info, ...]
    live: int
    kept: int
    frees: int
    stays: int


def plan(
    objects: Iterable[Info],
    references: Iterable[Reference],
    roots: Iterable[str],
    in_use: Collection[str] = (),
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    now: int,
) -> Plan:
    """Choose what to delete.

    Args:
        objects: all that are registered.
        roots: names of objects that are kept together with what they were made from.
        in_use: names of objects that are kept by themselves.
        now: Unix time, seconds.
    """
    everything = list(objects)
    alive = live(references, [*roots, *options.pinned], options).keys() | set(in_use)
    dead = sorted(
        [o for o in everything if o.name not in alive], key=lambda o: (o.last_used, o.registered_at, o.name)
    )
    count_live = len(everything) - len(dead)
    if options.keep_recent is not None:
        limit = now - options.keep_recent * _DAY
        dead = [o for o in dead if o.last_used < limit]
    if options.max_freed is not None:
        dead = _first(dead, options.max_freed)
    frees = sum([o.size for o in dead])
    return Plan(
        delete=tuple(dead),
        live=count_live,
        kept=len(everything) - count_live - len(dead),
        frees=frees,
        stays=sum([o.size for o in everything]) - frees,
    )


def _first(dead: list[Info], enough: int) -> list[Info]:
    """The first objects that together have `enough` bytes."""
    freed = 0
    for count, item in enumerate(dead):
        if freed >= enough:
            return dead[:count]
        freed += item.size
    return dead


def live(
    references: Iterable[Reference],
    roots: Iterable[str],
    options: Options = Options(),  # noqa: B008
) -> dict[str, str | None]:
    """All objects that roots keep, each with the next one on the way to a root (None for roots)."""
    inputs = _followed(references, options)
    found: dict[str, str | None] = dict.fromkeys(roots)
    pending = deque(found)
    while pending:
        name = pending.popleft()
        for needed in inputs.get(name, ()):
            if needed not in found:
                found[needed] = name
                pending.append(needed)
    return found


def _followed(references: Iterable[Reference], options: Options) -> Mapping[str, Iterable[str]]:
    """For each object the inputs that it keeps. One object can come of several derivations."""
    inputs: dict[str, list[str]] = {}
    built: set[str] = set()
    sources: set[str] = set()
    for reference in references:
        inputs.setdefault(reference.object, []).extend(reference.inputs)
        (sources if reference.is_source else built).add(reference.object)
    sources -= built  # what was built, and is the same as a source, counts as built
    if options.keep_derivations and options.keep_sources:
        return inputs
    if not options.keep_derivations and not options.keep_sources:
        return {}
    return {
        name: [i for i in needed if (i in sources) == options.keep_sources] for name, needed in inputs.items()
    }


def why_live(
    name: str,
    references: Iterable[Reference],
    roots: Iterable[str],
    options: Options = Options(),  # noqa: B008
) -> list[str] | None:
    """The way from a root's object to this one, each made from the next. None: nothing keeps it."""
    found = live(references, roots, options)
    if name not in found:
        return None
    way = [name]
    while (above := found[way[-1]]) is not None:
        way.append(above)
    return way[::-1]
