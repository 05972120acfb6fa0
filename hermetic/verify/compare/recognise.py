"""Recognises what leaks into builds: paths, times, host names, users, kernel releases, addresses of memory.

Only what touches a differing region is looked at, and it must itself differ, so that a path that stands
beside a difference is not blamed for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from hermetic.verify.compare.model import BuildFacts, Data, Difference, Scope, common_prefix, excerpts, moment

_NEAR: Final = 2 * 86_400  # seconds; a build takes less
_LONGEST: Final = 3600  # seconds that a build may have gone on after it looked at the clock
_WINDOW: Final = 4096  # characters looked at: lines can be as long as a file
_SEPARATORS: Final = re.compile(r"[\s,;:(){}\[\]]+")
_ORDERS: Final[tuple[Literal["little", "big"], ...]] = ("little", "big")
_NO_TIMES: Final = (0, 1, 315_532_800)  # what tools write for "no time"; the last is 1980, as in zip archives

_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY: Final = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK: Final = r"[0-2]\d:[0-5]\d:[0-6]\d"
_ZONE: Final = r"(?: (?:[A-Z]{3,5}|[+-]\d{4}))?"
_DATE: Final = r"(?:19[7-9]|20\d)\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_REST: Final = r"""[^\s"'`<>|:;,=()\[\]{}\\]"""  # of a path
_ROOTS: Final = "build|dev|etc|gnu|hermetic|home|mnt|nix|opt|proc|root|srv|tmp|usr|var|work"
_PATH: Final = (  # also behind `-I` and `file://`; of one component only where it is a well-known one
    r"(?:(?<![\w.~/])|(?<=\W-[A-Za-z])|(?<=^-[A-Za-z])|(?<=file://))"
    rf"/(?:{_REST}+/{_REST}+|(?:{_ROOTS})(?!{_REST}))"
)


class _Row(NamedTuple):
    """Something that leaks. `alone`: it counts where only one side has it."""

    kind: str
    what: str
    pattern: re.Pattern[str]
    alone: bool = False


def _time(what: str, pattern: str, *, alone: bool = False) -> _Row:
    return _Row("embedded-time", f"an embedded time stamp ({what})", re.compile(pattern), alone)


_TIMES: Final = (
    _time("date and time", rf"\b{_DAY},? {_MONTH} [ 0-3]?\d {_CLOCK}{_ZONE} \d{{4}}", alone=True),
    _time("date and time", rf"\b[0-3]?\d {_MONTH} \d{{4}},? {_CLOCK}{_ZONE}", alone=True),
    _time("ISO 8601 time", rf"\b{_DATE}[T _]{_CLOCK}(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", alone=True),
    _time("`__DATE__` and `__TIME__`", rf"\b{_MONTH} [ 0-3]\d \d{{4}},? {_CLOCK}", alone=True),
    _time("ISO 8601 date", rf"\b{_DATE}(?!\d)"),
    _time("`__DATE__`", rf"\b{_MONTH} [ 0-3]\d \d{{4}}\b"),
    _time("`__TIME__`", rf"\b{_CLOCK}\b"),
    _time("date", r"\b20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[T_-]?[0-2]\d[0-5]\d[0-6]\d)?Z?\b"),
)
_SECONDS: Final = _time("Unix seconds", r"(?<![\w.])\d{9,10}(?!\d)(?:\.\d+)?")
_WORD: Final = _time("part of a date", r"\w+(?:-\d\d\b)?")
# Less than a date: so little that it counts only if it is what the builds' own times are written as.
_PARTS: Final = ("%Y-%m", "%Y%m", "%Y", "%b", "%B", "%a", "%A", "%d", "%j")
_BOTH_PATHS: Final = _Row("embedded-path", "an embedded path", re.compile(_PATH))
_OTHERS: Final = (
    _BOTH_PATHS._replace(alone=True),
    _Row("embedded-host", "the number of jobs", re.compile(r"(?<![\w-])(?:-j ?|--jobs[= ]|JOBS=)\d+\b")),
    _Row(
        "embedded-random",
        "an address of memory",
        re.compile(r"(?i)\b0x(?:0000)?(?:7f|5[56]|ff)[\da-f]{8,12}\b"),
    ),
    _Row("embedded-random", "a UUID", re.compile(r"(?i)\b[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\b")),
)


@lru_cache(maxsize=64)
def _known(facts: BuildFacts) -> tuple[_Row, ...]:
    """The facts that were told: they count even when only one side has them."""
    paths = "|".join(re.escape(path) for path in sorted(facts.paths, key=len, reverse=True) if path)
    rows = []
    if paths:
        known = rf"""(?<!\w)(?:{paths})[^\s"':;,]*"""
        rows.append(_Row("embedded-path", "an embedded path", re.compile(f"{known}|{_PATH}")))
        rows.append(_Row("embedded-path", "an embedded path", re.compile(known), alone=True))
    rows.append(_BOTH_PATHS)  # before the others: a time or a name in a path is told with the path
    for what, values in (
        ("the host name", facts.host_names),
        ("the kernel's release or version", facts.kernels),
        ("the user's name", facts.users),
    ):
        either = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True) if value)
        if either:
            rows.append(_Row("embedded-host", what, re.compile(rf"(?<!\w)(?:{either})(?!\w)"), alone=True))
    return tuple(rows)


