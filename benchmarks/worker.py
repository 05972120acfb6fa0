"""What is measured below the command line, each time in a new process: `python -m benchmarks.worker`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from benchmarks.measure import CHECKOUT, Sample, python_env, run
from hermetic import tree
from hermetic.store.store import Store


def work(what: str, store: Path, *paths: Path) -> Sample:
    """Start this module and wait for its end."""
    command = [sys.executable, "-m", "benchmarks.worker", what, str(store), *map(str, paths)]
    return run(command, env=python_env(), cwd=CHECKOUT)


def _open(store: Store, paths: list[Path]) -> None:
    """Nothing: the store is there now."""


def _add(store: Store, paths: list[Path]) -> None:
    """Add copies, as `nix-store --add` does: the originals stay where they are."""
    for path in paths:
        with store.workspace("add") as space:
            tree.copy(path, space / "tree")
            store.add(space / "tree", path.name, "1")


def _take(store: Store, paths: list[Path]) -> None:
    """Add the originals, as after a build."""
    for path in paths:
        store.add(path, path.name, "1")


def _check(store: Store, paths: list[Path]) -> None:
    from hermetic.store import integrity

    report = integrity.verify(store)
    if not report.clean or not report.checked:
        raise SystemExit(f"the store is not sound: {report}")


def _optimise(store: Store, paths: list[Path]) -> None:
    from hermetic.store.optimising import optimise

    if not optimise(store).files:
        raise SystemExit("nothing was shared")


def _plan(store: Store, paths: list[Path]) -> None:
    from hermetic.gc import collection

    if not collection.plan(store).delete:
        raise SystemExit("nothing was planned")


def _collect(store: Store, paths: list[Path]) -> None:
    from hermetic.gc import collection

    if not collection.collect_garbage(store).deleted:
        raise SystemExit("nothing was deleted")


_WORK: Final = {
    "open": _open,
    "add": _add,
    "take": _take,
    "check": _check,
    "optimise": _optimise,
    "plan": _plan,
    "collect": _collect,
}

if __name__ == "__main__":
    with Store.open(Path(sys.argv[2])) as opened:
        _WORK[sys.argv[1]](opened, [Path(path) for path in sys.argv[3:]])
