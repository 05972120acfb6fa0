"""Where things lie in a store, and which version of this layout it has."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermetic import filesystem
from hermetic.errors import StoreError
from hermetic.filesystem import translated, write_atomically

VERSION: Final = 1
RESERVE: Final = 1 << 20  # bytes
LOW: Final = 4 << 20  # bytes free on the disk, below which the reserve may be used
_DIRECTORIES: Final = (
    "log/by-name", "tmp", "trash", "failed", "roots/auto", "temproots",
    "locks", "realisations", "manifests", "eval",
)  # fmt: skip


class Layout:
    """Paths of one store.

    Attributes:
        root: the directory that holds the objects. meta: `.hermetic` in it.
        tmp: workspaces. trash: what waits to be deleted. failed: kept directories of failed builds.
        downloads: where downloads wait until they are whole; they survive an interruption.
        rejected: downloads that are not what was expected, kept aside for a person to look at.
        reserve: a file of some size, so that a collection can write on a full disk once it is removed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.meta = meta = root / ".hermetic"
        self.version = meta / "version"
        self.database = meta / "db.sqlite"
        self.reserve = meta / "reserve"
        self.log = meta / "log"
        self.tmp = meta / "tmp"
        self.trash = meta / "trash"
        self.failed = meta / "failed"
        self.roots = meta / "roots"
        self.temp_roots = meta / "temproots"
        self.locks = meta / "locks"
        self.realisations = meta / "realisations"
        self.manifests = meta / "manifests"
        self.eval = meta / "eval"
        self.downloads = meta / "download"
        self.rejected = self.downloads / "rejected"
        self.gc_lock = self.locks / "gc.lock"
        self.tmp_lock = self.locks / "tmp.lock"
        self.database_lock = self.locks / "db.lock"
        self.create_lock = meta / "create.lock"

    def object(self, name: str) -> Path:
        """Path of an object."""
        return self.root / name

    def realisation(self, drv_id: str) -> Path:
        """Path of the record of a realisation."""
        return self.realisations / f"{drv_id}.json"

    def manifest(self, name: str) -> Path:
        """Path of the manifest of an object."""
        return self.manifests / name

    def exists(self) -> bool:
        """Whether a store was made here, of a version that this program knows.

        Raises:
            StoreError: it is of another version, or its version cannot be read.
        """
        with translated(self.version, "read"):
            try:
                text = filesystem.whole(str(self.version), filesystem.NOTE)
            except (FileNotFoundError, NotADirectoryError):
                return False
        if text.strip() == b"%d" % VERSION:
            return True
        shown = text[:40].decode(errors="replace").strip()
        if text.strip().isdigit():
            raise StoreError(
                f"{self.root} is a store of version {shown}; this program knows version {VERSION}",
                hint="use the hermetic that made it, or another store with --store",
            )
        raise StoreError(
            f"{self.version} is damaged: it holds {shown!r}",
            hint=f"if it was version {VERSION}, write {VERSION} into that file",
        )

    def check_directories(self) -> bool:
        """Whether all directories are there. What is removed in them must be the store's own.

        Raises:
            StoreError: one of them is something else, such as a link to a directory elsewhere.
        """
        complete = True
        for path in (self.meta, self.log, self.roots, *(self.meta / name for name in _DIRECTORIES)):
            try:
                mode = path.lstat().st_mode
            except OSError:
                complete = False
                continue
            if not stat.S_ISDIR(mode):
                raise StoreError(
                    f"{path} is {filesystem.kind(mode)}, and should be a directory",
                    hint="move it away; the next command makes the directory anew",
                )
        return complete

    def make_directories(self) -> None:
        """Make what is missing. Safe to be done by several processes at once."""
        self.check_directories()
        with translated(self.meta, "create"):
            for name in _DIRECTORIES:
                (self.meta / name).mkdir(parents=True, exist_ok=True)
            self.make_reserve()

    def make_version(self) -> None:
        """Say that the store is complete."""
        write_atomically(self.version, b"%d\n" % VERSION)

    def make_reserve(self) -> None:
        """Set some space aside, where there is some."""
        with suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self.reserve, flags, 0o600)
            try:
                if os.fstat(file).st_size < RESERVE:
                    os.posix_fallocate(file, 0, RESERVE)
            except OSError:
                os.ftruncate(file, 0)
            finally:
                os.close(file)

    def release_reserve(self) -> bool:
        """Give up the space set aside, if the disk is nearly full. False: it is not, or there was none."""
        try:
            status = os.statvfs(self.meta)
            if status.f_bavail * status.f_frsize >= LOW or self.reserve.stat().st_size == 0:
                return False
            self.reserve.unlink()
        except OSError:
            return False
        return True

    def check_writable(self) -> None:
        """Raises StoreError when this user cannot write to the store."""
        if os.access(self.meta, os.W_OK) and os.access(self.root, os.W_OK):
            return
        with translated(self.root, "write to the store"):
            if os.statvfs(self.root).f_flag & os.ST_RDONLY:
                raise OSError(30, "", os.fspath(self.root))
            raise PermissionError(13, "", os.fspath(self.root))
