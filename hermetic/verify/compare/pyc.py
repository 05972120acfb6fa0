""".pyc files of any Python from 3.8 on: the header's fields, then the code objects, field by field.

Known to differ between builds of the same source: the file name, the time stamp, the order of a frozenset's
elements (hash seed, addresses), and which objects are flagged as shared (reference counts while compiling).
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Final, NamedTuple

from hermetic.verify.compare import recognise
from hermetic.verify.compare.binary import hexdump
from hermetic.verify.compare.marshal import FIELDS_3_8, FIELDS_3_11, Digests, Node, parse
from hermetic.verify.compare.model import Data, Difference, Malformed, Scope, excerpts, moment, shown

_HEADER: Final = 16
_FIRST_MAGIC: Final = (  # of each version's first development release
    (3400, "3.8"),
    (3420, "3.9"),
    (3430, "3.10"),
    (3450, "3.11"),
    (3500, "3.12"),
    (3550, "3.13"),
    (3600, "3.14"),
    (3650, "3.15"),
    (3700, ""),
)
_FIELD_WORDS: Final = {
    "filename": "the name of the source file (co_filename)",
    "code": "the byte code (co_code)",
    "linetable": "the table of line numbers (co_linetable)",
    "lnotab": "the table of line numbers (co_lnotab)",
    "exceptiontable": "the table of exception handlers (co_exceptiontable)",
    "consts": "the constants (co_consts)",
    "names": "the names (co_names)",
}


class _Header(NamedTuple):
    magic: int
    flags: int
    first: int
    second: int
    hash: bytes

    @property
    def checked_by(self) -> str:
        return {0: "time stamp", 1: "hash, unchecked", 3: "hash, checked"}.get(
            self.flags, f"flags {self.flags:#x}"
        )


def is_pyc(name: str, data: Data) -> bool:
    """Whether it is a .pyc by name or by the magic number."""
    head = data[:4].tobytes()
    known = len(data) >= _HEADER and head[2:] == b"\r\n" and 3400 <= int.from_bytes(head[:2], "little") < 3700
    return known or (name.endswith(".pyc") and head[2:] == b"\r\n")


def compare_pyc(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Differences of two .pyc files. Raises Malformed or RecursionError."""
    one, other = _header(left), _header(right)
    found = _compare_header(scope, one, other)
    if _fields(one.magic) != _fields(other.magic):
        return found
    fields = _fields(one.magic)
    comparison = _Comparison(scope)
    comparison.nodes(parse(left[_HEADER:], fields), parse(right[_HEADER:], fields), "<module>", "")
    found += comparison.found
    if left[_HEADER:].tobytes() != right[_HEADER:].tobytes() and not comparison.found:
        found.append(_compare_flags(scope, left, right))
    return found


def _header(data: Data) -> _Header:
    if len(data) < _HEADER:
        raise Malformed(f"{len(data)} bytes are fewer than a header has")
    magic, _, flags, first, second = struct.unpack_from("<HHIII", data)
    return _Header(magic, flags, first, second, data[8:16].tobytes())


def _version(magic: int) -> str:
    known = [version for first, version in _FIRST_MAGIC if magic >= first]
    return f"Python {known[-1]} ({magic})" if known and known[-1] else f"an unknown Python ({magic})"


def _fields(magic: int) -> tuple[str, ...]:
    return FIELDS_3_8 if magic < 3450 else FIELDS_3_11


def _compare_header(scope: Scope, one: _Header, other: _Header) -> list[Difference]:
    found = []
    if one.magic != other.magic:
        words = f"the magic number: {_version(one.magic)} against {_version(other.magic)}"
        found.append(scope.found("metadata", ".pyc header, magic", words))
    if one.flags != other.flags:
        words = f"how it is checked against its source: by {one.checked_by}, against {other.checked_by}"
        found.append(scope.found("metadata", ".pyc header, flags", words))
    elif one.flags & 1:
        if one.hash != other.hash:
            words = "the hash of the source: it was compiled from another text"
            found.append(
                scope.found("metadata", ".pyc header, source hash", words, one.hash.hex(), other.hash.hex())
            )
    else:
        if one.first != other.first:
            words = f"the time stamp (mtime) of the source: {moment(one.first)} against {moment(other.first)}"
            pair = (str(one.first), str(other.first))
            found.append(scope.found("embedded-time", ".pyc header, mtime", words, *pair))
        if one.second != other.second:
            words = f"the size of the source: {one.second:,} bytes against {other.second:,}"
            found.append(scope.found("metadata", ".pyc header, size", words))
    return found


def _compare_flags(scope: Scope, left: Data, right: Data) -> Difference:
    """The same code in other bytes: only how shared objects are marked can differ."""
    changes = Counter(a ^ b for a, b in zip(left[_HEADER:], right[_HEADER:], strict=False) if a != b)
    if len(left) == len(right) and set(changes) == {0x80}:
        words = f"the same code; only the reference flag (FLAG_REF) of {changes[0x80]:,} objects differs"
    else:
        words = "the same code; objects are shared (FLAG_REF, references) or interned in another way"
    return scope.found("metadata", "reference flags", words)


