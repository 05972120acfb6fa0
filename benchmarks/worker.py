"""What is measured below the command line, each time in a new process: `python -m benchmarks.worker`."""

from __future__ import annotations

import sys
from pathlib import Path

from hermetic.cli import startup

startup.prepare()  # as the command does

from hermetic.store.store import Store  # noqa: E402

# What `typing.TYPE_CHECKING` stands for. The start of this process is part of the figures, so nothing is
# imported that the work does not need.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


def _open(store: Store, paths: list[Path]) -> None:
    """Nothing: the store is there now."""


def _add(store: Store, paths: list[Path]) -> None:
    """Add copies, as `nix-store --add` does: the originals stay where they are."""
    from hermetic import tree

    for path in paths:  # as substitution from another store does it
        with store.workspace("add") as space:
            manifest = tree.copy_and_scan(path, space / "tree")
            store.add(space / "tree", path.name, "1", manifest=manifest)


def _take(store: Store, paths: list[Path]) -> None:
    """Add the originals, as after a build: that leaves them in a workspace of the store."""
    for path in paths:
        with store.workspace("take") as space:
            path.rename(space / "tree")
            store.add(space / "tree", path.name, "1")


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
