"""Cases that run whole commands: finding a target built, evaluating, building, verifying."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.measure import Case, Timed
from benchmarks.places import Hermetic, Inputs, Nix, after, graph, remove, side_by_side

_EVALUATED: Final = 1000
_BUILT: Final = 100
_BUILDS: Final = 25


def noop(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """Everything is built already."""
    inputs = graph(_BUILT)
    ours = Hermetic(directory, inputs, shell)
    ours.empty()
    ours.run("realize", ours.root)
    yield Case(
        f"no-op realize of a target of {_BUILT} derivations",
        lambda: ours.run("realize", ours.root),
        _built(nix, inputs) if nix else None,
        unit="ms",
        against_nix=0.7,
    )


def evaluation(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """Recipes to derivations. Nix has no cache of evaluations: warm means that its .drv files exist."""
    inputs = graph(_EVALUATED)
    ours = Hermetic(directory, inputs, shell)
    ours.empty()
    cache = ours.store / ".hermetic" / "eval"
    theirs = nix.timed("nix-instantiate", str(nix.expression(inputs))) if nix else None

    def forget() -> None:
        remove(cache)
        cache.mkdir()

    yield Case(
        f"evaluate {_EVALUATED} derivations, cold",
        after(forget, lambda: ours.run("show", ours.root)),
        after(nix.empty, theirs) if nix and theirs else None,
        against_nix=0.7,
    )
    yield Case(
        f"evaluate {_EVALUATED} derivations, warm",
        lambda: ours.run("show", ours.root),
        theirs,
        against_nix=0.7,
    )


def builds(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """Sandboxed builds that do next to nothing, start and end of the command included."""
    inputs = side_by_side(_BUILDS)
    ours = Hermetic(directory, inputs, shell)
    theirs = nix.timed("nix-build", "--no-out-link", str(nix.expression(inputs))) if nix else None
    yield Case(
        f"{_BUILDS} trivial sandboxed builds, each",
        after(ours.empty, lambda: ours.run("realize", ours.root)),
        after(nix.empty, theirs) if nix and theirs else None,
        unit="ms",
        amount=_BUILDS,
        against_nix=0.6,
    )


def verify(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """One small build again; hermetic with all its perturbations, Nix as it is."""
    inputs = graph(1)
    ours = Hermetic(directory, inputs, shell)
    ours.empty()
    ours.run("realize", ours.root)
    yield Case(
        "verify one small build",
        lambda: ours.run("verify", ours.root),
        _built(nix, inputs, "--check") if nix else None,
        unit="ms",
        against_nix=2,
    )


def _built(nix: Nix, inputs: Inputs, *options: str) -> Timed:
    """`nix-build` of a graph that is built already."""
    command = ("nix-build", "--no-out-link", str(nix.expression(inputs)))
    nix.empty()
    nix.run(*command)
    return nix.timed(*command, *options)
