"""Runs one case, and says what hermetic did wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Final

from hermetic import tree
from tests.bad_input import archives, commands, databases, lists, locks, recipes
from tests.bad_input.case import Arguments, Case, snapshot
from tests.bad_input.world import Place, World
from tests.bad_input.zygote import Zygote

KINDS: Final[dict[str, ModuleType]] = {
    "recipes": recipes,
    "locks": locks,
    "archives": archives,
    "commands": commands,
    "databases": databases,
    "lists": lists,
}
CODES: Final = frozenset({0, 1, 2, 100, 101, 102, 104, 130})  # README
SECONDS: Final = 30.0  # the slowest honest command takes two
_ANSWERS: Final = (b"why-live", b"why-depends")  # exit code 1 without an error is the answer "no"
_FOREIGN: Final = (b"run", b"shell")  # their exit codes are those of the program that they run


@dataclass(frozen=True)
class Run:
    """One command line of a case.

    Attributes:
        wrong: what kinds of fault, with a line that tells; empty if all is well.
    """

    args: Arguments
    code: int
    seconds: float
    out: str
    err: str
    wrong: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Result:
    """A case and its runs."""

    kind: str
    seed: int
    case: Case
    runs: tuple[Run, ...]

    @property
    def wrong(self) -> list[tuple[str, str]]:
        return [fault for run in self.runs for fault in run.wrong]


def examine(kind: str, seed: int, world: World, zygote: Zygote, folder: Path) -> Result:
    """Make the case of a kind and seed in `folder`, run it, and clear it away."""
    folder.mkdir()
    try:
        place = world.copy(folder / "place")
        case: Case = KINDS[kind].damage(Random(f"{kind} {seed}"), world, place)
        runs = tuple(_run(case, args, place, zygote, SECONDS) for args in case.commands)
        return Result(kind, seed, case, runs)
    finally:
        tree.remove(folder)  # however deep


def _run(case: Case, args: Arguments, place: Place, zygote: Zygote, seconds: float) -> Run:
    free = ("store", "work", "tmp", *case.writes)
    before = snapshot(place.folder, free)
    files = {name: place.folder.parent / name for name in ("out", "err", "writes")}
    answer = zygote.run(
        {
            "args": [arg.hex() for arg in args],
            "cwd": str(place.work),
            "env": place.environment(),
            "allowed": [str(place.folder / name) for name in free],
            "seconds": seconds,
            **{name: str(path) for name, path in files.items()},
        }
    )
    out, err, log = (path.read_text(errors="replace") for path in files.values())
    wrong = [*_faults(case, args, answer["code"], answer["hung"], err)]
    after = snapshot(place.folder, free)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    wrong += [("write outside", line) for line in (*log.splitlines(), *changed)]
    left = [*(place.folder / "tmp").iterdir(), *_workspaces(place)]
    wrong += [("leftovers", str(path)) for path in left]
    if found := case.check(place):
        wrong.append(found)
    return Run(args, answer["code"], answer["seconds"], out, err, tuple(wrong))


def _faults(case: Case, args: Arguments, code: int, hung: bool, err: str) -> list[tuple[str, str]]:
    if hung:
        return [("hang", err[-3000:])]
    foreign = any(word in args for word in _FOREIGN)
    if "Traceback (most recent call last)" in err or "Exception ignored" in err:
        return [("traceback", err[-3000:])]
    if code < 0 and not foreign:
        return [("signal", str(-code))]
    if code not in CODES and not foreign:
        return [("exit code", str(code))]
    if code in (0, 130) or foreign:
        return []
    if code == 1 and any(word in args for word in _ANSWERS) and "error:" not in err:
        return []
    if not re.search("error: |^usage: ", err, re.IGNORECASE) or not any(name in err for name in case.named):
        return [("says too little", err[-3000:])]
    return []


def _workspaces(place: Place) -> list[Path]:
    """Work folders that the program has left in its store, which is in order otherwise."""
    folder = place.store / ".hermetic/tmp"
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not path.name.endswith(".moved")]
