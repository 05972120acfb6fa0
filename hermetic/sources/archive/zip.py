"""Reads zip files, wheels among them."""

from __future__ import annotations

import errno
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from hermetic import filesystem
from hermetic.errors import ArchiveError, HermeticError
from hermetic.sources.archive.output import CHUNK, Tree, write_all

_MAX_TARGET: Final = 4096  # bytes of a symbolic link's target


def unpack(file: IO[bytes], name: str, tree: Tree) -> None:
    with _damage(name):
        archive = zipfile.ZipFile(file)
    for info in archive.infolist():
        tree.limits.check()
        with _damage(name):
            _unpack_entry(archive, info, tree)


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


def _unpack_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: Tree) -> None:
    raw = info.orig_filename.encode("utf-8", "surrogateescape")
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if info.flag_bits & 1:
        tree.limits.refuse(raw, "is encrypted")
    if raw.endswith(b"/"):
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
