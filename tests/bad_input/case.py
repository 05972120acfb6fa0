"""One case: what was damaged, which command lines are to meet it, and what they may do."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from tests.bad_input.world import Place

Arguments = tuple[bytes, ...]


@dataclass(frozen=True)
class Case:
    """A damaged place, and how hermetic is run on it.

    Attributes:
        what: the damage, for people.
        commands: what follows the program's name, of one run after the other.
        named: a refusal has to hold one of these: what the user has to look at.
        writes: what may be written beside the store and the work directory, relative to the place.
        check: what is wrong afterwards: the kind of fault, and a line that tells; None: nothing.
    """

    what: str
    commands: tuple[Arguments, ...]
    named: tuple[str, ...]
    writes: tuple[str, ...] = ()
    check: Callable[[Place], tuple[str, str] | None] = lambda place: None


def on(place: Place, *args: str) -> Arguments:
    """A command line for the place's project and store."""
    where = ("--project", str(place.project), "--store", str(place.store))
    return tuple(arg.encode("utf-8", "surrogateescape") for arg in (*where, *args))


def snapshot(folder: Path, without: tuple[str, ...]) -> dict[str, tuple[object, ...]]:
    """Everything in a folder, by path: mode, size, time of change, content; without what `without` names."""
    found: dict[str, tuple[object, ...]] = {}
    skipped = {str(folder / name) for name in without}
    pending = [folder]
    while pending:
        here = pending.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.path in skipped:
                    continue
                status = entry.stat(follow_symlinks=False)
                content: object = None
                if stat.S_ISLNK(status.st_mode):
                    content = os.readlink(entry.path)  # noqa: PTH115
                elif stat.S_ISREG(status.st_mode) and status.st_size < 1 << 26:
                    content = blake3(Path(entry.path).read_bytes()).digest()
                elif stat.S_ISDIR(status.st_mode):
                    pending.append(Path(entry.path))
                times = (0, 0) if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
                found[entry.path] = (status.st_mode, *times, content)
    return found
