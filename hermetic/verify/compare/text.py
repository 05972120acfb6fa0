"""Text: which lines differ, with their numbers, and lists that are the same but for their order."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from typing import Final, TypeAlias

from hermetic.verify.compare import recognise
from hermetic.verify.compare.binary import common_head, compare_binary
from hermetic.verify.compare.model import MAX_PARSED, Data, Difference, Scope, excerpts, shown

_SAMPLE: Final = 64 << 10
_WHOLE: Final = MAX_PARSED // 2  # bytes: a longer text is not aligned line by line
Hunk: TypeAlias = tuple[int, int, int, int]  # left[a:b] against right[c:d]

_HUNKS: Final = 1000  # compared one by one
_MOVED: Final = 5000  # lines within which a move is looked for
_SEARCHED: Final = 200_000  # lines looked at in all while looking for moves
_LONG_LINE: Final = 64 << 10  # bytes; a longer line is not taken apart into words
_CONTROL: Final = re.compile(rb"[\0-\x06\x0e-\x1a\x1c-\x1f]")
_WORDS: Final = re.compile(r"[\s,;:(){}\[\]]+")


def is_text(data: Data) -> bool:
    """Whether it begins like UTF-8 text."""
    sample = data[:_SAMPLE].tobytes()
    if _CONTROL.search(sample):
        return False
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(sample) == _SAMPLE and error.start > len(sample) - 4
    return True


def compare_text(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Differing lines of two texts; at least one difference if there is any."""
    if max(len(left), len(right)) > _WHOLE:
        return _compare_long(scope, left, right)
    one, other = left.tobytes().split(b"\n"), right.tobytes().split(b"\n")
    if one != other and Counter(one) == Counter(other):
        first = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        lines = len(one) - (not one[-1])
        words = f"the same {lines:,} lines in another order, from line {first + 1} on"
        return [scope.found("order", "", words, *excerpts(shown(one[first]), shown(other[first])))]
    found: list[Difference] = []
    hunks = _with_moves_joined(one, other, _hunks(one, other))
    for a, b, c, d in hunks[:_HUNKS]:
        found.extend(_compare_hunk(scope, one[a:b], other[c:d], a))
    if len(hunks) > _HUNKS:
        found.append(scope.omitted(len(hunks) - _HUNKS, "places in which lines differ"))
    return found


def _compare_hunk(scope: Scope, left: list[bytes], right: list[bytes], base: int) -> list[Difference]:
    if len(left) > 1 and Counter(left) == Counter(right):
        where = f"lines {base + 1} to {base + len(left)}"
        words = f"the same {len(left):,} lines in another order"
        return [scope.found("order", where, words, *excerpts(shown(left[0]), shown(right[0])))]
    found = []
    for number, (one, other) in enumerate(zip(left, right, strict=False), base + 1):
        if one != other:
            found.append(_compare_line(scope, f"line {number}", one, other))
    paired = min(len(left), len(right))
    if left[paired:]:
        found.append(_one_sided(scope, base + paired + 1, left[paired:], is_left=True))
    if right[paired:]:
        found.append(_one_sided(scope, base + paired + 1, right[paired:], is_left=False))
    return found


def _one_sided(scope: Scope, number: int, lines: list[bytes], *, is_left: bool) -> Difference:
    what = "only in the first build" if is_left else "only in the rebuild"
    words = f"{'a line' if len(lines) == 1 else f'{len(lines):,} lines'} {what}"
    if lines == [b""]:
        words = f"a line feed at the end {what}"
    pair = (lines[0], b"") if is_left else (b"", lines[0])
    return recognise.difference_of_text(scope, f"line {number}", words, *pair)


def _compare_line(scope: Scope, where: str, left: bytes, right: bytes) -> Difference:
    short = max(len(left), len(right)) <= _LONG_LINE
    one, other = (_WORDS.split(_decoded(t)) if short else [] for t in (left, right))
    if one != other and len(one) > 1 and sorted(one) == sorted(other):
        words = f"the same {sum(map(bool, one)):,} words in another order"
        return scope.found("order", where, words, *excerpts(_decoded(left), _decoded(right)))
    if left.rstrip(b"\r") == right.rstrip(b"\r"):
        return scope.found("content", where, "another line ending", shown(left[-20:]), shown(right[-20:]))
    return recognise.difference_of_text(scope, where, "the line differs", left, right)


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


