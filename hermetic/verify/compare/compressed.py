"""gzip, xz and bzip2: the header's fields, then what is compressed."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import Any

from hermetic.verify.compare import recognise
from hermetic.verify.compare.model import MAX_PARSED, Data, Difference, Malformed, Scope, moment, view

_SYSTEMS = {0: "FAT", 3: "Unix", 7: "Macintosh", 10: "NTFS", 255: "unknown"}


def compare_gzip(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Header fields (time stamp, file name, system, level), then the content. Raises Malformed."""
    one, other = _gzip_header(left), _gzip_header(right)
    found = []
    if one["mtime"] != other["mtime"]:
        times = [f"{moment(h['mtime'])}" if h["mtime"] else "none" for h in (one, other)]
        words = f"the header's time stamp: {times[0]} against {times[1]}"
        found.append(scope.found("embedded-time", "gzip header", words, *times))
    for field in ("name", "comment"):
        if one[field] != other[field]:
            words = f"the header's {field} of the file differs"
            found.append(
                recognise.difference_of_text(scope, f"gzip header, {field}", words, one[field], other[field])
            )
    for field, words in (("system", "the system it was made on"), ("level", "the level of compression")):
        if one[field] != other[field]:
            found.append(scope.found("metadata", "gzip header", words, str(one[field]), str(other[field])))
    return found + _contents(scope, left, right, lambda: zlib.decompressobj(31), known=bool(found))


def _gzip_header(data: Data) -> dict[str, Any]:
    if len(data) < 18:
        raise Malformed("too short")
    _, _, flags, mtime, level, system = struct.unpack_from("<HBBIBB", data)
    rest = data[10 : 10 + 4096].tobytes()
    if flags & 4:
        rest = rest[2 + int.from_bytes(rest[:2], "little") :]
    texts = {"name": b"", "comment": b""}
    for field, flag in (("name", 8), ("comment", 16)):
        if flags & flag:
            texts[field], _, rest = rest.partition(b"\0")
    return {"mtime": mtime, "level": level, "system": _SYSTEMS.get(system, str(system)), **texts}


def compare_xz(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """What is compressed. Raises Malformed."""
    return _contents(scope, left, right, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20))


def compare_bzip2(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """What is compressed. Raises Malformed."""
    return _contents(scope, left, right, bz2.BZ2Decompressor)


def _contents(scope: Scope, left: Data, right: Data, codec: Any, *, known: bool = False) -> list[Difference]:
    one, other = unpacked(left, codec), unpacked(right, codec)
    found = scope.nested("decompressed", scope.name.rpartition(".")[0], view(one), view(other))
    if found or known:
        return found
    if max(len(one), len(other)) == MAX_PARSED:
        words = (
            f"the first {MAX_PARSED >> 20} MiB are the same once decompressed; what follows was not compared"
        )
    else:
        words = "the same content, compressed in another way"
    return [scope.found("metadata", "", words, f"{len(left):,} bytes", f"{len(right):,} bytes")]


def unpacked(data: Data, codec: Any) -> bytes:
    """At most MAX_PARSED bytes of what is compressed in one or several streams. Raises Malformed."""
    parts: list[bytes] = []
    room = MAX_PARSED
    rest: bytes | Data = data
    try:
        while room > 0 and len(rest):
            stream = codec()
            part = stream.decompress(rest, room)
            if not part and not stream.eof:
                raise Malformed("the compressed data end early")
            parts.append(part)
            room -= len(part)
            rest = stream.unused_data if stream.eof else b""
            if parts and rest[:1] == b"\0":  # padding
                break
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError) as error:
        raise Malformed(str(error)) from error
    return b"".join(parts)
