"""The user and group of a build on the host, and the ownership of its work directories while it runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from hermetic.errors import SandboxError

# The start of a range that nothing else assigns; Nix takes the ids of its builds from the same range.
FIRST_BUILD_ID: Final = 872415232
_BELOW_NOBODY: Final = 65533

_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_FOWNER, _CAP_KILL = 0, 1, 3, 5
_CAP_SETGID, _CAP_SETUID, _CAP_SYS_ADMIN = 6, 7, 21


class Identity(msgspec.Struct, frozen=True):
    """Attributes:
    uid, gid: the ids of builds on the host.
    privileged: the ids differ from the caller's, because the caller is root.
    """

    uid: int
    gid: int
    privileged: bool


def choose() -> Identity:
    """For root, ids that own nothing on the host. For other callers, their own ids."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and _has_capabilities():
        # Builds of one caller share an id. This is harmless: pid namespaces isolate them from each other.
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
    """`wanted` if the caller's user namespace maps it; else (in a container) the last id that it maps."""
    with Path(map_file).open() as lines:
        ranges = [(int(line.split()[0]), int(line.split()[2])) for line in lines]
    if any(first <= wanted < first + count for first, count in ranges):
        return wanted
    last = max((first + count - 1 for first, count in ranges), default=0)
    candidates = (last, _BELOW_NOBODY) if last > 65535 else (_BELOW_NOBODY,)
    return next((c for c in candidates if any(first <= c < first + count for first, count in ranges)), None)


def give(directory: str, uid: int, gid: int) -> None:
    """Change the owner of a directory and of everything in it. Symbolic links are not followed.

    Raises:
        SandboxError: an owner cannot be changed.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _give_contents(root, uid, gid)
            os.fchown(root, uid, gid)
        finally:
            os.close(root)
    except OSError as error:
        raise SandboxError(f"cannot change the owner of {directory} to uid {uid}: {error}") from None


def _give_contents(root: int, uid: int, gid: int) -> None:
    """Works at any depth with one open directory: builds may nest directories deeper than Python recurses."""
    directory = os.dup(root)
    try:
        # For each directory on the current path: its subdirectories that are still to be entered.
        way = [_give_entries(directory, uid, gid)]
        while way:
            if way[-1]:
                directory = _step(directory, way[-1].pop())
                way.append(_give_entries(directory, uid, gid))
            else:
                way.pop()
                directory = _step(directory, "..") if way else directory
    finally:
        os.close(directory)


def _give_entries(directory: int, uid: int, gid: int) -> list[str]:
    """Change the owner of all entries. Returns the names of the directories among them."""
    with os.scandir(directory) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, _ in names:
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    return [name for name, is_dir in names if is_dir]


def _step(directory: int, name: str) -> int:
    there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    os.close(directory)
    return there


def is_directory(path: str) -> bool:
    """Whether `path` is a directory and not a symbolic link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
