"""Where things lie in a store, and which version of this layout it has."""

from __future__ import annotations

import errno
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
    "log/by-name", "tmp", "trash", "failed", "roots/auto", "roots/notes", "temproots",
    "locks", "realisations", "manifests", "eval",
)  # fmt: skip


class Layout:
    """Paths of one store.

    Attributes:
        root: the directory that holds the objects. meta: `.hermetic` in it.
        tmp: workspaces. trash: what waits to be deleted. failed: kept directories of failed builds.
        downloads: where downloads wait until they are whole; they survive an interruption.
        rejected: downloads that are not what was expected, kept aside for a person to look at.
        link_roots, root_notes: roots that follow a link elsewhere, and the object that each was last seen to keep.
        id: random, made once; see `store.identity`. probed: the device whose file system was found to be fit.
        reserve: a file of some size, so that a collection can write on a full disk once it is removed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.meta = meta = root / ".hermetic"
        self.version = meta / "version"
        self.id = meta / "id"
        self.probed = meta / "probed"
        self.database = meta / "db.sqlite"
        self.reserve = meta / "reserve"
        self.log = meta / "log"
        self.tmp = meta / "tmp"
        self.trash = meta / "trash"
        self.failed = meta / "failed"
        self.roots = meta / "roots"
        self.link_roots = self.roots / "auto"
        self.root_notes = self.roots / "notes"
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

    @classmethod
    def at(cls, directory: str) -> Layout:
        """The layout of a store in this directory, if there is one."""
        return cls(Path(directory))

    def read_id(self) -> str:
        """The store's id; empty if it has none, as earlier programs left it, or it cannot be read."""
        with suppress(OSError):
            return filesystem.whole(str(self.id), filesystem.NOTE).decode(errors="replace").strip()
        return ""

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
        """Whether everything is there, on a file system that was found to be fit.

        What is removed in these directories must be the store's own, and objects are renamed between them.

        Raises:
            StoreError: one of them is something else, such as a link to a directory elsewhere, or lies on another
                file system than the store.
        """
        complete = True
        with translated(self.root, "examine"):
            device = self.root.stat().st_dev
        for path in (self.meta, self.log, self.roots, *(self.meta / name for name in _DIRECTORIES)):
            try:
                status = path.lstat()
            except FileNotFoundError:
                complete = False
                continue
            except OSError as error:
                raise filesystem.explain(error, path, "examine") from error
            if not stat.S_ISDIR(status.st_mode):
                raise StoreError(
                    f"{path} is {filesystem.kind(status.st_mode)}, and should be a directory",
                    hint="move it away; the next command makes the directory anew",
                )
            if path in (self.tmp, self.trash) and status.st_dev != device:
                raise StoreError(
                    f"{path} is on another file system than {self.root}: objects cannot be renamed between them",
                    hint="mount the file system at the store's own directory, or use another store with --store",
                )
        return complete and self.id.exists() and self._probed_device() == device

    def _probed_device(self) -> int | None:
        try:
            return int(filesystem.whole(str(self.probed), filesystem.NOTE))
        except (OSError, ValueError):
            return None

    def make_directories(self) -> None:
        """Make what is missing. Safe to be done by several processes at once.

        Raises:
            StoreError: it cannot be made, or the file system lacks what a store needs; then nothing was made.
        """
        wanted = (self.tmp, self.meta, self.root, *self.root.parents)
        missing = [path for path in wanted if not os.path.lexists(path)]
        with translated(self.root, "create"):
            self.root.mkdir(parents=True, exist_ok=True)
        try:
            self._make_directories()
        except BaseException:
            with suppress(OSError):
                for path in missing:
                    path.rmdir()
            raise

    def _make_directories(self) -> None:
        self.check_directories()
        device = self.root.stat().st_dev
        fit = self._probed_device() == device
        if not fit:
            from hermetic.store import capabilities  # slow to load, and needed once

            with translated(self.tmp, "create"):
                self.tmp.mkdir(parents=True, exist_ok=True)
            capabilities.require(self.tmp, self.root)
        with translated(self.meta, "create"):
            for name in _DIRECTORIES:
                (self.meta / name).mkdir(parents=True, exist_ok=True)
            if not self.id.exists():
                write_atomically(self.id, f"{os.urandom(16).hex()}\n".encode())
            if not fit:
                write_atomically(self.probed, b"%d\n" % device)
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
                    _allocate(file, RESERVE)
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


def _allocate(file: int, size: int) -> None:
    """Take space for an open file, also on file systems (and C libraries) without fallocate(2)."""
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV):
            raise
        data = os.urandom(size)  # zeros may be stored as a hole, or compressed
        done = 0
        while done < size:
            done += os.pwrite(file, data[done:], done)
