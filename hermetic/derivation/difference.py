"""Says in words why two derivations differ. Pure.

Both graphs are walked side by side. Each pair of derivations that differs is told once, with the causes
that lie in itself; what differs only because an input differs says which.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from hermetic.derivation.step import label
from hermetic.derivation.value import Build, Derivation, Fetch, Unpack


class Change(msgspec.Struct, frozen=True):
    """One pair of derivations that differ.

    Attributes:
        left, right: labels of the two. causes: differences in themselves, one a line.
        through: labels of the inputs that differ.
    """

    left: str
    right: str
    causes: tuple[str, ...]
    through: tuple[str, ...]


def explain(
    left_graph: Mapping[str, Derivation],
    left: str,
    right_graph: Mapping[str, Derivation],
    right: str,
) -> list[Change]:
    """All pairs that differ, from the two roots downwards. Empty: both are the same derivation."""
    changes: list[Change] = []
    seen: set[tuple[str, str]] = set()
    queue = [(left, right)]
    for pair in queue:  # grows while it is walked
        if pair in seen or pair[0] == pair[1]:
            continue
        seen.add(pair)
        one, other = left_graph[pair[0]], right_graph[pair[1]]
        causes = tuple(_causes(one, other))
        below = [p for p in _paired_inputs(one, other) if p[0] != p[1]]
        through = tuple(_pair_label(left_graph[a], right_graph[b]) for a, b in below)
        changes.append(Change(label(one), label(other), causes, tuple(dict.fromkeys(through))))
        queue += below
    return changes


def _pair_label(one: Derivation, other: Derivation) -> str:
    return label(one) if label(one) == label(other) else f"{label(one)} → {label(other)}"


def _paired_inputs(one: Derivation, other: Derivation) -> Iterator[tuple[str, str]]:
    if isinstance(one, Unpack) and isinstance(other, Unpack):
        yield one.source, other.source
    elif isinstance(one, Build) and isinstance(other, Build):
        for ours, theirs in ((one.sources, other.sources), (one.inputs, other.inputs)):
            for path, its in _matched(one, other, ours, theirs):
                if path is not None and its is not None:
                    yield ours[path], theirs[its]


_Match = tuple[str | None, str | None]


def _matched(one: Build, other: Build, ours: Iterable[str], theirs: Iterable[str]) -> list[_Match]:
    """Logical paths of either side that mean the same: equal, or equal but for the host system in them."""
    left, right = set(ours), set(theirs)
    pairs: list[_Match] = [(path, path) for path in sorted(left & right)]
    rest = right - left
    for path in sorted(left - right):
        same = _moved(path, one, other)
        pairs.append((path, same if same in rest else None))
        rest.discard(same)
    return [*pairs, *((None, path) for path in sorted(rest))]


def _moved(text: str, one: Build, other: Build) -> str:
    """A text as it would read for the other host system."""
    return text.replace(one.system, other.system)


def _causes(one: Derivation, other: Derivation) -> Iterator[str]:
    if type(one) is not type(other):
        yield f"kind: {_kind(one)} → {_kind(other)}"
        return
    for field in ("name", "version"):
        yield from _field(field, getattr(one, field), getattr(other, field))
    if isinstance(one, Fetch) and isinstance(other, Fetch):
        for field in ("size", "sha256", "blake3"):
            yield from _field(field, getattr(one, field), getattr(other, field))
    elif isinstance(one, Unpack) and isinstance(other, Unpack):
        yield from _patches(one, other)
    elif isinstance(one, Build) and isinstance(other, Build):
        yield from _builds(one, other)


def _kind(drv: Derivation) -> str:
    return type(drv).__name__.lower()


def _field(name: str, one: object, other: object) -> Iterator[str]:
    if one != other:
        yield f"{name}: {one} → {other}"


def _patches(one: Unpack, other: Unpack) -> Iterator[str]:
    ours, theirs = [p.name for p in one.patches], [p.name for p in other.patches]
    texts = {p.name: p.text for p in other.patches}
    yield from (f"patch {name}: removed" for name in ours if name not in theirs)
    yield from (f"patch {name}: added" for name in theirs if name not in ours)
    common = [n for n in ours if n in theirs]
    if common != [n for n in theirs if n in ours]:
        yield f"order of patches: {', '.join(ours)} → {', '.join(theirs)}"
    for patch in one.patches:
        if patch.name in texts and texts[patch.name] != patch.text:
            yield from _text(f"patch {patch.name}", patch.text, texts[patch.name])


def _builds(one: Build, other: Build) -> Iterator[str]:
    for field in ("system", "cpu"):
        yield from _field(field, getattr(one, field), getattr(other, field))
    for word, ours, theirs in (
        ("source at", one.sources, other.sources),
        ("input", one.inputs, other.inputs),
        ("link", one.links, other.links),
    ):
        matches = _matched(one, other, ours, theirs)
        yield from (f"{word} {path}: removed" for path, its in matches if its is None)
        yield from (f"{word} {its}: added" for path, its in matches if path is None)
    yield from _field("out", _moved(one.out, one, other), other.out)
    yield from _environment(one, other)
    if one.script != other.script:
        yield from _text("build.sh", one.script, other.script)


def _environment(one: Build, other: Build) -> Iterator[str]:
    following = 0
    for key in sorted(one.env.keys() | other.env.keys()):
        before, after = one.env.get(key), other.env.get(key)
        if before is None:
            yield f"environment {key}: added, {after!r}"
        elif after is None:
            yield f"environment {key}: removed, was {before!r}"
        elif before != after and _moved(before, one, other) == after:
            following += 1
        elif before != after:
            yield f"environment {key}: {before!r} → {after!r}"
    if following:
        yield f"environment: {following} variables name the system"


def _text(name: str, one: str, other: str) -> Iterator[str]:
    """Differing lines with their numbers on either side."""
    ours, theirs = one.splitlines(), other.splitlines()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        yield from (f"{name}:{n + 1}: - {ours[n]}" for n in range(a, b))
        yield from (f"{name}:{n + 1}: + {theirs[n]}" for n in range(c, d))