def _compare_long(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """The first differing line, and the bytes, of texts too long to be aligned."""
    head = common_head(left, right)
    number, start = 1, 0
    for base in range(0, head, 1 << 20):
        chunk = left[base : min(head, base + (1 << 20))].tobytes()
        number += chunk.count(b"\n")
        start = base + chunk.rfind(b"\n") + 1 if b"\n" in chunk else start
    start = max(start, head - 2048)
    one, other = (t[start : head + 2048].tobytes().split(b"\n")[0] for t in (left, right))
    first = _compare_line(scope, f"line {number}", one, other)
    return [first, *compare_binary(scope, left, right)]


def _hunks(left: list[bytes], right: list[bytes]) -> list[Hunk]:
    """Ranges of lines that differ: `left[a:b]` against `right[c:d]`.

    Lines that occur once on both sides anchor the alignment (patience diff): never slower than sorting,
    whatever the texts are, which the usual algorithms are not.
    """
    hunks: list[Hunk] = []
    a = c = 0
    for i, j in [*_anchors(left, right), (len(left), len(right))]:
        if a < i or c < j:
            hunks.extend(_trimmed(left, right, (a, i, c, j)))
        a, c = i + 1, j + 1
    return _joined(hunks)


def _trimmed(left: list[bytes], right: list[bytes], hunk: Hunk) -> list[Hunk]:
    """The hunk without the equal lines at its two ends."""
    a, b, c, d = hunk
    while a < b and c < d and left[a] == right[c]:
        a, c = a + 1, c + 1
    while a < b and c < d and left[b - 1] == right[d - 1]:
        b, d = b - 1, d - 1
    return [(a, b, c, d)] if a < b or c < d else []


def _joined(hunks: list[Hunk]) -> list[Hunk]:
    """Hunks that touch, made one."""
    joined: list[Hunk] = []
    for hunk in hunks:
        if joined and joined[-1][1] == hunk[0] and joined[-1][3] == hunk[2]:
            a, _, c, _ = joined.pop()
            hunk = (a, hunk[1], c, hunk[3])
        joined.append(hunk)
    return joined


def _with_moves_joined(left: list[bytes], right: list[bytes], hunks: list[Hunk]) -> list[Hunk]:
    """Neighbouring hunks made one where together they hold the same lines: a list in another order."""
    joined: list[Hunk] = []
    first = searched = 0
    while first < len(hunks):
        last, lines = _balanced_until(left, right, hunks, first) if searched < _SEARCHED else (first, 0)
        joined.append((hunks[first][0], hunks[last][1], hunks[first][2], hunks[last][3]))
        first, searched = last + 1, searched + lines
    return joined


def _balanced_until(left: list[bytes], right: list[bytes], hunks: list[Hunk], first: int) -> tuple[int, int]:
    """Index of the hunk up to which, from `first` on, both sides hold the same lines, or `first`.

    Returns:
        The index, and how many lines were looked at.
    """
    excess: Counter[bytes] = Counter()
    lines = 0
    for index, (a, b, c, d) in enumerate(hunks[first : first + _HUNKS], first):
        for line, change in [(x, 1) for x in left[a:b]] + [(x, -1) for x in right[c:d]]:
            excess[line] += change
            if not excess[line]:
                del excess[line]
        lines += b - a + d - c
        if not excess:
            return index, lines
        if lines > _MOVED:
            break
    return first, lines


def _anchors(left: list[bytes], right: list[bytes]) -> list[tuple[int, int]]:
    """Pairs of places of lines unique on both sides, rising on both: the longest such series."""
    once_left, once_right = _places_of_unique(left), _places_of_unique(right)
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


def _places_of_unique(lines: list[bytes]) -> dict[bytes, int]:
    counts = Counter(lines)
    return {line: i for i, line in enumerate(lines) if counts[line] == 1}
