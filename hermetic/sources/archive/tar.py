"""Reads tar: POSIX ustar and pax, GNU's long names, and the v7 format before them.

Python's own reader stops silently at a damaged header and reads headers of any size into memory; this one
does neither.
"""

from __future__ import annotations

import struct
from typing import Final, NoReturn

from hermetic.errors import ArchiveError
from hermetic.sources.archive.output import Tree, show
from hermetic.sources.archive.streams import Input, Stream, open_stream

BLOCK: Final = 512
_MAX_HEADER: Final = 1 << 20  # bytes of a long name or a pax header
_MAX_PADDING: Final = 64 << 20
_OTHERS: Final = (
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"LZIP", "compressed with lzip"),
    (b"\x1f\x9d", "compressed with compress (.Z)"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\x5d\x00\x00", "compressed with the old lzma"),
    (b"0707", "a cpio archive"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"xar!", "a xar archive"),
    (b"<", "a web page or an XML file"),
)
_REFUSED: Final = {b"3": "a character device", b"4": "a block device", b"6": "a fifo", b"S": "a sparse file"}


def unpack(file: Input, name: str, tree: Tree) -> None:
    Tar(open_stream(file, name), name, tree).unpack()


def is_header(block: bytes) -> bool:
    """Whether a block has the checksum of a header."""
    if len(block) != BLOCK:
        return False
    try:
        stated = int(block[148:156].strip(b" \0") or b"-1", 8)
    except ValueError:
        return False
    if stated == 256 + sum(block[:148]) + sum(block[156:]):
        return True
    # some old programs took the bytes as signed
    signed: int = 256 + sum(struct.unpack("148b", block[:148])) + sum(struct.unpack("356b", block[156:]))
    return stated == signed