class _Comparison:
    """A walk over two code objects at once. Pairs already seen are not walked again, so it ends."""

    def __init__(self, scope: Scope) -> None:
        self.found: list[Difference] = []
        self._scope = scope
        self._exact = Digests(sets_ordered=True)
        self._meaning = Digests(sets_ordered=False)
        self._seen: set[tuple[int, int]] = set()
        self._filenames: set[tuple[str, str]] = set()

    def nodes(self, left: Node, right: Node, owner: str, place: str) -> None:
        """Adds what differs between two objects.

        Args:
            owner: name of the code object they belong to. place: which of its fields or constants.
        """
        if (id(left), id(right)) in self._seen or self._exact.of(left) == self._exact.of(right):
            return
        self._seen.add((id(left), id(right)))
        where = f"{owner}: {place}" if place else owner
        if left.kind != right.kind:
            words = f"{_brief(left)} against {_brief(right)}"
            self._add("content", where, words)
        elif left.kind == "code":
            self._code(left, right)
        elif left.kind in ("set", "frozenset"):
            self._sets(left, right, where)
        elif left.items or right.items:
            self._sequences(left, right, owner, place)
        elif left.kind == "str":
            words = f"{_FIELD_WORDS.get(place.removeprefix('co_'), 'the text')} differs"
            self.found.append(
                recognise.difference_of_text(self._scope, where, words, left.value, right.value)
            )
        elif left.kind == "bytes":
            self._bytes(left, right, where, place)
        else:
            self._add("content", where, f"{_brief(left)} against {_brief(right)}")

    def _add(self, kind: str, where: str, words: str, left: str = "", right: str = "") -> None:
        self.found.append(self._scope.found(kind, where, words, left, right))  # type: ignore[arg-type]

    def _code(self, left: Node, right: Node) -> None:
        """Field by field. A file name that all functions of a module share is told once."""
        name_field = "qualname" if "qualname" in left.fields else "name"
        owner = shown(left.field(name_field).text()) or "<code>"
        parts = zip(left.fields, left.items, right.items, strict=True)
        for field, one, other in sorted(parts, key=lambda part: part[0] != "filename"):
            if field == "filename":
                pair = (one.text(), other.text())
                if pair in self._filenames:
                    continue
                self._filenames.add(pair)
            self.nodes(one, other, owner, f"co_{field}")

    def _sets(self, left: Node, right: Node, where: str) -> None:
        if self._meaning.of(left) == self._meaning.of(right):
            words = f"the same {len(left.items):,} elements of a {left.kind} in another order"
            self._add("order", where, words, *excerpts(_brief(left), _brief(right)))
            return
        words = f"a {left.kind} of other elements"
        self._add("content", where, words, *excerpts(_brief(left), _brief(right)))

    def _sequences(self, left: Node, right: Node, owner: str, place: str) -> None:
        what = _FIELD_WORDS.get(place.removeprefix("co_"), f"a {left.kind}")
        one, other = ([self._meaning.of(item) for item in side.items] for side in (left, right))
        pair = excerpts(_brief(left), _brief(right))
        if one != other and Counter(one) == Counter(other):
            words = f"the same {len(one):,} elements in another order: {what}"
            self._add("order", f"{owner}: {place}", words, *pair)
        elif len(one) != len(other):
            words = f"{what}: {len(one):,} elements against {len(other):,}"
            self._add("content", f"{owner}: {place}", words, *pair)
        else:
            for index, (a, b) in enumerate(zip(left.items, right.items, strict=True)):
                self.nodes(a, b, owner, f"{place}[{index}]")

    def _bytes(self, left: Node, right: Node, where: str, place: str) -> None:
        one, other = (memoryview(n.value if isinstance(n.value, bytes) else b"") for n in (left, right))
        text = recognise.difference_of_text(self._scope, where, "", left.value, right.value)
        if text.kind != "content":
            self.found.append(text)
            return
        first = next(
            (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        what = _FIELD_WORDS.get(place.removeprefix("co_"), "bytes")
        words = f"{what}: {len(one):,} bytes against {len(other):,}, first difference at {first:#x}"
        self._add("content", where, words, hexdump(one, first), hexdump(other, first))


def _brief(node: Node, depth: int = 0) -> str:
    """A short text of the object, for excerpts."""
    if node.kind == "code":
        return f"<code {node.field('name').text()}>"
    if node.items:
        inner = ", ".join(_brief(item, depth + 1) for item in node.items[:32]) if depth < 3 else "…"
        return f"{node.kind}({inner}{', …' if len(node.items) > 32 else ''})"
    if node.kind == "bytes" and isinstance(node.value, bytes):
        return repr(node.value[:200])
    if node.kind == "str":
        return repr(node.text()[:200])
    return (
        str(int(node.text(), 16)) if node.kind == "int" and "x" in node.text() else node.text() or node.kind
    )
