"""The values of a comparison: what it gives, what it may know, where it stands, and how a format is read.

A format is a reader that takes a content apart into named parts. All formats are compared by the same code
(`contents`): which parts there are, their order, their fields, their contents, which may have a format again.
"Left" is the first build and "right" the rebuild, everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import msgspec

# Kind of a difference → how a headline calls it. Causes stand before consequences.
KINDS: Final = {
    "embedded-path": "an embedded path",
    "embedded-time": "an embedded time stamp",
    "embedded-host": "something of the host",  # its name, a user, the kernel, the number of jobs
    "embedded-random": "a random value",  # an address of memory, a UUID
    "only-left": "only in the first build",
    "only-right": "only in the rebuild",
    "type": "another kind of file",
    "mode": "another mode",
    "link": "another link target",
    "order": "another order",
    "metadata": "other header fields",
    "size": "another size",
    "content": "other content",
    "unreadable": "not readable",
    "omitted": "further differences",
}
_RANK: Final = {kind: rank for rank, kind in enumerate(KINDS)}

MAX_DETAILS: Final = 40  # differences listed per file; the others are counted
MAX_UNPACKED: Final = 64 << 20  # bytes of one part
CHUNK: Final = 1 << 20  # bytes that are copied at once
_EXCERPT: Final = 120  # characters


class Difference(msgspec.Struct, frozen=True):
    """One thing that differs between two trees.

    Attributes:
        path: of the tree's entry, relative, with `/`; `.` is the tree itself.
        kind: one of KINDS.
        where: the place in it: `line 3`, `member adler32.o, section .comment`; empty: the whole entry.
        words: what differs, as a sentence without a full stop.
        left: excerpt of the first build. right: of the rebuild. Printable characters and line feeds only.
        count: how many differences it stands for; more than one for `omitted`.
    """

    path: str
    kind: str
    where: str
    words: str
    left: str = ""
    right: str = ""
    count: int = 1


class BuildFacts(msgspec.Struct, frozen=True):
    """What is known of the machines and moments of the two builds, so that it is recognised when it leaks.

    Attributes:
        paths: of work directories and stores.
        times: Unix seconds at which the builds ran, as the builds saw them. Where it is empty, the change
            times of the compared files serve.
    """

    paths: tuple[str, ...] = ()
    host_names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    times: tuple[int, ...] = ()


class Malformed(Exception):
    """Bytes are not in the format that they seem to be in. Never leaves this package."""


Data: TypeAlias = memoryview  # of bytes; slices of it copy nothing


class Part(NamedTuple):
    """A named piece of a content.

    Attributes:
        name: `member a.o`, `section .text`, `function main`.
        fields: what its header says, as text.
        size: bytes of its content, as far as the header can be trusted.
        data: its content, or how to unpack it, which may raise anything if the bytes are damaged.
        format: how the content is read; None: its first bytes tell.
    """

    name: str
    fields: Mapping[str, str] = MappingProxyType({})
    size: int = 0
    data: Data | Callable[[], Data] = memoryview(b"")
    format: Format | None = None


class Format(NamedTuple):
    """How a content is taken apart.

    Attributes:
        name: in words, with an article.
        read: from a content to its parts. May raise anything if the bytes are damaged.
        magic: what it begins with, at the offset `at`.
        otherwise: what it means if bytes differ but no part does; empty: the bytes are compared.
    """

    name: str
    read: Callable[[Data], Iterable[Part]]
    magic: bytes = b""
    at: int = 0
    otherwise: str = ""


class Scope(msgspec.Struct, frozen=True):
    """Where a comparison stands.

    Attributes:
        trail: the steps inside of the entry, outermost first (`member a.o`).
        budget: one number, for the whole file: the bytes of parts that may still be compared. So a small
            file cannot cause endless work.
    """

    path: str
    facts: BuildFacts
    trail: tuple[str, ...] = ()
    budget: list[int] = msgspec.field(default_factory=lambda: [8 * MAX_UNPACKED])

    def found(self, kind: str, where: str, words: str, left: str = "", right: str = "") -> Difference:
        """A difference at `where` inside this scope."""
        steps = (*self.trail, where) if where else self.trail
        return Difference(self.path, kind, ", ".join(steps), words, left, right)

    def omitted(self, count: int, what: str) -> Difference:
        """That there are `count` further differences."""
        return msgspec.structs.replace(self.found("omitted", "", f"{count:,} further {what}"), count=count)

    def inside(self, step: str) -> Scope:
        """One step deeper."""
        return msgspec.structs.replace(self, trail=(*self.trail, step)) if step else self


def most_telling_first(scope: Scope, differences: Iterable[Difference]) -> list[Difference]:
    """Causes before consequences, at most MAX_DETAILS, and how many more there are."""
    found = sorted(differences, key=lambda d: _RANK[d.kind])
    rest = found[MAX_DETAILS:]
    more = [scope.omitted(sum(d.count for d in rest), "differences")] if rest else []
    return found[:MAX_DETAILS] + more


def same(left: Data, right: Data) -> bool:
    """Whether both hold the same bytes, in bounded memory."""
    return len(left) == len(right) and all(
        left[i : i + CHUNK].tobytes() == right[i : i + CHUNK].tobytes() for i in range(0, len(left), CHUNK)
    )


def text_of(data: bytes) -> str:
    """Bytes as text, whatever they are."""
    return data.decode("utf-8", "backslashreplace")


def shown(text: bytes | str) -> str:
    """The text with everything that a terminal would act upon, or cannot show, written as an escape."""
    text = text_of(text) if isinstance(text, bytes) else text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def excerpts(left: str, right: str, width: int = _EXCERPT) -> tuple[str, str]:
    """Both texts, cut to `width` characters around their first difference, fit to be shown."""
    start = max(0, common_prefix(left, right) - width // 3)
    stop = start + width
    cut = [("…" * (start > 0)) + shown(t[start:stop]) + "…" * (len(t) > stop) for t in (left, right)]
    return cut[0], cut[1]


def common_prefix(left: str | bytes, right: str | bytes) -> int:
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
