"""Decompression of what is not trusted: chunks of bounded size, and every kind of damage an ArchiveError."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from hermetic.errors import ArchiveError
from hermetic.sources.archive.output import CHUNK, show, write_all

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


def _decompressed(file: Input, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """All streams of a compressed file, one after the other. Zero bytes may follow the last."""
    data = file.read(CHUNK)
    while data:
        stream = new()
        while not stream.eof:
            if stream.needs_input:
                if not data:
                    data = file.read(CHUNK)
                if not data:
                    raise EOFError("the compressed data end too soon")
            out = stream.decompress(data, CHUNK)
            data = b""
            if out:
                yield out
        data = stream.unused_data.lstrip(b"\0")
        while not data and (more := file.read(CHUNK)):
            data = more.lstrip(b"\0")


def chunks(file: Input) -> Iterator[bytes]:
    """The content of a file, decompressed by what it begins with."""
    start = file.tell()
    magic = file.read(6)
    file.seek(start)
    if magic.startswith(b"\x1f\x8b"):
        return _decompressed(file, _Gzip)
    if magic.startswith(b"BZh"):
        import bz2

        return _decompressed(file, bz2.BZ2Decompressor)
    if magic.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return _decompressed(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(file)
    return _plain(file)


def _zstd(file: Input) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return _decompressed(file, zstd.ZstdDecompressor)
    return _zstandard(file)


def _zstandard(file: Input) -> Iterator[bytes]:
    """For Python before 3.14. It does not tell a frame that ends too soon; the tar reader does."""
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        file,  # type: ignore[arg-type]  # it needs no more than `read`
        read_across_frames=True,
    )
    while chunk := reader.read(CHUNK):
        yield chunk


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
    """Exact reads from chunks."""

    def __init__(self, chunks: Iterator[bytes], archive: str) -> None:
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
