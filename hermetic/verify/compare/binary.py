"""Content of which nothing is known: how many bytes differ, where, which texts, a hexdump."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Final

from hermetic.verify.compare import recognise
from hermetic.verify.compare.model import Data, Difference, Kind, Scope, excerpts, shown

CHUNK: Final = 1 << 20
_REGIONS: Final = 512  # looked at one by one; all are counted
_REGION: Final = re.compile(
    rb"[^\0]+(?:\0{1,3}[^\0]+)*"
)  # differing bytes, at most 3 equal ones between them
_TEXT: Final = re.compile(rb"[\t\x20-\x7e]{4,}")
_AROUND: Final = 512  # bytes of a string looked at on each side of a difference
_STRINGS: Final = 16 << 20  # bytes searched for strings at most

Place = Callable[[int], str]  # from an offset to the words for it


def offset_place(offset: int) -> str:
    """Words for a place of which only the offset is known."""
    return f"offset {offset:#x}"


def same(left: Data, right: Data) -> bool:
    """Whether both hold the same bytes, in bounded memory."""
    if len(left) != len(right):
        return False
    return all(
        left[i : i + CHUNK].tobytes() == right[i : i + CHUNK].tobytes() for i in range(0, len(left), CHUNK)
    )


def compare_binary(scope: Scope, left: Data, right: Data, place: Place = offset_place) -> list[Difference]:
    """Differences of bytes without known structure; at least one if there is any.

    Args:
        place: words for an offset, such as the symbol that lies there.
    """
    if len(left) != len(right):
        return _of_other_length(scope, left, right, place)
    return _of_same_length(scope, left, right, place)


def _of_same_length(scope: Scope, left: Data, right: Data, place: Place) -> list[Difference]:
    count, regions, complete = _differing(left, right)
    if not count:
        return []
    found: dict[str, Difference] = {}
    unknown: list[tuple[int, int]] = []
    for start, end in regions:
        difference = _recognised(scope, left, right, start, end, place)
        if difference is None:
            unknown.append((start, end))
        else:
            found.setdefault(difference.where, difference)
    if unknown or not complete:
        start = (unknown or regions)[0][0]
        where = (
            f"{len(regions):,}{'' if complete else ' or more'} places" if len(regions) > 1 else "one place"
        )
        words = f"{count:,} of {len(left):,} bytes differ, in {where}, first at offset {start:#x}"
        found["content"] = _content(scope, place(start), words, left, right, start)
    return list(found.values())


def _of_other_length(scope: Scope, left: Data, right: Data, place: Place) -> list[Difference]:
    found = compare_strings(scope, "", left, right)
    head, tail = common_head(left, right), common_tail(left, right)
    shorter, longer = sorted((len(left), len(right)))
    if head + tail >= shorter:
        what = "more" if len(right) > len(left) else "fewer"
        at = min(head, shorter)
        words = f"{longer - shorter:,} bytes {what} in the rebuild at offset {at:#x}; the others are the same"
    else:
        equal = f"the same up to offset {head:#x} and in the last {tail:,}"
        words = f"{len(left):,} bytes against {len(right):,}, {equal}"
    found.append(_content(scope, place(head), words, left, right, head, kind="size"))
    return found


def _content(
    scope: Scope, where: str, words: str, left: Data, right: Data, at: int, kind: Kind = "content"
) -> Difference:
    return scope.found(kind, where, words, hexdump(left, at), hexdump(right, at))


def _differing(left: Data, right: Data) -> tuple[int, list[tuple[int, int]], bool]:
    """Number of differing bytes, the first regions they are in, and whether those are all."""
    count, regions, complete = 0, list[tuple[int, int]](), True
    for base in range(0, len(left), CHUNK):
        one, other = left[base : base + CHUNK].tobytes(), right[base : base + CHUNK].tobytes()
        if one == other:
            continue
        mask = (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")
        count += len(mask) - mask.count(0)
        for match in _REGION.finditer(mask):
            if len(regions) == _REGIONS:
                complete = False
                break
            regions.append((base + match.start(), base + match.end()))
    return count, regions, complete


def _recognised(
    scope: Scope, left: Data, right: Data, start: int, end: int, place: Place
) -> Difference | None:
    """What the region is, where it is text or an integer that is known to leak."""
    one, first = _text_around(left, start, end)
    other, second = _text_around(right, start, end)
    if one and other and first == second:
        what = recognise.in_text(one, other, scope.facts)
        if what:
            return scope.found(what.kind, place(first), what.words, *excerpts(one, other))
    what = recognise.in_integers(left, right, start, end, scope.facts)
    if what:
        return scope.found(
            what.kind, place(start), what.words, hexdump(left, start, 1), hexdump(right, start, 1)
        )
    return None


def _text_around(data: Data, start: int, end: int) -> tuple[str, int]:
    """The printable text that covers the first differing byte, and its offset; empty where there is none."""
    base = max(0, start - _AROUND)
    window = data[base : min(end, start + _AROUND) + _AROUND].tobytes()
    for match in _TEXT.finditer(window):
        if match.start() <= start - base <= match.end():
            return match.group().decode("ascii"), base + match.start()
    return "", start


def strings(data: Data) -> Iterator[bytes]:
    """Runs of four and more printable characters, in order."""
    return (match.group() for match in _TEXT.finditer(data))


def compare_strings(scope: Scope, where: str, left: Data, right: Data) -> list[Difference]:
    """Differences of the texts inside of bytes: those on one side only, paired in order, or another order.

    Only what is recognised, and a changed order, is worth telling: the rest is in the bytes.
    """
    if max(len(left), len(right)) > _STRINGS:
        return []
    one, other = list(strings(left)), list(strings(right))
    if one == other:
        return []
    gone, new = _only(one, other)
    if not gone and not new and len(one) > 1:
        first = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        pair = shown(one[first]), shown(other[first])
        return [
            scope.found("order", where, f"the same {len(one):,} strings in another order", *excerpts(*pair))
        ]
    if len(gone) != len(new):  # strings that have no counterpart: pair only those that leak
        gone, new = ([t for t in side[:_REGIONS] if _leaks(scope, t)] for side in (gone, new))
    found: dict[str, Difference] = {}
    for a, b in zip_longest(gone[:_REGIONS], new[:_REGIONS], fillvalue=b""):
        difference = recognise.difference_of_text(scope, where, "", a, b)
        if difference.kind != "content":
            found.setdefault(difference.words, difference)
    return list(found.values())


def _leaks(scope: Scope, text: bytes) -> bool:
    return recognise.in_text(text.decode("utf-8", "backslashreplace"), "", scope.facts) is not None


def _only(left: list[bytes], right: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Elements of which one side has more, in their order."""
    return _beyond(left, Counter(right)), _beyond(right, Counter(left))


