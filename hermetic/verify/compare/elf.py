"""ELF files: which section differs and, in it, which symbol, string, note or header field.

One longer string moves everything behind it, and then addresses differ all over the file. So what says the
same wherever it lies is compared first (strings, symbols by name); what merely follows comes last.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Final

from hermetic.verify.compare import recognise
from hermetic.verify.compare.binary import compare_binary, compare_strings, hexdump, same
from hermetic.verify.compare.elfread import Image, Section, Symbol
from hermetic.verify.compare.model import Data, Difference, Scope, excerpts, shown

_FIELDS: Final = {
    "EI_CLASS": "the width of addresses",
    "EI_DATA": "the byte order",
    "EI_OSABI": "the ABI",
    "EI_ABIVERSION": "the ABI's version",
    "e_type": "the type of file",
    "e_machine": "the machine",
    "e_flags": "the machine's flags",
}
_FOLLOWING: Final = {
    "e_entry": "the entry point",
    "e_phnum": "the number of segments",
    "e_shnum": "the number of sections",
}
_LISTED: Final = 12  # symbols named one by one


def compare_elf(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Differences of two ELF files, by section. Raises Malformed."""
    one, other = Image(left), Image(right)
    found = _compare_header(scope, one, other, _FIELDS)
    found += _compare_section_lists(scope, one, other)
    for name, section in one.sections.items():
        # The table of the sections' own names says nothing that the list of sections does not.
        if name in other.sections and not (
            name == ".shstrtab" and one.sections.keys() != other.sections.keys()
        ):
            found += _compare_section(scope, one, other, section, other.sections[name])
    if not found:
        found += _compare_header(scope, one, other, _FOLLOWING)
        if one.segments != other.segments:
            pair = excerpts(str(one.segments), str(other.segments))
            found.append(
                scope.found("metadata", "program headers", "the segments' types, flags or alignments", *pair)
            )
    if not found:
        outside = replace(scope, trail=(*scope.trail, "outside of all sections' contents"))
        found = compare_binary(outside, left, right)
    return found


def _compare_header(scope: Scope, one: Image, other: Image, fields: dict[str, str]) -> list[Difference]:
    return [
        scope.found(
            "metadata", f"ELF header, {field}", f"{what}: {one.header[field]} against {other.header[field]}"
        )
        for field, what in fields.items()
        if one.header.get(field) != other.header.get(field) and field in one.header and field in other.header
    ]


def _compare_section_lists(scope: Scope, one: Image, other: Image) -> list[Difference]:
    found = []
    for mine, theirs, kind, words in (
        (one, other, "only-left", "a section only in the first build"),
        (other, one, "only-right", "a section only in the rebuild"),
    ):
        for name, section in mine.sections.items():
            if name not in theirs.sections:
                text = f"{words} ({section.size:,} bytes)"
                found.append(scope.found(kind, f"section {name}", text))  # type: ignore[arg-type]
    left = [name for name in one.sections if name in other.sections]
    right = [name for name in other.sections if name in one.sections]
    if left != right:
        words = f"the same {len(left):,} sections in another order"
        found.append(
            scope.found("order", "section headers", words, *excerpts(" ".join(left), " ".join(right)))
        )
    return found


def _compare_section(
    scope: Scope, one: Image, other: Image, left: Section, right: Section
) -> list[Difference]:
    where = f"section {left.name}"
    found = []
    for what, a, b in (
        ("type", left.type, right.type),
        ("flags", f"{left.flags:#x}", f"{right.flags:#x}"),
        ("alignment", str(left.align), str(right.align)),
    ):
        if a != b:
            found.append(scope.found("metadata", where, f"the section's {what}: {a} against {b}"))
    if left.type == "SHT_NOBITS" and left.size != right.size:
        found.append(scope.found("size", where, f"{left.size:,} bytes of zeros against {right.size:,}"))
    if same(left.data, right.data):
        return found
    inside = replace(scope, trail=(*scope.trail, where))
    return found + _compare_data(inside, one, other, left, right)


def _compare_data(scope: Scope, one: Image, other: Image, left: Section, right: Section) -> list[Difference]:
    """Differences of two sections' contents; at least one."""
    if left.name.startswith(".note") or left.type == "SHT_NOTE":
        return _compare_note(scope, left, right)
    if left.type in ("SHT_SYMTAB", "SHT_DYNSYM") and right.type == left.type:
        return _compare_symbols(scope, one.symbols(left), other.symbols(right))
    if left.name == ".comment":
        return _compare_comment(scope, left.data, right.data)
    if left.type == "SHT_STRTAB" or left.name.startswith(".debug_str") or left.name == ".debug_line_str":
        return _compare_string_table(scope, left.data, right.data)
    if left.executable or len(left.data) == len(right.data):
        found = _compare_parts(scope, one, other, left, right)
        if found:
            return found
    return compare_binary(scope, left.data, right.data, partial(one.place, left))


