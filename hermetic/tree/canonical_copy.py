"""Copying a tree into the store: made canonical, hashed and written in one pass."""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH101, PTH102, PTH106, PTH115

from __future__ import annotations

import os
import stat
from typing import Final

from hermetic.filesystem import explain, translated
from hermetic.tree.canonical import canonicalise_and_scan, check_length, xattrs
from hermetic.tree.copying import CREATE, copy, copy_file, make_link, write
from hermetic.tree.kinds import is_root, refused
from hermetic.tree.manifest import Manifest
from hermetic.tree.scanning import INLINE, READ, Listing, read_small, reading, unreadable

_EPOCH: Final = (0, 0)  # access and modification time, in ns


def copy_and_scan(src: str | bytes | os.PathLike[str], dst: str | bytes | os.PathLike[str]) -> Manifest:
    """Copy a tree in canonical form and return the manifest of what was written.

    A small file is read once: what is hashed is the buffer that is written. Reading the copy back would show
    the page cache, which holds that buffer, and not what reaches the disk. Files that share blocks with their
    originals and large files are hashed from the copy.

    Args:
        dst: must not exist.

    Raises:
        Unreadable: `src` cannot be read, or changes while it is read.
        Unstorable: `src` holds what no store object may hold.
        StoreError: `dst` cannot be written. In all three cases an incomplete `dst` may remain.
    """
    source, target = os.fsencode(src), os.fsencode(dst)
    with reading(source):
        is_directory = stat.S_ISDIR(os.lstat(source).st_mode)
    if is_directory:
        with translated(target, "copy to"):
            os.mkdir(target, 0o755)
            if _is_plain(target):
                return _Copy(source, target).run()
            os.rmdir(target)
    copy(source, target, writable=True)
    return canonicalise_and_scan(target)


def _is_plain(directory: bytes) -> bool:
    """Whether new entries of a new directory have the given mode, the caller as owner, and no ACL.

    This is not so if a directory passes on its group or its ACL, or if the umask removes permissions.
    """
    status = os.lstat(directory)
    ours = not is_root() or (status.st_uid, status.st_gid) == (0, 0)
    return ours and status.st_mode & (stat.S_ISGID | 0o555) == 0o555 and not xattrs(directory)


class _Copy:
    """A copy that is being made. Paths in the tree begin with a slash; that of the root is empty.

    Files are opened by name in open directories, so that the kernel need not resolve two long paths for each.
    """

    def __init__(self, source: bytes, target: bytes) -> None:
        self._source = source
        self._target = target
        self._listing = Listing(target)
        self._reflinks = [True]  # set to False when the file system refuses the first one

    def run(self) -> Manifest:
        directories = [b""]
        for directory in directories:  # the loop appends to this list
            check_length(directory)
            if directory:
                os.mkdir(self._target + directory, 0o755)
            self._listing.directory(directory[1:])
            directories += self._directory(directory)
        for directory in reversed(directories):
            os.chmod(self._target + directory, 0o555)
            os.utime(self._target + directory, ns=_EPOCH)
        return self._listing.manifest()

    def _directory(self, directory: bytes) -> list[bytes]:
        """Copy the files and links of a directory. Returns its subdirectories."""
        source, prefix = self._source + directory, directory + b"/"
        with reading(source):
            old = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            new = os.open(self._target + directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                files, links, directories = _names(source)
                for name in files:
                    self._file(prefix + name, name, old, new)
                for name in links:
                    self._link(prefix + name)
                return [prefix + name for name in directories]
            finally:
                os.close(new)
        finally:
            os.close(old)

    def _file(self, path: bytes, name: bytes, old: int, new: int) -> None:
        # Not `with reading(...)` here: for 20,000 files it takes a twentieth of the time.
        source = self._source + path
        try:
            file = os.open(name, READ, dir_fd=old)
            try:
                status = os.fstat(file)
                mode, size = status.st_mode, status.st_size
                at_once = size <= INLINE and not self._reflinks[0]
                data = read_small(file, source, size) if at_once else b""
            finally:
                os.close(file)
        except OSError as error:
            raise unreadable(error, source) from error
        canonical = 0o555 if mode & 0o100 else 0o444
        if not at_once:
            target = self._target + path
            copy_file(source, target, canonical, self._reflinks, _EPOCH)
            self._listing.leaf(path[1:], target, os.lstat(target))
            return
        try:
            file = os.open(name, CREATE, canonical, dir_fd=new)
            try:
                write(file, data)
                os.utime(file, ns=_EPOCH)
            finally:
                os.close(file)
        except OSError as error:
            raise explain(error, self._target + path, "copy to") from error
        self._listing.small(path[1:], mode, data)

    def _link(self, path: bytes) -> None:
        with reading(self._source + path):
            text = os.readlink(self._source + path)
        make_link(text, self._target + path, _EPOCH)
        self._listing.link(path[1:], text)


def _names(directory: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The names of the files, symbolic links and directories in a directory."""
    files, links, directories = [], [], []
    with reading(directory), os.scandir(directory) as found:
        for item in found:
            if item.is_file(follow_symlinks=False):
                files.append(item.name)
            elif item.is_dir(follow_symlinks=False):
                directories.append(item.name)
            elif item.is_symlink():
                links.append(item.name)
            else:
                raise refused(item.path, item.stat(follow_symlinks=False).st_mode)
    return files, links, directories
