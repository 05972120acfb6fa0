"""Recognises what leaks into builds: paths, times, host names, users, kernel releases, addresses of memory.

Only what touches a differing region is looked at, and it must itself differ, so that a path that stands
beside a difference is not blamed for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from hermetic.verify.compare.model import (
    BuildFacts,
    Data,
    Difference,
    Kind,
    Scope,
    common_prefix,
    excerpts,
    moment,
    quoted,
)

_NEAR: Final = 2 * 86_400  # seconds; a build takes less
_WINDOW: Final = 4096  # characters looked at: lines can be as long as a file
_KNOWN_ROOTS: Final = frozenset(
    {
        "build",
        "builddir",
        "dev",
        "etc",
        "gnu",
        "hermetic",
        "home",
        "lib",
        "mnt",
        "nix",
        "opt",
        "proc",
        "root",
        "run",
        "srv",
        "tmp",
        "Users",
        "usr",
        "var",
        "work",
        "workspace",
    }
)
_MONTHS: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DAYS: Final = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_CLOCK: Final = r"[0-2]\d:[0-5]\d:[0-6]\d"
_DATE: Final = r"(?:19[7-9]|20\d)\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"

_PATH: Final = re.compile(
    r"""(?:(?<![\w.~/])|(?<=\W-[A-Za-z])|(?<=^-[A-Za-z])|(?<=file://))/[^\s"'`<>|:;,=()\[\]{}\\]+"""
)
_TIMES: Final = tuple(
    (words, re.compile(pattern), alone)
    for words, pattern, alone in (
        (
            "date and time",
            rf"\b(?:{_DAYS}),? (?:{_MONTHS}) [ 0-3]?\d {_CLOCK}(?: [A-Z]{{3,5}})? \d{{4}}",
            True,
        ),
        (
            "date and time",
            rf"\b[0-3]?\d (?:{_MONTHS}) \d{{4}},? {_CLOCK}(?: (?:[A-Z]{{3,5}}|[+-]\d{{4}}))?",
            True,
        ),
        ("ISO 8601 time", rf"\b{_DATE}[T _]{_CLOCK}(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", True),
        (
            "date and time as `__DATE__` and `__TIME__` write them",
            rf"\b(?:{_MONTHS}) [ 0-3]\d \d{{4}},? {_CLOCK}",
            True,
        ),
        ("ISO 8601 date", rf"\b{_DATE}(?!\d)", False),
        ("date as `__DATE__` writes it", rf"\b(?:{_MONTHS}) [ 0-3]\d \d{{4}}\b", False),
        ("time of day as `__TIME__` writes it", rf"\b{_CLOCK}\b", False),
        (
            "date",
            r"\b20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[T_-]?[0-2]\d[0-5]\d[0-6]\d)?Z?\b",
            False,
        ),
    )
)
# Less than a date: so little that it counts only if it is what the builds' own times are written as.
_PARTS: Final = tuple(
    (words, re.compile(pattern), form)
    for words, pattern, form in (
        ("year and month", r"\b20\d\d-[01]\d\b", "%Y-%m"),
        ("year and month", r"\b20\d\d[01]\d\b", "%Y%m"),
        ("year", r"\b20\d\d\b", "%Y"),
        ("month", rf"\b(?:{_MONTHS})\b", "%b"),
        ("month", rf"\b(?:{_MONTHS})[a-z]+\b", "%B"),
        ("day of the week", rf"\b(?:{_DAYS})\b", "%a"),
        ("day of the week", rf"\b(?:{_DAYS})[a-z]+\b", "%A"),
        ("day of the month", r"\b[0-3]\d\b", "%d"),
        ("day of the year", r"\b[0-3]\d\d\b", "%j"),
    )
)
_LONGEST: Final = 3600  # seconds that a build may have gone on after it looked at the clock
_SECONDS: Final = re.compile(r"(?<![\w.])\d{9,10}(?![\d])(?:\.\d+)?")
_RELEASE: Final = re.compile(
    r"\b[2-9]\.\d{1,2}\.\d{1,3}(?:-[\w.+~]+)*-?(?:amd64|arm64|generic|cloud|azure|aws|gcp|x86_64|aarch64|microsoft|lts|zen|arch)[\w.+~-]*"
)
_ADDRESS: Final = re.compile(r"\b0x(?:0000)?(?:7f|5[56]|ff)[0-9a-f]{8,12}\b", re.IGNORECASE)
_UUID: Final = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
_JOBS: Final = re.compile(r"(?<![\w-])(?:-j ?|--jobs[= ]|JOBS=)\d+\b")


class Recognised(msgspec.Struct, frozen=True):
    """What a difference was recognised as, in words with both values. `both`: it stands on both sides."""

    kind: Kind
    words: str
    both: bool = True


class _Regions(msgspec.Struct, frozen=True):
    """Two texts and, in each, the region outside of which they are equal."""

    left: str
    right: str
    start: int
    left_end: int
    right_end: int


def in_text(left: str, right: str, facts: BuildFacts) -> Recognised | None:
    """What differs between two texts (lines, strings), if it is one of the things known to leak."""
    start = common_prefix(left, right)
    if max(len(left), len(right)) > _WINDOW:
        first = max(0, start - _WINDOW // 8)
        left, right, start = left[first : first + _WINDOW], right[first : first + _WINDOW], start - first
    tail = common_prefix(left[start:][::-1], right[start:][::-1])
    regions = _Regions(left, right, start, len(left) - tail, len(right) - tail)
    path = _path(regions)
    if path is not None and path.both:  # a time in a path is told with the path
        return _known(regions, facts) or path
    return _known(regions, facts) or _time(regions, facts) or path or _other(regions)


def difference_of_text(
    scope: Scope, where: str, words: str, left: bytes | str, right: bytes | str
) -> Difference:
    """The difference of two texts, with `words` in case nothing is recognised in it."""
    one, other = (t if isinstance(t, str) else t.decode("utf-8", "backslashreplace") for t in (left, right))
    recognised = in_text(one, other, scope.facts)
    kind: Kind = recognised.kind if recognised else "content"
    return scope.found(kind, where, recognised.words if recognised else words, *excerpts(one, other))


def _pairs(
    regions: _Regions, find: Callable[[str], Iterator[tuple[int, int]]]
) -> tuple[str | None, str | None]:
    """What `find` finds in the differing regions, left and right; both None where it is the same."""
    left = _touching(regions.left, regions.start, regions.left_end, find)
    right = _touching(regions.right, regions.start, regions.right_end, find)
    return (None, None) if left == right else (left, right)


def _touching(
    text: str, start: int, end: int, find: Callable[[str], Iterator[tuple[int, int]]]
) -> str | None:
    for first, last in find(text):
        if first <= end and last >= start:
            return text[first:last]
    return None


def _matches(pattern: re.Pattern[str]) -> Callable[[str], Iterator[tuple[int, int]]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _literal(value: str, *, to_delimiter: bool = False) -> Callable[[str], Iterator[tuple[int, int]]]:
    pattern = re.escape(value) + (r"""[^\s"':;,]*""" if to_delimiter else "")
    return _matches(re.compile(rf"(?<![\w]){pattern}" + ("" if to_delimiter else r"(?![\w])")))


def _against(kind: Kind, what: str, left: str | None, right: str | None) -> Recognised | None:
    if left is not None and right is not None:
        one, other = quoted(left, right)
        return Recognised(kind, f"{what}: {one} against {other}")
    if left is not None:
        return Recognised(kind, f"{what}, in the first build only: {quoted(left, '')[0]}", False)
    if right is not None:
        return Recognised(kind, f"{what}, in the rebuild only: {quoted('', right)[1]}", False)
    return None


def _known(regions: _Regions, facts: BuildFacts) -> Recognised | None:
    """Facts that were told: they count even when only one side has them."""
    for path in facts.paths:
        left, right = _pairs(regions, _literal(path, to_delimiter=True))
        if left or right:
            others = _pairs(regions, _matches(_PATH))
            return _against("embedded-path", "an embedded path", left or others[0], right or others[1])
    words: list[tuple[str, tuple[str, ...]]] = [
        ("the host name", facts.host_names),
        ("the kernel's release", facts.kernel_releases),
        *((word, (value,)) for word, value in sorted(facts.others.items())),
        ("the user's name", facts.users),
    ]
    for what, values in words:
        either = "|".join(re.escape(v) for v in sorted(values, key=len, reverse=True) if v)
        if either:
            left, right = _pairs(regions, _matches(re.compile(rf"(?<!\w)(?:{either})(?!\w)")))
            in_path = _path(regions) if what == "the user's name" and (left or right) else None
            found = in_path or _against("embedded-host", what, left, right)
            if found:
                return found
    return None


def _time(regions: _Regions, facts: BuildFacts) -> Recognised | None:
    for what, pattern, alone in _TIMES:
        left, right = _pairs(regions, _matches(pattern))
        if (left and right) or (alone and (left or right)):
            return _against("embedded-time", f"an embedded time stamp ({what})", left, right)
    left, right = _pairs(regions, _matches(_SECONDS))
    if left and right:
        one, other = (int(value.partition(".")[0]) for value in (left, right))
        if _near(one, other, facts):
            words = f"{left} ({moment(one)}) against {right} ({moment(other)})"
            return Recognised("embedded-time", f"an embedded time stamp (unix seconds): {words}")
    return _part_of_date(regions, facts)


def _part_of_date(regions: _Regions, facts: BuildFacts) -> Recognised | None:
    moments = [datetime.fromtimestamp(t - before, UTC) for t in facts.times for before in (0, _LONGEST)]
    for what, pattern, form in _PARTS:
        left, right = _pairs(regions, _matches(pattern))
        if left and right and {left, right} <= {m.strftime(form) for m in moments}:
            return _against("embedded-time", f"an embedded time stamp ({what})", left, right)
    return None


def _path(regions: _Regions) -> Recognised | None:
    left, right = _pairs(regions, _matches(_PATH))
    left, right = (p if p is not None and _is_path(p) else None for p in (left, right))
    home = any(p is not None and re.match(r"/(?:home/|root(?:/|$)|Users/)", p) for p in (left, right))
    return _against(
        "embedded-path", "an embedded path" + (" of a home directory" if home else ""), left, right
    )


def _is_path(text: str) -> bool:
    parts = text.strip("/").split("/")
    return parts[0] in _KNOWN_ROOTS or (len(parts) > 1 and len(text) > 5)


def _other(regions: _Regions) -> Recognised | None:
    known: tuple[tuple[Kind, str, re.Pattern[str]], ...] = (
        ("embedded-host", "a kernel's release", _RELEASE),
        ("embedded-host", "the number of jobs", _JOBS),
        ("embedded-random", "an address of memory", _ADDRESS),
        ("embedded-random", "a UUID", _UUID),
    )
    for kind, what, pattern in known:
        left, right = _pairs(regions, _matches(pattern))
        if left and right:
            return _against(kind, what, left, right)
    return None


def in_integers(left: Data, right: Data, start: int, end: int, facts: BuildFacts) -> Recognised | None:
    """Whether the differing bytes `start` to `end` lie in an integer that counts time since 1970.

    Tried: 32 bits of seconds; 64 bits of milliseconds, microseconds or nanoseconds; either byte order.
    """
    for width, units in ((4, (1,)), (8, (1_000, 1_000_000, 1_000_000_000))):
        for first in _windows(start, end, width, min(len(left), len(right))):
            for order, name in (("little", "little endian"), ("big", "big endian")):
                one = int.from_bytes(left[first : first + width], order)  # type: ignore[arg-type]
                other = int.from_bytes(right[first : first + width], order)  # type: ignore[arg-type]
                for unit in units:
                    if _near(one // unit, other // unit, facts):
                        return Recognised(
                            "embedded-time", _seconds(one // unit, other // unit, f"{width * 8} bits, {name}")
                        )
    return None


def _windows(start: int, end: int, width: int, limit: int) -> list[int]:
    """Where an integer of `width` bytes can begin that holds all differing bytes; aligned places first."""
    places = range(max(0, end - width), min(start, limit - width) + 1)
    return sorted(places, key=lambda place: place % width != 0)


def _seconds(one: int, other: int, how: str) -> str:
    return f"an embedded time stamp ({how}): {moment(one)} against {moment(other)}"


def _near(one: int, other: int, facts: BuildFacts) -> bool:
    """Whether both are times of the builds, or one is and the other is what a tool writes for 'no time'."""
    near = [any(abs(value - t) <= _NEAR for t in facts.times) for value in (one, other)]
    return all(near) or (any(near) and min(one, other) in (0, 1, 315_532_800))
