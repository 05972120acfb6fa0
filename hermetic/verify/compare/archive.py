"""Readers of archives and compressed files: ar, tar, zip, gzip."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Final

from hermetic.verify.compare.model import MAX_UNPACKED, Data, Malformed, Part, moment, shown, text_of

_AR_HEADER: Final = 60
_AR_TABLES: Final = {b"/": "index of symbols", b"/SYM64/": "index of symbols", b"//": "long names"}


def read_ar(data: Data) -> Iterator[Part]:
    """Members of an ar archive as GNU and LLVM tools write it."""
    names, at = b"", 8
    while at < len(data):
        header = data[at : at + _AR_HEADER].tobytes()
        label, size = header[:16].rstrip(b" "), int(header[48:58])
        content = data[at + _AR_HEADER : at + _AR_HEADER + size]
        if header[58:] != b"`\n" or size < 0 or len(content) < size:
            raise Malformed(f"no whole member at offset {at:#x}")
        at += _AR_HEADER + size + size % 2
        if label == b"//":
            names = content.tobytes()
        if label[1:].isdigit():
            label = names[int(label[1:]) :].partition(b"\n")[0]
        places = (("uid", 28, 34), ("gid", 34, 40), ("mode", 40, 48))
        fields = {name: text_of(header[start:stop].rstrip()) for name, start, stop in places}
        fields["mtime"] = moment(int(header[16:28].strip() or 0))
        name = _AR_TABLES.get(label) or f"member {shown(label.removesuffix(b'/'))}"
        yield Part(name, fields, size, content)


def read_tar(data: Data) -> Iterator[Part]:
    """Members of a tar archive."""
    archive = tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="backslashreplace")  # noqa: SIM115
    names = ("uid", "gid", "uname", "gname", "type", "linkname")
    for info in archive:
        pax = sorted((name, value) for name, value in info.pax_headers.items() if name != "mtime")
        fields = {name: str(getattr(info, name)) for name in names}
        fields |= {"mtime": moment(info.mtime), "mode": f"{info.mode:o}", "PAX headers": str(pax)}
        unpack = partial(_bounded, partial(archive.extractfile, info))
        yield Part(f"member {shown(info.name)}", fields, info.size, unpack)


def read_zip(data: Data) -> Iterator[Part]:
    """Members of a zip archive."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    names = ("create_system", "compress_type", "flag_bits", "extra", "comment")
    for info in archive.infolist():
        fields = {name: str(getattr(info, name)) for name in names}
        fields["mtime"] = "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*info.date_time)
        fields["mode"] = stat.filemode(info.external_attr >> 16)
        unpack = partial(_bounded, partial(archive.open, info))
        yield Part(f"member {shown(info.filename)}", fields, info.file_size, unpack)


def read_gzip(data: Data) -> list[Part]:
    """The header's time stamp and file name, and what is compressed."""
    flags, mtime = struct.unpack_from("<3xBI", data)
    rest = data[10:4096].tobytes()
    if flags & 4:
        rest = rest[2 + int.from_bytes(rest[:2], "little") :]
    name = rest.partition(b"\0")[0] if flags & 8 else b""
    fields = {"mtime": moment(mtime) if mtime else "none", "name": text_of(name)}
    unpack = partial(_bounded, partial(gzip.GzipFile, fileobj=io.BytesIO(data)))
    return [Part("gzip header", fields), Part("decompressed", data=unpack)]


def _bounded(opened: Callable[[], IO[bytes] | gzip.GzipFile | None]) -> Data:
    """The content of a file inside; empty for what is no file. Raises anything on damage."""
    file = opened()
    content = file.read(MAX_UNPACKED + 1) if file is not None else b""
    if len(content) > MAX_UNPACKED:
        raise Malformed(f"more than {MAX_UNPACKED >> 20} MiB unpacked")
    return memoryview(content)
