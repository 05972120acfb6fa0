"""Tells a content's format, takes both sides apart, and compares the parts; what has no format is bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, TypeVar

from msgspec.structs import replace

from hermetic.verify.compare import archive, elf, pyc, recognise
from hermetic.verify.compare.binary import compare_unknown, hexdump, is_text
from hermetic.verify.compare.model import (
    Data,
    Difference,
    Format,
    Malformed,
    Part,
    Scope,
    excerpts,
    most_telling_first,
    same,
    shown,
)

_DEPTH: Final = 8  # parts in parts
_READ: Final = 512 << 20  # bytes: larger contents are not taken apart
_PARTS: Final = 200_000
_COMPARED: Final = 200  # differing parts compared in detail; the others are counted

_FORMATS: Final = (
    Format("an ELF file", elf.read, b"\x7fELF"),
    Format("an ar archive", archive.read_ar, b"!<arch>\n"),
    Format(
        "a gzip file",
        archive.read_gzip,
        b"\x1f\x8b\x08",
        otherwise="the same content, compressed in another way",
    ),
    Format("a zip archive", archive.read_zip, b"PK\x03\x04"),
    Format("a tar archive", archive.read_tar, b"ustar", at=257),
)
_PYC: Final = Format(
    "a .pyc file", pyc.read, otherwise="the same code; its objects are shared in another way (FLAG_REF)"
)
_LEAKING: Final = dict.fromkeys(("uid", "gid", "uname", "gname"), "embedded-host") | {
    "mtime": "embedded-time"
}
T = TypeVar("T")


def compare_content(
    scope: Scope, left: Data, right: Data, formats: tuple[Format, Format] | None = None
) -> list[Difference]:
    """Differences of two contents, the telling ones first; at least one if a byte differs. Never raises."""
    if same(left, right):
        return []
    one, other = formats or (_format(left), _format(right))  # where nobody says it, the first bytes do
    if (one and one.name) != (other and other.name):
        words = f"{_name(one, left)} against {_name(other, right)}"
        return [scope.found("type", "", words, hexdump(left, 0), hexdump(right, 0))]
    found = []
    if one and other and len(scope.trail) < _DEPTH and max(len(left), len(right)) <= _READ:
        try:
            found = _compare_parts(scope, _parts(one, left), _parts(other, right))
            if not found and one.otherwise:
                sizes = f"{len(left):,} bytes", f"{len(right):,} bytes"
                found = [scope.found("content", "", one.otherwise, *sizes)]
        except Malformed as error:
            words = f"cannot be read as {one.name} ({error}); compared as bytes"
            found = [scope.found("unreadable", "", words)]
    if all(difference.kind == "unreadable" for difference in found):
        found += compare_unknown(scope, left, right)
    return most_telling_first(scope, found)


def _format(data: Data) -> Format | None:
    for known in _FORMATS:
        if data[known.at : known.at + len(known.magic)] == known.magic:
            return known
    return _PYC if pyc.is_pyc(data) else None


def _name(known: Format | None, data: Data) -> str:
    if known is not None:
        return known.name
    return "an empty file" if not len(data) else "text" if is_text(data) else "other bytes"


def _guarded(read: Callable[[], T]) -> T:
    """What `read` gives. Raises Malformed instead of whatever it raises: readers trust their input."""
    try:
        return read()
    except Malformed:
        raise
    except Exception as error:
        raise Malformed(shown(f"{type(error).__name__}: {error}"[:200])) from error


def _parts(known: Format, data: Data) -> dict[str, Part]:
    """Parts by name; a name's further parts with their number. Raises Malformed."""
    seen: Counter[str] = Counter()
    named = {}
    for part in _guarded(lambda: list(islice(known.read(data), _PARTS + 1))):
        seen[part.name] += 1
        number = seen[part.name]
        named[part.name if number == 1 else f"{part.name} (number {number})"] = part
    if len(named) > _PARTS:
        raise Malformed(f"more than {_PARTS:,} parts")
    return named


def _compare_parts(scope: Scope, left: dict[str, Part], right: dict[str, Part]) -> list[Difference]:
    found = [scope.found("only-left", n, "only in the first build") for n in left if n not in right]
    found += [scope.found("only-right", n, "only in the rebuild") for n in right if n not in left]
    common, reordered = [n for n in left if n in right], [n for n in right if n in left]
    if common != reordered:
        words = f"the same {len(common):,} parts in another order"
        found.append(scope.found("order", "", words, *excerpts(", ".join(common), ", ".join(reordered))))
    pairs = [(name, left[name], right[name]) for name in common]
    found += _compare_fields(scope, pairs)
    # Where a function has grown, addresses differ in all others: the cause is where sizes differ.
    pairs.sort(key=lambda pair: pair[1].size == pair[2].size)
    differing = 0
    for index, (name, one, other) in enumerate(pairs):
        if scope.budget[0] < 0 or differing == _COMPARED:
            return [*found, scope.omitted(len(pairs) - index, "parts that may differ")]
        try:
            a, b = (_guarded(p.data) if callable(p.data) else p.data for p in (one, other))
        except Malformed as error:
            found.append(scope.found("unreadable", name, f"cannot be read ({error})"))
            continue
        scope.budget[0] -= len(a) + len(b)
        inner = compare_content(
            scope.inside(name), a, b, (one.format, other.format) if one.format and other.format else None
        )
        found += inner
        differing += bool(inner)
    return found


def _compare_fields(scope: Scope, pairs: Iterable[tuple[str, Part, Part]]) -> list[Difference]:
    """Fields of headers. What the same field of several parts leaks is one difference."""
    found: dict[tuple[str, ...], tuple[Difference, int]] = {}
    for name, one, other in pairs:
        for field in {**one.fields, **other.fields}:
            a, b = one.fields.get(field, ""), other.fields.get(field, "")
            if a == b:
                continue
            where = f"{name}, {field}" if name else field
            new = recognise.difference(scope, where, "another value", a, b, "metadata")
            if field in _LEAKING:
                words = f"{new.left or 'none'} against {new.right or 'none'}"
                new = replace(new, kind=_LEAKING[field], words=words, left="", right="")
            leaks = new.kind.startswith("embedded-")
            first, count = found.get(key := (field, new.kind) if leaks else (field, a, b), (new, 0))
            found[key] = first, count + 1
    return [
        replace(first, words=f"{first.words}, and in {count - 1:,} more parts") if count > 1 else first
        for first, count in found.values()
    ]
