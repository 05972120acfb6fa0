"""Who a build is on the host, and whose its work folders are while it runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from hermetic.errors import SandboxError

# A range that nothing else hands out; Nix takes the ids of its builds from it, too.
FIRST_BUILD_ID: Final = 872415232
_BELOW_NOBODY: Final = 65533

_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_FOWNER, _CAP_KILL = 0, 1, 3, 5
_CAP_SETGID, _CAP_SETUID, _CAP_SYS_ADMIN = 6, 7, 21


class Identity(msgspec.Struct, frozen=True):
    """Attributes:
    uid, gid: the ids that builds have on the host.
    privileged: they differ from the caller's, because the caller is root and may choose.
    """

    uid: int
    gid: int
    privileged: bool


def choose() -> Identity:
    """Root gives builds an id that owns nothing on the host; anybody else can only give their own."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and _has_capabilities():
        # With several callers at once an id is shared. That is harmless: pid namespaces keep builds apart.
        build_uid = _mapped("/proc/self/uid_map", FIRST_BUILD_ID + os.getpid() % 65536)
        build_gid = _mapped("/proc/self/gid_map", FIRST_BUILD_ID + os.getpid() % 65536)
        if build_uid is not None and build_gid is not None:
            return Identity(build_uid, build_gid, privileged=True)
    return Identity(uid, gid, privileged=False)


def _has_capabilities() -> bool:
    with Path("/proc/self/status").open() as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    needed = (
        _CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_FOWNER, _CAP_KILL, _CAP_SETGID, _CAP_SETUID, _CAP_SYS_ADMIN,
    )  # fmt: skip
    return all(effective >> number & 1 for number in needed)


def _mapped(map_file: str, wanted: int) -> int | None:
    """`wanted` if the caller's user namespace has it; else, in a container, the last id that it has."""
    with Path(map_file).open() as lines:
        ranges = [(int(line.split()[0]), int(line.split()[2])) for line in lines]
    if any(first <= wanted < first + count for first, count in ranges):
        return wanted
    last = max((first + count - 1 for first, count in ranges), default=0)
    candidates = (last, _BELOW_NOBODY) if last > 65535 else (_BELOW_NOBODY,)
    return next((c for c in candidates if any(first <= c < first + count for first, count in ranges)), None)


def give(folder: str, uid: int, gid: int) -> None:
    """Make `uid` and `gid` the owners of a folder and of everything in it. Symbolic links are not followed.

    Raises:
        SandboxError: an owner cannot be changed.
    """
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _give_contents(root, uid, gid)
            os.fchown(root, uid, gid)
        finally:
            os.close(root)
    except OSError as error:
        raise SandboxError(f"cannot give {folder} to uid {uid}: {error}") from None


def _give_contents(root: int, uid: int, gid: int) -> None:
    """At any depth, and with one folder open at a time: a build may nest folders deeper than Python calls."""
    folder = os.dup(root)
    try:
        way = [_give_entries(folder, uid, gid)]  # of each folder on the way: those in it yet to be entered
        while way:
            if way[-1]:
                folder = _step(folder, way[-1].pop())
                way.append(_give_entries(folder, uid, gid))
            else:
                way.pop()
                folder = _step(folder, "..") if way else folder
    finally:
        os.close(folder)


def _give_entries(folder: int, uid: int, gid: int) -> list[str]:
    """Returns the names of the folders among them."""
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, _ in names:
        os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    return [name for name, is_dir in names if is_dir]


def _step(folder: int, name: str) -> int:
    there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    os.close(folder)
    return there


def is_folder(path: str) -> bool:
    """Whether `path` is a folder, and no symbolic link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
