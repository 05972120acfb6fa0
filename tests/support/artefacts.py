"""Small real artefacts, made by hand, so that the tests of comparison need no compiler."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

ALLOC, EXEC = 2, 4
PROGBITS, SYMTAB, STRTAB, NOTE = 1, 2, 3, 7


@dataclass(frozen=True)
class Elf:
    """An ELF file with the given sections; `symbols` are (name, section, value, size, kind)."""

    sections: dict[str, bytes]
    symbols: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    machine: int = 62
    bits: int = 64
    order: str = "<"
    flags: int = 0

    def encode(self) -> bytes:
        contents = {name: (self._kind(name), data) for name, data in self.sections.items()}
        if self.symbols:
            table, names = self._symbol_table()
            contents[".symtab"] = (SYMTAB, table)
            contents[".strtab"] = (STRTAB, names)
        labels = b"\0" + b"".join(name.encode() + b"\0" for name in [*contents, ".shstrtab"])
        contents[".shstrtab"] = (STRTAB, labels)
        return self._assemble(contents, labels)

    def _kind(self, name: str) -> int:
        return NOTE if name.startswith(".note") else PROGBITS

    def _symbol_table(self) -> tuple[bytes, bytes]:
        places = {name: index for index, name in enumerate(self.sections, 1)}
        names = b"\0"
        entries = [struct.pack(self.order + ("IBBHQQ" if self.bits == 64 else "IIIBBH"), *[0] * 6)]
        for name, section, value, size, kind in self.symbols:
            info, index = (1 << 4) | kind, places.get(section, 0xFFF1)
            if self.bits == 64:
                entries.append(struct.pack(self.order + "IBBHQQ", len(names), info, 0, index, value, size))
            else:
                entries.append(struct.pack(self.order + "IIIBBH", len(names), value, size, info, 0, index))
            names += name.encode() + b"\0"
        return b"".join(entries), names

    def _assemble(self, contents: dict[str, tuple[int, bytes]], labels: bytes) -> bytes:
        wide = self.bits == 64
        header_size, entry_size = (64, 64) if wide else (52, 40)
        body, headers = b"", [b"\0" * entry_size]
        names = list(contents)
        for name, (kind, data) in contents.items():
            flags = (ALLOC | EXEC) if name.startswith(".text") else 0
            link = names.index(".strtab") + 1 if kind == SYMTAB else 0
            label = labels.index(b"\0" + name.encode() + b"\0") + 1
            size = (24 if wide else 16) if kind == SYMTAB else 0
            layout = self.order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")
            headers.append(
                struct.pack(
                    layout, label, kind, flags, 0, header_size + len(body), len(data), link, 0, 1, size
                )
            )
            body += data
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if self.order == "<" else 2, 1]) + bytes(9)
        fields = (
            1,
            self.machine,
            1,
            0,
            0,
            header_size + len(body),
            self.flags,
            header_size,
            0,
            0,
            entry_size,
        )
        layout = self.order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
        return ident + struct.pack(layout, *fields, len(headers), len(headers) - 1) + body + b"".join(headers)


def ar(members: list[tuple[str, bytes]], *, mtime: int = 0, uid: int = 0, mode: str = "100644") -> bytes:
    """A GNU ar archive."""
    long_names, body = b"", b""
    for name, data in members:
        label = f"{name}/"
        if len(label) > 16:
            label = f"/{len(long_names)}"
            long_names += name.encode() + b"/\n"
        header = f"{label:<16}{mtime:<12}{uid:<6}{0:<6}{mode:<8}{len(data):<10}`\n".encode()
        body += header + data + b"\n" * (len(data) % 2)
    if long_names:
        header = f"{'//':<16}{'':<12}{'':<6}{'':<6}{'':<8}{len(long_names):<10}`\n".encode()
        body = header + long_names + b"\n" * (len(long_names) % 2) + body
    return b"!<arch>\n" + body
