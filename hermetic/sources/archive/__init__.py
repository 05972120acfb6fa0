"""Unpacking archives that are not trusted: tar (plain, gzip, bzip2, xz, zstd), zip and wheels, deb.

What may not enter the store is refused by name: absolute paths, `..`, links that lead out of the tree,
device nodes, fifos, entries that stand twice or behind a link, more bytes than agreed. Formats are told
by their content, not by their file name. Each format is one module, and all write through `output.Tree`.
"""
# ruff: noqa: PTH104, PTH106, PTH118

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from hermetic.errors import ArchiveError, HermeticError, StoreError
from hermetic.sources.archive import deb, tar
from hermetic.sources.archive.output import Limits, Tree, show
from hermetic.sources.archive.streams import compression

MAX_BYTES: Final = 8 << 30
MAX_ENTRIES: Final = 500_000


def unpack(
    archive: Path,
    dest: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_entries: int = MAX_ENTRIES,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Unpack `archive` into the directory `dest`, which must be empty or not there.

    The one top-level directory of a tar or zip, if there is exactly one entry and it is a directory, is left
    out; never that of a deb, whose `data.tar` is unpacked. Files get the mode 0644 or 0755, directories 0755,
    everything the time 0. A hard link becomes a copy.

    Args:
        max_bytes: how much all files together may have.
        max_entries: how many entries there may be.
        check: called before each entry; what it raises ends the work.

    Raises:
        ArchiveError: not an archive, damaged, or something in it is refused; with the archive and the entry.
            `dest` is removed.
        StoreError: the disk is full or not writable. `dest` is removed.
    """
    dest.mkdir(exist_ok=True)
    if any(dest.iterdir()):
        raise ArchiveError(f"cannot unpack {archive.name}: {dest} is not empty")
    try:
        with archive.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            limits = Limits(archive.name, max_bytes, max_entries, size, check)
            _unpack(file, archive.name, dest, limits)
    except BaseException as problem:
        import shutil

        shutil.rmtree(dest, ignore_errors=True)
        if isinstance(problem, OSError):
            raise _from_os_error(problem, archive, dest) from problem
        raise


def _from_os_error(problem: OSError, archive: Path, dest: Path) -> HermeticError:
    what = f"cannot unpack {archive.name}: {problem.strerror or problem}"
    if problem.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
        shown = problem.filename
        return ArchiveError(what + (f": {show(os.fsencode(shown))}" if shown else ""))
    return StoreError(what, hint=f"{dest} needs room and must be writable")


def _unpack(file: IO[bytes], name: str, dest: Path, limits: Limits) -> None:
    staging = dest / f".unpack-{os.urandom(8).hex()}"
    staging.mkdir()
    tree = Tree(os.fsencode(staging), limits)
    beginning = file.read(tar.BLOCK)
    file.seek(0)
    strip = True
    if beginning.startswith(b"!<arch>\n"):
        deb.unpack(file, name, tree)
        strip = False
    elif tar.is_header(beginning) or compression(beginning) is not None:
        tar.unpack(file, name, tree)
    else:
        from hermetic.sources.archive import zip  # its imports take 10 ms

        if beginning.startswith((b"PK\x03\x04", b"PK\x05\x06")) or zip.is_zip(file):
            zip.unpack(file, name, tree)
        else:
            tar.unpack(file, name, tree)  # says what is wrong
    top = tree.finish(strip)
    root = os.path.join(os.fsencode(staging), top)
    target = os.fsencode(dest)
    for child in os.listdir(root):
        os.rename(os.path.join(root, child), os.path.join(target, child))
    if top:
        os.rmdir(root)
    staging.rmdir()
    os.utime(dest, ns=(0, 0))