Recognised: TypeAlias = tuple[str, str]  # the kind of a difference, and words with both values


class _Region(NamedTuple):
    """A text, and the part of it outside of which the other text is equal."""

    text: str
    start: int
    end: int

    def match(self, row: _Row) -> str:
        """What touches the region, or an empty text."""
        spans = ((m.start(), m.end()) for m in row.pattern.finditer(self.text))
        return next((self.text[a:b] for a, b in spans if a <= self.end and b >= self.start), "")


def in_text(left: str, right: str, facts: BuildFacts) -> Recognised | None:
    """What differs between two texts (lines, strings), if it is one of the things known to leak."""
    start = common_prefix(left, right)
    if max(len(left), len(right)) > _WINDOW:
        first = max(0, start - _WINDOW // 8)
        left, right, start = left[first : first + _WINDOW], right[first : first + _WINDOW], start - first
    tail = common_prefix(left[start:][::-1], right[start:][::-1])
    one, other = (_Region(text, start, len(text) - tail) for text in (left, right))
    return (
        _first(one, other, (*_known(facts), *_TIMES))
        or _seconds_or_part(one, other, facts)
        or _first(one, other, _OTHERS)
    )


def _first(left: _Region, right: _Region, rows: Iterable[_Row]) -> Recognised | None:
    for row in rows:
        one, other = left.match(row), right.match(row)
        if one != other and ((one and other) or row.alone):
            return _against(row, one, other)
    return None


def _against(row: _Row, one: str, other: str) -> Recognised:
    left, right = (f"'{text}'" for text in excerpts(one, other, width=72))
    if one and other:
        return row.kind, f"{row.what}: {left} against {right}"
    side = f"in the first build only: {left}" if one else f"in the rebuild only: {right}"
    return row.kind, f"{row.what}, {side}"


def _seconds_or_part(left: _Region, right: _Region, facts: BuildFacts) -> Recognised | None:
    one, other = left.match(_SECONDS), right.match(_SECONDS)
    if one != other and one and other:
        seconds = [int(value.partition(".")[0]) for value in (one, other)]
        if _near(seconds[0], seconds[1], facts):
            times = " against ".join(f"{v} ({moment(s)})" for v, s in zip((one, other), seconds, strict=True))
            return _SECONDS.kind, f"{_SECONDS.what}: {times}"
    one, other = left.match(_WORD), right.match(_WORD)
    moments = [datetime.fromtimestamp(t - before, UTC) for t in facts.times for before in (0, _LONGEST)]
    if one != other and any({one, other} <= {m.strftime(form) for m in moments} for form in _PARTS):
        return _against(_WORD, one, other)
    return None


def difference(
    scope: Scope, where: str, words: str, left: str, right: str, kind: str = "content"
) -> Difference:
    """The difference of two texts, with `kind` and `words` in case nothing is recognised in it."""
    one, other = ([w for w in _SEPARATORS.split(t[: 64 << 10]) if w] for t in (left, right))
    recognised = in_text(left, right, scope.facts)
    if recognised is None and one != other and len(one) > 1 and sorted(one) == sorted(other):
        recognised = "order", f"the same {len(one):,} words in another order"
    kind, words = recognised or (kind, words)
    return scope.found(kind, where, words, *excerpts(left, right))


def in_integers(left: Data, right: Data, at: int, facts: BuildFacts) -> Recognised | None:
    """Whether the byte `at` belongs to 32 bits, of either byte order, that count seconds since 1970. Of 64
    bits, those 32 are the lower half."""
    places = range(max(0, at - 3), min(at, len(left) - 4, len(right) - 4) + 1)
    for first in sorted(places, key=lambda place: place % 4 != 0):
        for order in _ORDERS:
            one, other = (int.from_bytes(data[first : first + 4], order) for data in (left, right))
            if _near(one, other, facts):
                words = f"(32 bits, {order} endian): {moment(one)} against {moment(other)}"
                return "embedded-time", f"an embedded time stamp {words}"
    return None


def _near(one: int, other: int, facts: BuildFacts) -> bool:
    """Whether both are times of the builds, or one is and the other is what a tool writes for 'no time'."""
    near = [any(abs(value - t) <= _NEAR for t in facts.times) for value in (one, other)]
    return all(near) or (any(near) and min(one, other) in _NO_TIMES)
