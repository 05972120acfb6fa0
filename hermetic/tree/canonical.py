"""The canonical form of a tree in the store."""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH101, PTH104, PTH118, PTH119, PTH120

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from hermetic.filesystem import translated
from hermetic.tree.copying import copy_file
from hermetic.tree.kinds import Unstorable, is_root, refused
from hermetic.tree.manifest import Manifest
from hermetic.tree.scanning import INLINE, READ, Listing, read_small

# Longest path of a directory in a tree, in bytes. The kernel's limit of 4,096 includes the store's path and
# the file's name. The limit here must not depend on the store's path.
LONGEST: Final = 3000
# Labels of mandatory access control. They belong to the machine and cannot be removed.
_LABELS: Final = frozenset({"security.selinux", "security.SMACK64"})


def canonicalise(path: str | bytes | os.PathLike[str], *, unshare: bool = True) -> None:
    """Give a tree its canonical form. Nothing that the manifest lists is changed.

    Modes become 0444, or 0555 for directories and for files that the owner could execute. Set-id and sticky
    bits, extended attributes and ACLs are removed. Time stamps become 0. The owner becomes the caller. A
    file with several hard links is copied, so that no inode is shared: a change of mode or content through
    the other name would change the object.

    Args:
        unshare: False for a tree that is in a store: objects of a store may share files.

    Raises:
        StoreError: the tree holds a socket, fifo or device, or a path of a directory above `LONGEST`;
            or the operating system refused a change.
    """

    def leaf(rel: bytes, path: bytes, status: os.stat_result) -> None:
        _canonical_leaf(path, status, unshare)

    _walk(os.fsencode(path), leaf, lambda rel: None)


def canonicalise_and_scan(path: str | bytes | os.PathLike[str]) -> Manifest:
    """`canonicalise` and `scan` in one pass, which opens each file once.

    Raises:
        StoreError: as for both.
    """
    root = os.fsencode(path)
    listing = Listing(root)
    owner = (0, 0) if is_root() else None

    def leaf(rel: bytes, path: bytes, status: os.stat_result) -> None:
        ours = owner in (None, (status.st_uid, status.st_gid)) and status.st_nlink == 1
        small = ours and stat.S_ISREG(status.st_mode) and status.st_size <= INLINE
        if not (small and _small_file(rel, path, status, listing)):
            listing.leaf(rel, path, _canonical_leaf(path, status, unshare=True))

    _walk(root, leaf, listing.directory)
    with translated(root, "read"):
        return listing.manifest()


def _walk(
    root: bytes, leaf: Callable[[bytes, bytes, os.stat_result], None], enter: Callable[[bytes], None]
) -> None:
    """Make directories canonical. Call `leaf` for all other entries: path in the tree, path, status."""
    with translated(root, "make canonical"):
        status = os.lstat(root)
        if not stat.S_ISDIR(status.st_mode):
            if stat.S_ISLNK(status.st_mode):
                raise refused(root, status.st_mode)
            leaf(b"", root, status)
            return
        directories, start = [root], len(root) + 1
        for directory in directories:  # the loop appends to this list
            check_length(directory[start - 1 :])
            status = os.lstat(directory)
            if status.st_mode & 0o700 != 0o700:
                os.chmod(directory, 0o755)
            enter(directory[start:])
            with os.scandir(directory) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        directories.append(item.path)
                    else:
                        path = item.path
                        leaf(path[start:], path, item.stat(follow_symlinks=False))
        for directory in reversed(
            directories
        ):  # children first: changing them changes the directory's time stamp
            _canonical_attributes(directory, os.lstat(directory), 0o555)


def check_length(rel: bytes) -> None:
    if len(rel) > LONGEST:
        raise Unstorable(f"{os.fsdecode(rel[:200])}...: the path of this directory has over {LONGEST} bytes")


def _small_file(rel: bytes, path: bytes, status: os.stat_result, listing: Listing) -> bool:
    """Make a file canonical and list it. Returns False if that takes more than a change of mode and times."""
    try:
        file = os.open(path, READ)
    except PermissionError:
        return False
    try:
        if xattrs(file):
            return False
        listing.small(rel, status.st_mode, read_small(file, path, status.st_size))
        mode = 0o555 if status.st_mode & 0o100 else 0o444
        if stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(file, mode)
        if status.st_mtime_ns != 0:
            os.utime(file, ns=(0, 0))
        return True
    finally:
        os.close(file)


def _canonical_leaf(path: bytes, status: os.stat_result, unshare: bool) -> os.stat_result:
    """Make a file or link canonical. Returns its status, of which only mode and size are still valid."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        if unshare and status.st_nlink > 1:
            _break_hard_link(path, mode)
            status = os.lstat(path)
        _canonical_attributes(path, status, 0o555 if mode & 0o100 else 0o444)
    elif stat.S_ISLNK(mode):
        _canonical_attributes(path, status, None)
    else:
        raise refused(path, mode)
    return status


def _canonical_attributes(path: bytes, status: os.stat_result, mode: int | None) -> None:
    if names := xattrs(path):
        _remove_xattrs(path, names, mode)
        status = os.lstat(path)
    if is_root() and (status.st_uid, status.st_gid) != (0, 0):
        os.lchown(path, 0, 0)
        status = os.lstat(path)  # a change of owner clears set-id bits
    if mode is not None and stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)
    if status.st_mtime_ns != 0:
        os.utime(path, ns=(0, 0), follow_symlinks=False)


def xattrs(path: bytes | int) -> list[str]:
    """Names of the extended attributes of a path, or of an open file, that are not the machine's own."""
    try:
        names = os.listxattr(path) if isinstance(path, int) else os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return []
        raise
    return [name for name in names if name not in _LABELS] if names else names


def _remove_xattrs(path: bytes, names: list[str], mode: int | None) -> None:
    if mode is not None:
        os.chmod(path, 0o700)  # only a user who may write can change user.* attributes
    for name in names:
        try:
            os.removexattr(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENODATA:  # the chmod, or removing another ACL, may have removed this one
                raise


def _break_hard_link(path: bytes, mode: int) -> None:
    private = path + b".hermetic-%d" % os.getpid()
    if len(os.path.basename(private)) > 255:
        private = os.path.join(os.path.dirname(path), b".hermetic-%d" % os.getpid())
    if not mode & 0o400:
        os.chmod(path, 0o600)
    copy_file(path, private, stat.S_IMODE(mode) & 0o777 | 0o600, [True])
    os.rename(private, path)
