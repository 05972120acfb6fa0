"""Reads zip files, wheels among them."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from hermetic import filesystem
from hermetic.errors import ArchiveError, HermeticError
from hermetic.sources.archive.output import CHUNK, Tree, show, write_all

_UTF8: Final = 0x800  # flag: the name is UTF-8
_DOS: Final = (0, 10, 11, 14)  # systems: FAT, NTFS in two numbers, VFAT
_DOS_DIRECTORY: Final = 0x10
_MAX_TARGET: Final = 4096  # bytes of a symbolic link's target


def is_zip(file: IO[bytes]) -> bool:
    """Whether a file ends as a zip does: programs that unpack themselves begin with something else."""
    start = file.tell()
    try:
        return zipfile.is_zipfile(file)
    finally:
        file.seek(start)


def unpack(file: IO[bytes], name: str, tree: Tree) -> None:
    with _damage(name):
        archive = zipfile.ZipFile(file)
    for info in archive.infolist():
        tree.limits.check()
        raw = _name(info)
        with _damage(f"{name}: {show(raw)}"):
            _unpack_entry(archive, info, raw, tree)


def _name(info: zipfile.ZipInfo) -> bytes:
    """The name in UTF-8, as the program meant it that wrote it, with `/` between its parts."""
    if info.flag_bits & _UTF8:
        raw = info.orig_filename.encode("utf-8", "surrogateescape")
    else:
        stored = info.orig_filename.encode("cp437")
        raw = _unicode_path(info.extra, stored) or stored
        dos = info.create_system in _DOS and not _is_utf8(raw)
        raw = info.orig_filename.encode("utf-8") if dos else raw
    if info.create_system in _DOS and b"/" not in raw:
        raw = raw.replace(b"\\", b"/")  # .NET and PowerShell wrote these for years
    return raw


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _unicode_path(extra: bytes, stored: bytes) -> bytes | None:
    """Info-ZIP's extra field 0x7075: version, checksum of the name that it stands for, the name in UTF-8."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and data[:1] == b"\1" and data[1:5] == struct.pack("<I", zlib.crc32(stored)):
            return data[5:] or None
    return None


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Whatever zipfile raises is damage of the archive."""
    try:
        yield
    except OSError as problem:
        if problem.errno != errno.EINVAL or problem.filename is not None:
            raise
        raise ArchiveError(f"{name}: damaged: it says that something lies before its beginning") from problem
    except (HermeticError, MemoryError):
        raise
    except Exception as problem:
        # zipfile reports damage by a dozen kinds of exceptions, from struct.error to NotImplementedError.
        fact = str(problem) or type(problem).__name__
        raise ArchiveError(f"{name}: damaged or not supported: {fact}") from problem


def _unpack_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, raw: bytes, tree: Tree) -> None:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if info.flag_bits & 1:
        tree.limits.refuse(raw, "is encrypted")
    dos_directory = info.create_system in _DOS and info.external_attr & _DOS_DIRECTORY
    if raw.endswith(b"/") or (info.file_size == 0 and (kind == stat.S_IFDIR or (dos_directory and not kind))):
        tree.directory(raw)
    elif kind == stat.S_IFLNK:
        if info.file_size > _MAX_TARGET:
            tree.limits.refuse(raw, "a symbolic link without a valid target")
        tree.symlink(raw, archive.read(info))
    elif kind not in (0, stat.S_IFREG):
        tree.limits.refuse(raw, f"{filesystem.kind(mode)}, which is not allowed")
    else:
        executable = bool(mode & 0o111)
        tree.file(raw, info.file_size, executable, lambda fd: _copy_entry(archive, info, fd, raw, tree))


def _copy_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, fd: int, raw: bytes, tree: Tree) -> None:
    written = 0
    with archive.open(info) as source:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > info.file_size:
                break
            write_all(fd, chunk)
    if written != info.file_size:
        tree.limits.refuse(raw, f"damaged: {written} bytes where the directory says {info.file_size}")
