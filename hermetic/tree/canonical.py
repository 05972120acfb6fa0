"""The one form in which a tree lies in the store."""

# Paths are bytes in hot loops: pathlib costs several times as much for each file.
# ruff: noqa: PTH101, PTH104, PTH118, PTH119, PTH120

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from hermetic.filesystem import translated
from hermetic.tree.copying import copy_file
from hermetic.tree.kinds import Unstorable, is_root, refused

# Bytes of a folder's path in a tree. The kernel takes 4,096 with the store's own and the file's name; what is
# refused must not depend on where the store lies.
LONGEST: Final = 3000
# The label of a mandatory access control system is the machine's own, and cannot be taken away.
_LABELS: Final = frozenset({"security.selinux", "security.SMACK64"})


def canonicalise(path: str | bytes | os.PathLike[str], *, unshare: bool = True) -> None:
    """Give a tree the one form in which it lies in the store; nothing that the manifest counts is changed.

    Modes become 0444, 0555 where the owner could execute, and 0555 for directories; set-id and sticky bits,
    extended attributes and ACLs go; times become 0; the owner becomes the caller. A file with several names
    (hard links) is copied, so that no inode is shared with anything: whoever changes the mode or the content
    of the other name would change the object.

    Args:
        unshare: False for what is in a store already, whose objects may share files among each other.

    Raises:
        StoreError: a socket, fifo or device is in the tree, or a folder deeper than `LONGEST`; or the
            operating system refused a change.
    """
    root = os.fsencode(path)
    with translated(root, "make canonical"):
        status = os.lstat(root)
        if not stat.S_ISDIR(status.st_mode):
            if stat.S_ISLNK(status.st_mode):
                raise refused(root, status.st_mode)
            _canonical_leaf(root, status, unshare)
            return
        folders = [root]
        for folder in folders:  # grows while it is walked
            if len(folder) - len(root) > LONGEST:
                raise Unstorable(
                    f"{os.fsdecode(folder[:200])}... nests folders in a path of over {LONGEST} bytes"
                )
            status = os.lstat(folder)
            if status.st_mode & 0o700 != 0o700:
                os.chmod(folder, 0o755)
            with os.scandir(folder) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        folders.append(item.path)
                    else:
                        _canonical_leaf(item.path, item.stat(follow_symlinks=False), unshare)
        for folder in reversed(folders):  # children first: changing them changes the folder's time
            _canonical_attributes(folder, os.lstat(folder), 0o555)


def _canonical_leaf(path: bytes, status: os.stat_result, unshare: bool) -> None:
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


def _canonical_attributes(path: bytes, status: os.stat_result, mode: int | None) -> None:
    if names := _xattrs(path):
        _remove_xattrs(path, names, mode)
        status = os.lstat(path)
    if is_root() and (status.st_uid, status.st_gid) != (0, 0):
        os.lchown(path, 0, 0)
        status = os.lstat(path)  # a change of owner clears set-id bits
    if mode is not None and stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)
    if status.st_mtime_ns != 0:
        os.utime(path, ns=(0, 0), follow_symlinks=False)


def _xattrs(path: bytes) -> list[str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return []
        raise
    return [name for name in names if name not in _LABELS] if names else names


def _remove_xattrs(path: bytes, names: list[str], mode: int | None) -> None:
    if mode is not None:
        os.chmod(path, 0o700)  # user.* attributes can be changed only by who may write
    for name in names:
        try:
            os.removexattr(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENODATA:  # an ACL may go together with another, or with the chmod
                raise


def _break_hard_link(path: bytes, mode: int) -> None:
    private = path + b".hermetic-%d" % os.getpid()
    if len(os.path.basename(private)) > 255:
        private = os.path.join(os.path.dirname(path), b".hermetic-%d" % os.getpid())
    if not mode & 0o400:
        os.chmod(path, 0o600)
    copy_file(path, private, stat.S_IMODE(mode) & 0o777 | 0o600, [True])
    os.rename(private, path)
