"""Work with mounts of its own: in a child with its own mount namespace, so that none outlives it."""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.stores import NOBODY, ended, forked

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000


# An ordinary user may be unable to read the interpreter of the tests: late imports are done first.
_IMPORTED_LATE = (
    *("sqlite3", "hermetic.store.capabilities", "hermetic.store.identity", "hermetic.session", "shlex"),
    *("hermetic.store.store", "encodings.idna", "heapq", "_pytest._code.source"),
)


class Unmountable(Exception):
    """This machine does not mount that; the message says what."""


def with_mounts(work: Callable[[], object], *, ordinary: bool = False, report: Path) -> None:
    """Run `work` in a child that may mount: as root, or as an ordinary user in a user namespace.

    The test is skipped where the child raises `Unmountable`.

    Args:
        report: a file for the reason.
    """

    def run() -> None:
        try:
            _enter(ordinary)
            work()
        except Unmountable as error:
            report.write_text(str(error))

    for module in _IMPORTED_LATE:
        importlib.import_module(module)
    report.touch(mode=0o666)
    report.chmod(0o666)
    assert ended(forked(run)) == 0
    if reason := report.read_text():
        pytest.skip(reason)


def _enter(ordinary: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if ordinary and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: else /proc/self belongs to root
    uid, gid = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNS if uid == 0 else _CLONE_NEWNS | _CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        raise Unmountable(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    mount("--make-rprivate", "/")


def mount(*arguments: str | Path) -> None:
    """Call mount(8).

    Raises:
        Unmountable: it failed.
    """
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Unmountable(f"mount {' '.join(map(str, arguments[:2]))}: {done.stderr.strip()}")


def tmpfs(path: Path) -> Path:
    """An empty file system at a new directory."""
    path.mkdir()
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", path)
    return path


def overlay(lower: Path, place: Path, *, upper_on_tmpfs: bool = False) -> Path:
    """A writable view of `lower`, which is not changed, as a container has one of its image.

    Args:
        place: a new directory for all that it needs.
        upper_on_tmpfs: changes go to another file system than that of `lower`.

    Returns:
        where it is.
    """
    if upper_on_tmpfs:
        tmpfs(place)
    else:
        place.mkdir()
    parts = {name: place / name for name in ("upper", "work", "merged")}
    for path in parts.values():
        path.mkdir()
    options = f"lowerdir={lower},upperdir={parts['upper']},workdir={parts['work']}"
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        options += ",userxattr"
    mount("-t", "overlay", "-o", options, "overlay", parts["merged"])
    return parts["merged"]


def image(path: Path, *command: str) -> Path:
    """A file system made by a command in a file of 64 MB, mounted at `path`."""
    file = path.with_suffix(".image")
    with file.open("wb") as made:
        made.truncate(64 << 20)
    try:
        done = subprocess.run([*command, str(file)], capture_output=True, text=True)
    except FileNotFoundError:
        raise Unmountable(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        raise Unmountable(f"{' '.join(command)}: {done.stderr.strip()}")
    path.mkdir()
    mount("-o", "loop", file, path)
    return path
