"""Lists of lines, or of strings: which differ, with their numbers, and which stand in another order."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import pairwise
from typing import Final

from hermetic.verify.compare import recognise
from hermetic.verify.compare.model import Difference, Scope, excerpts, text_of

_HUNKS: Final = 1000  # compared one by one
_MOVED: Final = 4  # bytes that a line must have to be told as moved: brackets and blank lines say nothing


def compare_lines(
    scope: Scope, left: list[bytes], right: list[bytes], noun: str = "line"
) -> list[Difference]:
    """Differing lines, or strings, as `noun` says; at least one difference if there is any."""
    if left == right:
        return []
    if Counter(left) == Counter(right):
        first = next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
        count = len(left) - (not left[-1])  # behind the last line feed is no line
        return [
            _order(scope, f"the same {count:,} {noun}s", f"{noun} {first + 1}", left[first], right[first])
        ]
    hunks = _hunks(left, right)
    gone = [(i, left[i]) for a, b, _, _ in hunks for i in range(a, b)]
    new = Counter(line for _, _, c, d in hunks for line in right[c:d])
    moved = [(i, line) for i, line in gone if line in new and len(line.strip()) >= _MOVED]
    found = []
    if moved:
        where = f"{noun}s {moved[0][0] + 1:,} to {moved[-1][0] + 1:,}"
        found.append(_order(scope, f"{len(moved):,} {noun}s", where, moved[0][1], moved[-1][1]))
    known = {line for _, line in moved}
    for a, b, c, d in hunks[:_HUNKS]:
        one = [(i, left[i]) for i in range(a, b) if left[i] not in known]
        other = [(i, right[i]) for i in range(c, d) if right[i] not in known]
        found += _compare_hunk(scope, one, other, noun)
    if len(hunks) > _HUNKS:
        found.append(scope.omitted(len(hunks) - _HUNKS, f"places in which {noun}s differ"))
    return found


def _order(scope: Scope, what: str, where: str, one: bytes, other: bytes) -> Difference:
    return scope.found("order", where, f"{what} in another order", *excerpts(text_of(one), text_of(other)))


def _compare_hunk(
    scope: Scope, left: list[tuple[int, bytes]], right: list[tuple[int, bytes]], noun: str
) -> list[Difference]:
    """Lines, with their numbers from 0, pair by pair; those without a counterpart are one difference."""
    paired = min(len(left), len(right))
    found = [
        recognise.difference(scope, f"{noun} {i + 1}", f"the {noun} differs", text_of(one), text_of(other))
        for (i, one), (_, other) in zip(left, right, strict=False)
        if one != other
    ]
    for rest, side in ((left[paired:], "first build"), (right[paired:], "rebuild")):
        if rest:
            i, line = rest[0]
            what = "a line feed at the end" if rest == [(i, b"")] else f"a {noun}"
            words = f"{what if len(rest) == 1 else f'{len(rest):,} {noun}s'} only in the {side}"
            pair = (text_of(line), "") if side == "first build" else ("", text_of(line))
            found.append(recognise.difference(scope, f"{noun} {i + 1}", words, *pair))
    return found


def _hunks(left: list[bytes], right: list[bytes]) -> list[tuple[int, int, int, int]]:
    """Ranges of lines that differ, as a, b, c, d: `left[a:b]` against `right[c:d]`.

    Lines that occur once on both sides anchor the alignment (patience diff): never slower than sorting,
    whatever the texts are, which `difflib` is not.
    """
    hunks: list[tuple[int, int, int, int]] = []
    for (a, c), (b, d) in pairwise([(-1, -1), *_anchors(left, right), (len(left), len(right))]):
        a, c = a + 1, c + 1
        while a < b and c < d and left[a] == right[c]:
            a, c = a + 1, c + 1
        while a < b and c < d and left[b - 1] == right[d - 1]:
            b, d = b - 1, d - 1
        if a < b or c < d:
            hunks.append((a, b, c, d))
    return hunks


def _anchors(left: list[bytes], right: list[bytes]) -> list[tuple[int, int]]:
    """Pairs of places of lines unique on both sides, rising on both: the longest such series."""
    once_left, once_right = (
        {line: i for i, line in enumerate(lines) if counts[line] == 1}
        for lines, counts in ((left, Counter(left)), (right, Counter(right)))
    )
    pairs = [(i, once_right[line]) for line, i in once_left.items() if line in once_right]
    tails: list[int] = []  # tails[n]: the lowest right place that ends a series of n + 1
    ends: list[int] = []  # index into pairs of that end
    before: list[int] = []
    for index, (_, j) in enumerate(pairs):
        at = bisect_left(tails, j)
        before.append(ends[at - 1] if at else -1)
        tails[at : at + 1], ends[at : at + 1] = [j], [index]
    series, index = [], ends[-1] if ends else -1
    while index >= 0:
        series.append(pairs[index])
        index = before[index]
    return series[::-1]
