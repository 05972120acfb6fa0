"""What a comparison gives (`Difference`), what it may know (`BuildFacts`), and the words both are put in.

"Left" is the first build, "right" the rebuild, everywhere in this package.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal[
    "embedded-path",  # a path that does not belong there
    "embedded-time",  # a time stamp, a date
    "embedded-host",  # host name, user, kernel release, number of jobs, owner of an archive's member
    "embedded-random",  # an address of memory, a UUID
    "only-left",  # an entry that the rebuild lacks
    "only-right",  # an entry that only the rebuild has
    "type",  # a file against a link, an ELF file against text
    "mode",  # the executable bit
    "link",  # target of a symbolic link
    "order",  # the same things in another order
    "metadata",  # a header's field
    "content",  # other bytes
    "size",  # other length
    "unreadable",  # could not be compared
    "omitted",  # how many further differences of this file are not listed
]
KINDS: Final[tuple[Kind, ...]] = Kind.__args__  # type: ignore[attr-defined]
_RANK: Final = {kind: rank for rank, kind in enumerate(KINDS)}

MAX_DETAILS: Final = 40  # differences listed per file; the rest is counted
MAX_PARSED: Final = 64 << 20  # bytes: what is unpacked or taken apart at most
EXCERPT: Final = 120  # characters


class Difference(msgspec.Struct, frozen=True):
    """One thing that differs between two trees.

    Attributes:
        path: of the tree's entry, relative, with `/`; `.` is the tree itself.
        where: the place in it: `line 3`, `member adler32.o, section .comment`; empty: the whole entry.
        words: what differs, as a sentence without a full stop.
        count: how many differences it stands for; more than one for `omitted`.
        left: excerpt of the first build. right: of the rebuild. Printable characters and line feeds only.
    """

    path: str
    kind: Kind
    where: str
    words: str
    left: str = ""
    right: str = ""
    count: int = 1


class BuildFacts(msgspec.Struct, frozen=True):
    """What is known of the machines and moments of the two builds, so that it is recognised when it leaks.

    Attributes:
        paths: of work folders and stores.
        times: unix seconds at which the builds ran, as the builds saw them. Where it is empty, the change
            times of the compared files serve.
        others: word to value, such as `the model of the CPU`.
    """

    paths: tuple[str, ...] = ()
    host_names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    kernel_releases: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    others: dict[str, str] = {}


class Malformed(Exception):
    """Bytes are not in the format that they seem to be in. Never leaves this package."""


Data: TypeAlias = memoryview  # of bytes; slices of it copy nothing
Compare: TypeAlias = "Callable[[Scope, Data, Data], list[Difference]]"


@dataclass(frozen=True)
class Scope:
    """Where a comparison stands: which entry, how deep inside of it, and what is known.

    Attributes:
        trail: the steps inside, outermost first (`member a.o`).
        name: file name of what is compared, for formats that are told by it.
        compare: compares content of any format; passed along, as formats contain each other.
    """

    path: str
    facts: BuildFacts
    compare: Compare
    trail: tuple[str, ...] = ()
    name: str = ""

    def found(self, kind: Kind, where: str, words: str, left: str = "", right: str = "") -> Difference:
        """A difference at `where` inside this scope."""
        steps = (*self.trail, where) if where else self.trail
        return Difference(self.path, kind, ", ".join(steps), words, left, right)

    def omitted(self, count: int, what: str) -> Difference:
        """That there are `count` further differences."""
        words = f"{count:,} further {what}"
        return Difference(self.path, "omitted", ", ".join(self.trail), words, count=count)

    def nested(self, step: str, name: str, left: Data, right: Data) -> list[Difference]:
        """Differences of what lies inside, one step deeper."""
        return self.compare(replace(self, trail=(*self.trail, step), name=name), left, right)


def most_telling_first(differences: Iterable[Difference], limit: int = MAX_DETAILS) -> list[Difference]:
    """Differences of one file, causes before consequences, at most `limit`, and how many more there are."""
    found = sorted(differences, key=lambda d: _RANK[d.kind])
    if len(found) <= limit:
        return found
    more = sum(d.count for d in found[limit:])
    words = f"{more:,} further differences in this file"
    return [*found[:limit], Difference(found[0].path, "omitted", "", words, count=more)]


def shown(text: bytes | str) -> str:
    """The text with everything that a terminal would act upon, or cannot show, written as an escape."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def excerpts(left: str, right: str, *, width: int = EXCERPT) -> tuple[str, str]:
    """Both texts, cut to `width` characters around their first difference, fit to be shown."""
    first = common_prefix(left, right)
    start = max(0, first - width // 3)
    return _cut(left, start, width), _cut(right, start, width)


def _cut(text: str, start: int, width: int) -> str:
    piece = shown(text[start : start + width])
    return ("…" if start else "") + piece + ("…" if len(text) > start + width else "")


def quoted(left: str, right: str, width: int = 72) -> tuple[str, str]:
    """The same in quotation marks."""
    one, other = excerpts(left, right, width=width)
    return f"'{one}'", f"'{other}'"


def common_prefix(left: str, right: str) -> int:
    """Number of characters that both begin with."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def moment(seconds: float) -> str:
    """Unix seconds as people write a time, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"


def view(data: bytes | mmap.mmap) -> Data:
    """The bytes as what this package passes around."""
    return memoryview(data)