def _compare_note(scope: Scope, left: Section, right: Section) -> list[Difference]:
    a, b = left.data.tobytes(), right.data.tobytes()
    if left.name == ".note.gnu.build-id":
        words = "the build ID, which the linker computes from the other contents"
        return [scope.found("content", "build ID", words, a[16:].hex()[:64], b[16:].hex()[:64])]
    strings = compare_strings(scope, "note", left.data, right.data)
    return strings or [
        scope.found("content", "note", "the note differs", hexdump(left.data, 0), hexdump(right.data, 0))
    ]


def _compare_comment(scope: Scope, left: Data, right: Data) -> list[Difference]:
    pair = [", ".join(shown(part) for part in d.tobytes().split(b"\0") if part) for d in (left, right)]
    return [
        scope.found("content", "", "compilers and linkers identify themselves otherwise", *excerpts(*pair))
    ]


def _compare_string_table(scope: Scope, left: Data, right: Data) -> list[Difference]:
    a, b = left.tobytes().split(b"\0"), right.tobytes().split(b"\0")
    if Counter(a) == Counter(b):
        first = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
        words = f"the same {len(a) - 1:,} strings in another order"
        return [scope.found("order", "", words, *excerpts(shown(a[first]), shown(b[first])))]
    found = compare_strings(scope, "", left, right)
    if found:
        return found
    gone, new = (list((Counter(x) - Counter(y)).keys()) for x, y in ((a, b), (b, a)))
    pair = [", ".join(shown(s) for s in sorted(side)[:8]) for side in (gone, new)]
    words = f"{len(gone):,} strings only in the first build, {len(new):,} only in the rebuild"
    return [scope.found("content", "", words, *excerpts(*pair))]


def _compare_symbols(scope: Scope, left: list[Symbol], right: list[Symbol]) -> list[Difference]:
    one, other = ([(s.name, s.kind, s.binding) for s in table] for table in (left, right))
    gone, new = Counter(one) - Counter(other), Counter(other) - Counter(one)
    found = []
    files = [sorted(s[0] for s in side if s[1] == 4) for side in (gone, new)]  # STT_FILE: names of sources
    for a, b in zip(*files, strict=False):
        found.append(
            recognise.difference_of_text(scope, "symbol of a source file", "another file name", a, b)
        )
    names = [sorted({s[0] for s in side if s[1] != 4}) for side in (gone, new)]
    if any(names):
        words = f"{len(names[0]):,} symbols only in the first build, {len(names[1]):,} only in the rebuild"
        found.append(scope.found("content", "", words, *excerpts(", ".join(names[0]), ", ".join(names[1]))))
    if not gone and not new and one != other:
        words = f"the same {len(one):,} symbols in another order"
        first = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        found.append(scope.found("order", "", words, *excerpts(one[first][0], other[first][0])))
    return found or _compare_values(scope, left, right)


def _compare_values(scope: Scope, left: list[Symbol], right: list[Symbol]) -> list[Difference]:
    moved = [(a, b) for a, b in zip(left, right, strict=False) if a != b]
    if not moved:
        return [scope.found("content", "", "the order of names, or fields that are not compared")]
    a, b = moved[0]
    first = a.name or "one without a name"
    words = f"{len(moved):,} symbols have another address, size or section, {first} first"
    pair = [f"{s.value:#x}, {s.size:,} bytes, section {s.section}" for s in (a, b)]
    return [scope.found("content", "", words, *pair)]


def _compare_parts(scope: Scope, one: Image, other: Image, left: Section, right: Section) -> list[Difference]:
    """Differences by symbol: another order of functions, and those whose size or bytes differ."""
    mine, theirs = one.named_parts(left), other.named_parts(right)
    if not mine or not theirs:
        return []
    order, reorder = [n for n in mine if n in theirs], [n for n in theirs if n in mine]
    if order != reorder:
        words = f"the same {len(order):,} symbols in another order"
        return [scope.found("order", "", words, *excerpts(" ".join(order), " ".join(reorder)))]
    resized = [name for name in order if len(mine[name]) != len(theirs[name])]
    found = [
        scope.found(
            "size",
            f"symbol {name}",
            f"{len(mine[name]):,} bytes against {len(theirs[name]):,}",
            hexdump(mine[name], 0),
            hexdump(theirs[name], 0),
        )
        for name in resized[:_LISTED]
    ]
    if len(resized) > _LISTED:
        found.append(scope.omitted(len(resized) - _LISTED, "symbols of another size"))
    if found or len(left.data) != len(right.data):
        return found
    return _same_sized_parts(scope, one, left, right, [n for n in order if not same(mine[n], theirs[n])])


def _same_sized_parts(
    scope: Scope, one: Image, left: Section, right: Section, names: list[str]
) -> list[Difference]:
    """What differs where every symbol kept its place, and how many symbols that touches."""
    found = compare_binary(scope, left.data, right.data, partial(one.place, left))
    if len(names) > 1 and any(d.kind == "content" for d in found):
        words = f"{len(names):,} symbols differ"
        found.append(scope.found("content", "", words, ", ".join(names[:_LISTED])))
    return found
