"""Reader of ELF files: header, sections and, where there are symbols, the pieces that they name.

Differences of code are told by symbol. Tables that follow from others (names of sections) are left out.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Final, NamedTuple

from hermetic.verify.compare.model import MAX_UNPACKED, Data, Format, Malformed, Part, shown

_FIELDS: Final = ("EI_CLASS", "EI_DATA", "EI_OSABI", "EI_ABIVERSION", "e_type", "e_machine", "e_flags")
_SECTIONS: Final = 16_384
_LEAST: Final = 32  # bytes of a section's or a segment's header
_SYMBOLS: Final = 200_000
_COMPRESSED: Final = 0x800
_PADDING: Final = 64  # bytes behind a symbol that still count as its own: what aligns the next one
_NAME: Final = 4096  # characters
_MOVED: Final = "the same symbols, at other addresses or of other sizes"


class _Symbol(NamedTuple):
    """An entry of a symbol table. `section` is an index; `value` as in the file."""

    name: str
    info: int
    section: int
    value: int
    size: int


def read(data: Data) -> list[Part]:
    """Header and sections."""
    from elftools.elf.elffile import ELFFile  # slow to load

    elf: Any = ELFFile(io.BytesIO(data))
    if max(elf.num_sections(), elf.num_segments()) > min(_SECTIONS, len(data) // _LEAST):
        raise Malformed("too many sections or segments")
    header = {**elf.header, **elf.header["e_ident"]}
    fields = {name: str(header[name]) for name in _FIELDS}
    segments = (f"{s['p_type']} {s['p_flags']} {s['p_align']:#x}" for s in elf.iter_segments())
    fields["segments (type, flags, alignment)"] = ", ".join(segments)
    sections = list(elf.iter_sections())
    order, layout = "<" if elf.little_endian else ">", "IBBHQQ" if elf.elfclass == 64 else "IIIBBH"
    tables = {
        number: list(_symbols(order + layout, _raw(section, data), _raw(sections[section["sh_link"]], data)))
        for number, section in enumerate(sections)
        if section["sh_type"] in ("SHT_SYMTAB", "SHT_DYNSYM")
    }
    base = {n: 0 if header["e_type"] == "ET_REL" else s["sh_addr"] for n, s in enumerate(sections)}
    places: dict[int, list[tuple[int, int, str]]] = {}
    known = {symbol for table in tables.values() for symbol in table}
    for symbol in sorted(known, key=lambda s: (s.value, s.name)):
        if symbol.name and symbol.size and symbol.info & 15 in (1, 2) and symbol.section in base:
            place = symbol.value - base[symbol.section], symbol.size, symbol.name
            places.setdefault(symbol.section, []).append(place)
    return [Part("ELF header", fields)] + [
        _part(section, data, tables.get(number), places.get(number))
        for number, section in enumerate(sections)
        if section.name != ".shstrtab"
    ]


def _raw(section: Any, data: Data) -> Data:
    if section["sh_type"] in ("SHT_NOBITS", "SHT_NULL"):
        return data[:0]
    return data[section["sh_offset"] : section["sh_offset"] + section["sh_size"]]


def _part(
    section: Any, data: Data, table: list[_Symbol] | None, places: list[tuple[int, int, str]] | None
) -> Part:
    raw = _raw(section, data)
    fields = {"type": str(section["sh_type"]), "alignment": str(section["sh_addralign"])}
    fields["flags"] = f"{section['sh_flags']:#x}"
    if section["sh_type"] == "SHT_NOBITS":
        fields["size"] = f"{section['sh_size']:,} bytes of zeros"
    name = f"section {shown(section.name)}"
    if section.name == ".note.gnu.build-id":
        return Part(name, {**fields, "build ID (computed from the other contents)": raw[16:].hex()})
    if section["sh_flags"] & _COMPRESSED and section.data_size <= MAX_UNPACKED:
        return Part(name, fields, section.data_size, lambda: memoryview(section.data()))
    known = None
    if table is not None:
        known = Format("a symbol table", partial(_listing, table), otherwise=_MOVED)
    elif places is not None:
        known = Format("code and data by symbol", partial(_by_symbol, places))
    return Part(name, fields, len(raw), raw, known)


def _symbols(layout: str, table: Data, names: Data) -> Iterator[_Symbol]:
    if len(table) // struct.calcsize(layout) > _SYMBOLS:
        raise Malformed(f"more than {_SYMBOLS:,} symbols")
    strings = names.tobytes()
    for entry in struct.iter_unpack(layout, table):
        if "Q" in layout:
            name, info, _, section, value, size = entry
        else:
            name, value, size, info, _, section = entry
        text = strings[name : name + _NAME].partition(b"\0")[0]
        yield _Symbol(shown(text), info, section, value, size)


def _listing(symbols: list[_Symbol], data: Data) -> list[Part]:
    """The names of a symbol table as text, in its order. Addresses follow from the sections."""
    lines = (f"{s.name} (type {s.info & 15}, binding {s.info >> 4})" for s in symbols)
    text = memoryview("\n".join(lines).encode())
    return [Part("symbols", size=len(text), data=text)]


def _by_symbol(places: list[tuple[int, int, str]], data: Data) -> Iterator[Part]:
    """The whole section in pieces, named by the symbols. `places`: offset, size and name, rising."""
    starts, end = [(0, "before the first symbol")], 0
    for start, size, symbol in [*places, (len(data), 0, "")]:
        if start < end:
            continue  # an alias, or inside of the one before
        if start > end + _PADDING and end:
            starts.append((end, f"behind {starts[-1][1]}"))
        starts.append((start, f"symbol {symbol}"))
        end = start + size
    for (start, name), (stop, _) in pairwise(starts):
        if start < stop:
            yield Part(name, size=stop - start, data=data[start:stop])