class Tar:
    """POSIX ustar and pax, GNU long names, and the v7 format before them."""

    def __init__(self, stream: Stream, archive: str, tree: Tree) -> None:
        self.stream = stream
        self.archive = archive
        self.tree = tree
        self.globals: dict[bytes, bytes] = {}
        # what headers before an entry say about it
        self.pax: dict[bytes, bytes] = {}
        self.long_name: bytes | None = None
        self.long_link: bytes | None = None
        self.pending = 0

    def unpack(self) -> None:
        first = True
        last = b"its beginning"
        while True:
            self.tree.limits.check()
            if not first and not self.stream.fill():
                if self.stream.compressed:
                    break  # some programs write no end mark; nothing is missing, or decompression had failed
                self.fail(f"truncated: no end mark after {show(last)}")
            if first and not self.stream.fill():
                self.fail("the archive is empty")
            header = self.read_header(first, last)
            if header is None:
                break
            first = False
            last = self.entry(header)
        if self.pending:
            self.fail("ends with a header that belongs to no entry")
        self.drain()

    def fail(self, fact: str) -> NoReturn:
        raise ArchiveError(f"{self.archive}: {fact}")

    def drain(self) -> None:
        """Read on to the end, so that the decompressor checks its checksum. What follows is padding."""
        padding = 0
        while self.stream.fill():
            padding += len(self.stream.buffer)
            self.stream.buffer = memoryview(b"")
            if padding > _MAX_PADDING:
                self.fail("more than 64 MiB follow the end of the archive")

    def read_header(self, first: bool, last: bytes) -> bytes | None:
        """A header with the right checksum, or None at the end mark."""
        beginning = bytes(self.stream.buffer[:16])
        try:
            header = self.stream.read(BLOCK, b"the header after " + last)
        except ArchiveError:
            if first:
                self.not_an_archive(beginning)
            raise
        if not header.strip(b"\0"):
            return None
        if not is_header(header):
            if first:
                self.not_an_archive(beginning)
            self.fail(f"damaged: the header after {show(last)} has a wrong checksum")
        return header

    def not_an_archive(self, beginning: bytes) -> NoReturn:
        kinds = "tar (plain or compressed with gzip, bzip2, xz or zstd), zip, wheel or deb"
        for magic, what in _OTHERS:
            if beginning.startswith(magic):
                self.fail(f"not an archive that can be unpacked, but {what}; supported: {kinds}")
        self.fail(f"not an archive that can be unpacked: {kinds}; it begins with {beginning!r}")

    def entry(self, header: bytes) -> bytes:
        """Unpack one entry; returns its name."""
        kind = header[156:157]
        size = self.number(header[124:136], "size")
        if kind == b"V":  # the volume's label
            self.stream.skip(size + -size % BLOCK, b"a volume label")
            return b"a volume label"
        if kind == b"X":  # Solaris, before there was a standard
            kind = b"x"
        if kind in b"xgLK" and kind != b"":
            self.extra_header(kind, size)
            return b"an extended header"
        attributes = {**self.globals, **self.pax}
        if any(key.startswith(b"GNU.sparse") for key in attributes):
            kind = b"S"
        name = attributes.get(b"path") or self.long_name or self.short_name(header)
        link = attributes.get(b"linkpath") or self.long_link or header[157:257].partition(b"\0")[0]
        if b"size" in attributes:
            size = self.decimal(attributes[b"size"], name)
        self.pax, self.long_name, self.long_link, self.pending = {}, None, None, 0
        self.unpack_one(kind, name, link, size, self.number(header[100:108], "mode"))
        return name

    def unpack_one(self, kind: bytes, name: bytes, link: bytes, size: int, mode: int) -> None:
        limits = self.tree.limits
        if not name:
            limits.refuse(b"(no name)", "an entry without a name")
        if kind in (b"0", b"\0", b"7") and not name.endswith(b"/"):
            self.tree.file(name, size, bool(mode & 0o111), lambda fd: self.stream.copy(size, fd, name))
            self.stream.skip(-size % BLOCK, name)
            return
        if kind in (b"5", b"D", b"0", b"\0"):  # D: GNU's incremental backups; its data are a list of names
            self.tree.directory(name)
            size = 0 if kind == b"5" else size
        elif kind == b"2":
            self.tree.symlink(name, link)
        elif kind == b"1":
            self.tree.hard_link(name, link)
        else:
            what = _REFUSED.get(kind, f"an entry of the unknown type {kind!r}")
            limits.refuse(name, f"{what}, which is not allowed")
        if size and kind in (b"1", b"2", b"5"):
            size = 0
        limits.size(name, size)
        self.stream.skip(size + -size % BLOCK, name)

    def short_name(self, header: bytes) -> bytes:
        name = header[:100].partition(b"\0")[0]
        prefix = header[345:500].partition(b"\0")[0]
        if header[257:263] == b"ustar\0" and prefix:
            return prefix + b"/" + name
        return name

    def extra_header(self, kind: bytes, size: int) -> None:
        """A header that tells more about the entry after it (or, `g`, about all)."""
        if size > _MAX_HEADER:
            self.fail(f"an extended header of {size} bytes")
        self.tree.limits.entry(b"an extended header")
        data = self.stream.read(size, b"an extended header")
        self.stream.skip(-size % BLOCK, b"an extended header")
        if kind == b"g":
            self.globals.update(self.pax_records(data))
            return
        self.pending += 1
        if kind == b"x":
            self.pax = self.pax_records(data)
        elif kind == b"L":
            self.long_name = data.partition(b"\0")[0]
        else:
            self.long_link = data.partition(b"\0")[0]

    def pax_records(self, data: bytes) -> dict[bytes, bytes]:
        """`LENGTH KEY=VALUE\\n`, one after the other."""
        records: dict[bytes, bytes] = {}
        at = 0
        while at < len(data) and data[at] != 0:
            digits, blank, _ = data[at : at + 10].partition(b" ")
            if not blank or not digits.isdigit():
                self.fail("damaged: a pax header that is not valid")
            end = at + int(digits)
            record = data[at + len(digits) + 1 : end]
            key, equals, value = record.partition(b"=")
            if end <= at + len(digits) or end > len(data) or not equals or not value.endswith(b"\n"):
                self.fail("damaged: a pax header that is not valid")
            records[key] = value[:-1]
            at = end
        return records

    def number(self, field: bytes, what: str) -> int:
        """An octal number, or a binary one when its first bit is set."""
        if field[0] & 0xC0 == 0x80:  # the next bit is the sign
            return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
        text = field.partition(b"\0")[0].strip()
        if text and (not text.isdigit() or b"8" in text or b"9" in text):
            self.fail(f"damaged: a header with a {what} that is no number: {field!r}")
        return int(text or b"0", 8)

    def decimal(self, text: bytes, name: bytes) -> int:
        if not text.isdigit() or len(text) > 18:
            self.tree.limits.refuse(name, f"damaged: the size {show(text)}")
        return int(text)
