"""Decompression of what is not trusted: chunks of bounded size, and every kind of damage an ArchiveError."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from hermetic.errors import ArchiveError
from hermetic.sources.archive.output import CHUNK, show, write_all

_MAGIC: Final = 6  # bytes that tell every format
_SKIPPABLE_FIRST: Final = [bytes([0x50 + n]) for n in range(16)]
_ZSTD_PIECE: Final = 2048  # bytes
_MAX_MEMORY: Final = 1 << 30  # bytes: a hostile header may ask for a dictionary of 4 GiB


class Input(Protocol):
    """What is read of a file."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...


class _Decompressor(Protocol):
    """What bz2, lzma and Python 3.14's zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        import zlib

        self.inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self.inner.eof

    @property
    def unused_data(self) -> bytes:
        return self.inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self.inner.decompress(self.inner.unconsumed_tail + data, max_length)
        self.needs_input = not self.inner.unconsumed_tail and len(out) < max_length
        return out


def _plain(file: Input) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


class _Zstd:
    """zstandard's decompressor with the interface of the others, for Python before 3.14.

    It has no limit on what one call returns, so it is given little at a time: a block of 4 bytes may become
    128 KiB.
    """

    def __init__(self) -> None:
        import zstandard

        self.inner = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self.pending = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self.inner.eof

    @property
    def unused_data(self) -> bytes:
        return self.inner.unused_data + self.pending

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        self.pending += data
        piece, self.pending = self.pending[:_ZSTD_PIECE], self.pending[_ZSTD_PIECE:]
        out = self.inner.decompress(piece)
        self.needs_input = not self.pending
        return out


class _Skippable:
    """A frame of zstd that holds nothing for us: pzstd begins with one. 4 bytes of magic, 4 of size."""

    needs_input = True

    def __init__(self) -> None:
        self.header = b""
        self.left = -1
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return self.left == 0

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if self.left < 0:
            self.header += data
            if len(self.header) < 8:
                return b""
            self.left, data = int.from_bytes(self.header[4:8], "little"), self.header[8:]
        skipped = min(len(data), self.left)
        self.left -= skipped
        self.unused_data = data[skipped:]
        return b""


def _is_skippable(data: bytes) -> bool:
    return data[:1] in _SKIPPABLE_FIRST and data[1:4] == b"\x2a\x4d\x18"


class Format(NamedTuple):
    """A kind of compression: how its streams begin, and what decompresses one."""

    name: str
    magic: bytes
    new: Callable[[], _Decompressor]


def _decompressed(file: Input, kind: Format) -> Iterator[bytes]:
    """All streams of a compressed file, one after the other. Zero bytes may follow the last."""
    data = file.read(CHUNK)
    while data:
        if len(data) < _MAGIC:
            data += file.read(CHUNK)
        if kind.name == "zstd" and _is_skippable(data):
            stream: _Decompressor = _Skippable()
        elif data.startswith(kind.magic):
            stream = kind.new()
        else:
            what = f"what follows the {kind.name} data is neither {kind.name} nor padding"
            raise EOFError(f"{what}: it begins with {data[:16]!r}")
        while not stream.eof:
            if stream.needs_input:
                if not data:
                    data = file.read(CHUNK)
                if not data:
                    raise EOFError(f"truncated: the {kind.name} data end too soon")
            out = stream.decompress(data, CHUNK)
            data = b""
            if out:
                yield out
        data = stream.unused_data.lstrip(b"\0")
        while not data and (more := file.read(CHUNK)):
            data = more.lstrip(b"\0")


def _bzip2() -> _Decompressor:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> _Decompressor:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY)


def _zstd() -> _Decompressor:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdDecompressor()
    return _Zstd()


FORMATS: Final = (
    Format("gzip", b"\x1f\x8b", _Gzip),
    Format("bzip2", b"BZh", _bzip2),
    Format("xz", b"\xfd7zXZ\x00", _xz),
    Format("zstd", b"\x28\xb5\x2f\xfd", _zstd),
)


def compression(beginning: bytes) -> Format | None:
    """How a file is compressed that begins so; None: it is not."""
    if _is_skippable(beginning):
        return FORMATS[-1]
    return next((kind for kind in FORMATS if beginning.startswith(kind.magic)), None)


def open_stream(file: Input, archive: str) -> Stream:
    """The content of a file, decompressed by what it begins with."""
    start = file.tell()
    kind = compression(file.read(_MAGIC))
    file.seek(start)
    return Stream(_plain(file) if kind is None else _decompressed(file, kind), archive, kind is not None)


def _damage() -> tuple[type[Exception], ...]:
    """What the decompressors raise for damaged input."""
    import lzma
    import zlib

    kinds: list[type[Exception]] = [zlib.error, lzma.LZMAError, EOFError, ValueError]
    if sys.version_info >= (3, 14):
        from compression import zstd

        kinds.append(zstd.ZstdError)
    else:
        with contextlib.suppress(ImportError):
            import zstandard

            kinds.append(zstandard.ZstdError)
    return tuple(kinds)


class Stream:
    """Exact reads from chunks.

    Attributes:
        compressed: then nothing is missing at the end of the chunks: compressed data that were cut raise.
    """

    def __init__(self, chunks: Iterator[bytes], archive: str, compressed: bool) -> None:
        self.compressed = compressed
        self.chunks = chunks
        self.archive = archive
        self.buffer = memoryview(b"")
        self.damage = _damage()

    def fill(self) -> bool:
        """Get the next chunk when the last is used up. False at the end."""
        while not self.buffer:
            try:
                chunk = next(self.chunks, None)
            except self.damage as problem:
                raise ArchiveError(f"{self.archive}: damaged: {problem}") from problem
            except OSError as problem:
                # bz2 reports damage as an OSError without a number
                if problem.errno is not None:
                    raise
                raise ArchiveError(f"{self.archive}: damaged: {problem}") from problem
            if chunk is None:
                return False
            self.buffer = memoryview(chunk)
        return True

    def pieces(self, size: int, what: bytes) -> Iterator[memoryview]:
        """The next `size` bytes in pieces."""
        while size:
            if not self.fill():
                raise ArchiveError(f"{self.archive}: truncated: ends within {show(what)}")
            piece = self.buffer[:size]
            self.buffer = self.buffer[len(piece) :]
            size -= len(piece)
            yield piece

    def read(self, size: int, what: bytes) -> bytes:
        if len(self.buffer) >= size:
            out = bytes(self.buffer[:size])
            self.buffer = self.buffer[size:]
            return out
        return b"".join(self.pieces(size, what))

    def copy(self, size: int, fd: int, what: bytes) -> None:
        for piece in self.pieces(size, what):
            write_all(fd, piece)

    def skip(self, size: int, what: bytes) -> None:
        for _ in self.pieces(size, what):
            pass
