"""Disks that are full, and stores that cannot be written."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults.bench import TARGETS, Bench, Case, Lost, Untried, ended_in_words
from tests.faults.kills import TOO_EARLY, TRIES, instant
from tests.support.stores import small_disk

FULL: Final = ("bytes", "inodes", "gc")  # what runs out; or: a collection on a disk that is full
READ_ONLY: Final = ("before", "fetch", "unpack", "build", "hash", "rename", "register", "gc")
_BLOCK: Final = 4096
_LEAST: Final = 64 << 10  # bytes


def run_full(bench: Bench, case: Case) -> None:
    """The space ends somewhere in the midst of a run; then there is more, and the run is repeated.

    Raises:
        Lost, Untried.
    """
    dice = random.Random(str(case))
    original = dice.choice((bench.base, None))
    share = dice.random()
    for _ in range(TRIES):
        options, room = _room(bench, case, original, share)
        with small_disk(bench.folder / "disk", room) as disk, bench.case(original, disk / "store") as after:
            _remount(disk, options)
            ran = bench.run("realize", "-j4", *TARGETS)
            if ran.code != 0:
                ended_in_words(ran, (1, 100))
                if "no space left" not in ran.err.lower():
                    raise Lost(f"a full disk is not said: {ran.err}")
                if case.phase == "gc":
                    _collect(bench, disk, after.before)
                    after.collected_too()
                    ran = ran._replace(err="")  # what it had called done may be collected
                _remount(disk, "size=512m,nr_inodes=0")
                after.check(ran.err)
                return
        share *= 0.7  # there was room enough
    raise Untried("there was room enough")


def _room(bench: Bench, case: Case, original: Path | None, share: float) -> tuple[str, str]:
    """Mount options that leave room for a share of what an undisturbed run writes, and a size to begin."""
    needed, entries = _used(bench.full)
    there, entries_there = _used(original) if original else (_LEAST, 0)
    if case.phase == "inodes":
        return f"size=512m,nr_inodes={entries_there + 20 + int(share * (entries - entries_there))}", "512m"
    return f"size={there + int(share * (needed * 1.3 - there))},nr_inodes=0", "512m"


def _used(folder: Path) -> tuple[int, int]:
    """Bytes that a tree takes in memory's file system, and how many entries it has."""
    size = entries = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            entries += 1
            size += -(-(Path(place) / name).lstat().st_size // _BLOCK) * _BLOCK
    return size, entries


def _remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", os.fspath(disk)], check=True)


def _collect(bench: Bench, disk: Path, before: set[str]) -> None:
    """Nothing is left at all, and then someone looks for space."""
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(_BLOCK))
    ran = bench.run("gc")
    if before:
        ended_in_words(ran, (0,))
    else:  # there may not even be a store
        ended_in_words(ran, (0, 1))
    (disk / "ballast").unlink()


def run_read_only(bench: Bench, case: Case) -> None:
    """The store cannot be written, from the beginning or all at once.

    Raises:
        Lost, Untried.
    """
    if os.geteuid() != 0:
        raise Untried("only root can mount")
    if case.phase == "before":
        _from_the_beginning(bench, case)
        return
    for attempt in range(TRIES):
        dice = random.Random(f"{case} {attempt}")
        with bench.case(bench.full if case.phase == "gc" else bench.base) as after:
            store = bench.project.store
            spec = instant(bench, case, dice, attempt) | {"do": "read-only", "store": os.fspath(store)}
            command = ("gc",) if case.phase == "gc" else ("realize", "-j4", *TARGETS)
            try:
                ran = bench.run(*command, spec=spec)
            finally:
                # The process may have ended between the mark and the mount.
                fired = Path(spec["fired"]).exists()
                mounted = (
                    fired and not subprocess.run(["umount", "-l", os.fspath(store)], check=False).returncode
                )
            if not mounted:
                continue
            if case.phase == "gc":
                after.collected_too()
            _is_said(ran.err) if ran.code else None
            ended_in_words(ran, (0, 1, 100))
            after.check(ran.err)
            return
    raise Untried(TOO_EARLY)


def _from_the_beginning(bench: Bench, case: Case) -> None:
    original = random.Random(str(case)).choice((bench.base, bench.full))
    with bench.case(original) as after:
        store = bench.project.store
        with _read_only(store):
            for command in (("realize", *TARGETS), ("gc",), ("root", "remove", "old")):
                ran = bench.run(*command)
                built = original == bench.full and command[0] == "realize"
                ended_in_words(ran, (0, 1) if built else (1,))
                if ran.code:
                    _is_said(ran.err)
        after.check()


@contextlib.contextmanager
def _read_only(store: Path) -> Iterator[None]:
    place = os.fspath(store)
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _is_said(text: str) -> None:
    if "read-only file system" not in text.lower():
        raise Lost(f"a read-only store is not said: {text}")
