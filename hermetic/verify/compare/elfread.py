"""An ELF file as a value: header, segments, sections, symbols. pyelftools reads it; symbol tables, which can
hold 100,000 entries, are unpacked here.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final, NamedTuple

from hermetic.verify.compare.archive import Reader
from hermetic.verify.compare.model import MAX_PARSED, Data, Malformed, shown, view

_SECTIONS: Final = 65_536
_SYMBOLS: Final = 500_000
_ALLOC, _EXEC, _COMPRESSED = 2, 4, 0x800
_RELOCATABLE: Final = "ET_REL"


class Symbol(NamedTuple):
    """An entry of a symbol table. `section` is an index; `value` as in the file."""

    name: str
    value: int
    size: int
    kind: int
    binding: int
    section: int


class Section(NamedTuple):
    """A section. `name` is unique: the second of a name is `.text (number 2)`. `number`: its index."""

    name: str
    number: int
    type: str
    flags: int
    address: int
    align: int
    entry_size: int
    link: int
    size: int
    data: Data

    @property
    def executable(self) -> bool:
        """Whether it holds instructions."""
        return bool(self.flags & _EXEC)


class Image:
    """What of an ELF file is compared.

    Attributes:
        header: fields by the name that the ELF specification gives them (`e_machine`), as text.
        segments: type, flags and alignment of each program header.
        sections: by name, in the file's order.
    """

    def __init__(self, data: Data) -> None:
        """Raises Malformed."""
        try:
            self._read(data)
        except Malformed:
            raise
        except Exception as error:  # construct's, struct's and assertion errors: pyelftools trusts its input
            raise Malformed(f"{type(error).__name__}: {error}") from error

    def _read(self, data: Data) -> None:
        from elftools.elf.elffile import ELFFile

        elf: Any = ELFFile(io.BufferedReader(Reader(data)))
        if elf.num_sections() > _SECTIONS or elf.num_segments() > _SECTIONS:
            raise Malformed("more sections or segments than there can be")
        fields = dict(elf.header)
        ident = dict(fields.pop("e_ident"))
        self.header = {name: str(value) for name, value in {**ident, **fields}.items()}
        self.relocatable = fields["e_type"] == _RELOCATABLE
        self.segments = [
            (str(s["p_type"]), int(s["p_flags"]), int(s["p_align"])) for s in elf.iter_segments()
        ]
        self.sections: dict[str, Section] = {}
        for index, section in enumerate(elf.iter_sections()):
            known = _section(index, section, self._unique(section.name), data)
            self.sections[known.name] = known
        self._symbol_format = ("<" if elf.little_endian else ">", elf.elfclass)

    def _unique(self, name: str) -> str:
        name, number = shown(name), 1
        unique = name
        while unique in self.sections:
            number += 1
            unique = f"{name} (number {number})"
            if number > 5000:
                raise Malformed(f"more than {number:,} sections named {name}")
        return unique

    def symbols(self, section: Section) -> list[Symbol]:
        """Entries of a symbol table, in order. Raises Malformed."""
        order, bits = self._symbol_format
        layout = struct.Struct(order + ("IBBHQQ" if bits == 64 else "IIIBBH"))
        names = next((s.data.tobytes() for s in self.sections.values() if s.number == section.link), b"")
        if len(section.data) // layout.size > _SYMBOLS:
            raise Malformed(f"more than {_SYMBOLS:,} symbols")
        whole = section.data[: len(section.data) // layout.size * layout.size]
        return list(_symbols(layout, whole, bits, names))

    @cached_property
    def _by_section(self) -> dict[int, list[tuple[int, int, str]]]:
        """Per section index: offset, size and name of each symbol, sorted."""
        places: dict[int, list[tuple[int, int, str]]] = {}
        bases = {s.number: 0 if self.relocatable else s.address for s in self.sections.values()}
        for table in self.sections.values():
            if table.type not in ("SHT_SYMTAB", "SHT_DYNSYM"):
                continue
            for symbol in self.symbols(table):
                if (
                    symbol.name and symbol.kind not in (3, 4) and symbol.section in bases
                ):  # no sections, no files
                    offset = symbol.value - bases[symbol.section]
                    places.setdefault(symbol.section, []).append((offset, symbol.size, symbol.name))
        for symbols in places.values():
            symbols.sort()
        return places

    def place(self, section: Section, offset: int) -> str:
        """Words for an offset in a section: the symbol that holds it, or else the number."""
        symbols = self._by_section.get(section.number, [])
        at = bisect_right(symbols, (offset, 1 << 65, ""))
        for start, size, name in reversed(symbols[max(0, at - 8) : at]):
            if start <= offset < start + size:
                return f"symbol {name}+{offset - start:#x}" if offset > start else f"symbol {name}"
        return f"offset {offset:#x}"

    def named_parts(self, section: Section) -> dict[str, Data]:
        """Content of each symbol of a section that has a size, in order of offsets."""
        parts = {}
        for start, size, name in self._by_section.get(section.number, []):
            if size and 0 <= start <= section.size:
                parts[name] = section.data[start : start + size]
        return parts


def _symbols(layout: struct.Struct, table: Data, bits: int, names: bytes) -> Iterator[Symbol]:
    for entry in layout.iter_unpack(table):
        if bits == 64:
            name, info, _, section, value, size = entry
        else:
            name, value, size, info, _, section = entry
        end = names.find(b"\0", name)
        yield Symbol(
            shown(names[name : min(end if end >= 0 else len(names), name + 4096)]),
            value,
            size,
            info & 15,
            info >> 4,
            section,
        )


def _section(index: int, section: Any, name: str, data: Data) -> Section:
    header = section.header
    start, size, flags = header["sh_offset"], header["sh_size"], header["sh_flags"]
    content = view(b"") if header["sh_type"] in ("SHT_NOBITS", "SHT_NULL") else data[start : start + size]
    if flags & _COMPRESSED and section.data_size <= MAX_PARSED:
        content = view(section.data())
    return Section(
        name=name,
        number=index,
        type=str(header["sh_type"]),
        flags=flags,
        address=header["sh_addr"],
        align=header["sh_addralign"],
        entry_size=header["sh_entsize"],
        link=header["sh_link"],
        size=size,
        data=content,
    )