def _beyond(items: list[bytes], known: Counter[bytes]) -> list[bytes]:
    rest = []
    for item in items:
        if known[item] > 0:
            known[item] -= 1
        else:
            rest.append(item)
    return rest


def common_head(left: Data, right: Data) -> int:
    """Number of bytes that both begin with."""
    shorter = min(len(left), len(right))
    for base in range(0, shorter, CHUNK):
        size = min(CHUNK, shorter - base)
        one, other = left[base : base + size].tobytes(), right[base : base + size].tobytes()
        if one != other:
            return base + _equal_until(one, other)
    return shorter


def common_tail(left: Data, right: Data) -> int:
    """Number of bytes that both end with."""
    shorter = min(len(left), len(right))
    for done in range(0, shorter, CHUNK):
        size = min(CHUNK, shorter - done)
        one = left[len(left) - done - size : len(left) - done].tobytes()
        other = right[len(right) - done - size : len(right) - done].tobytes()
        if one != other:
            return done + _equal_until(one[::-1], other[::-1])
    return shorter


def _equal_until(one: bytes, other: bytes) -> int:
    mask = (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")
    return len(mask) - len(mask.lstrip(b"\0"))


def hexdump(data: Data, at: int, rows: int = 2) -> str:
    """Rows of sixteen bytes from the one that holds the offset `at`, in hex and as text."""
    first = at - at % 16
    lines = []
    for base in range(first, min(first + 16 * rows, len(data)), 16):
        row = data[base : base + 16].tobytes()
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{base:08x}  {row.hex(' '):<47}  |{text}|")
    return "\n".join(lines) or f"{first:08x}  (ends here)"
