"""What a store needs of a file system, tried out before anything is made there.

A store on a file system that lacks something would fail in the middle of a build, or silently merge files. So
each need is tried once, when a store is made, and again when the store is found on another device.
"""

# Works on open files, and tries single system calls.
# ruff: noqa: PTH101, PTH115, PTH116, PTH118

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.filesystem import explain

LONGEST_OWN: Final = 140  # bytes: names that the store gives itself; a content hash and most labels fit, too
_ATTEMPTS: Final = 5
# Errors that say nothing about what a file system can do.
_OTHER_CAUSES: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)
_HINT: Final = "use a store on a Linux file system such as ext4, xfs, btrfs or tmpfs, with --store DIR"


def require(directory: Path, store: Path) -> None:
    """Try all needs in a new directory, which is removed again.

    Args:
        directory: where to try: that of workspaces, so that what a killed process leaves is swept.
        store: the store's directory, for messages.

    Raises:
        StoreError: the file system lacks something; the message names it.
    """
    for attempt in range(_ATTEMPTS):
        place = os.path.join(directory, f"probe-{os.urandom(6).hex()}")
        try:
            os.mkdir(place, 0o755)  # noqa: PTH102
        except OSError as error:
            raise explain(error, store, "create") from error
        try:
            _require(place, store)
            return
        except StoreError:
            # Another process that opens the store may take the directory for a dead workspace.
            if os.path.lexists(place) or attempt == _ATTEMPTS - 1:
                raise
        finally:
            with suppress(StoreError):
                tree.remove(place)


def _require(place: str, store: Path) -> None:
    for lack, works in _NEEDS:
        fact = _fails(works, place)
        if fact is not None:
            raise StoreError(f"{store} cannot hold a store: its file system {lack}{fact}", hint=_HINT)


def _fails(works: Callable[[str], bool], place: str) -> str | None:
    """Why something does not work; None if it does. A full disk lacks nothing."""
    try:
        return None if works(place) else ""
    except OSError as error:
        if error.errno in _OTHER_CAUSES:
            raise explain(error, place, "write to") from error
        return f" ({error.strerror})"


def _tells_case(place: str) -> bool:
    _touch(os.path.join(place, "case"))
    return not os.path.lexists(os.path.join(place, "CASE"))


def _has_long_names(place: str) -> bool:
    return os.pathconf(place, "PC_NAME_MAX") >= LONGEST_OWN


def _has_links(place: str) -> bool:
    path = os.path.join(place, "link")
    os.symlink("../a", path)
    return os.readlink(path) == "../a"


def _has_modes(place: str) -> bool:
    path = os.path.join(place, "mode")
    _touch(path)
    for mode in (0o555, 0o444):
        os.chmod(path, mode)
        if stat.S_IMODE(os.stat(path).st_mode) != mode:
            return False
    return True


def _has_locks(place: str) -> bool:
    _touch(os.path.join(place, "lock"))
    for path in (os.path.join(place, "lock"), place):  # workspaces are locked as directories
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(file)
    return True


def _has_renames(place: str) -> bool:
    old, new = os.path.join(place, "old"), os.path.join(place, "new")
    os.mkdir(old)  # noqa: PTH102
    os.rename(old, new)  # noqa: PTH104
    return os.path.lexists(new) and not os.path.lexists(old)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


_NEEDS: Final[tuple[tuple[str, Callable[[str], bool]], ...]] = (
    ("does not tell upper from lower case in names", _tells_case),
    (f"has no names of {LONGEST_OWN} bytes", _has_long_names),
    ("has no symbolic links", _has_links),
    ("keeps no permissions", _has_modes),
    ("has no locks (flock)", _has_locks),
    ("cannot rename a directory", _has_renames),
)
