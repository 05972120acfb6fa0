"""What others have published, and what this store holds of the same derivations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hermetic import filesystem
from hermetic.derivation import graph
from hermetic.derivation.step import Instance
from hermetic.derivation.value import Build
from hermetic.errors import FetchError, HermeticError
from hermetic.sources.fetch.http import Http, Limits
from hermetic.sources.fetch.mirror import Location
from hermetic.store import published
from hermetic.store.records import Published, Realisation
from hermetic.store.store import Store

LIST: Final = "realisations.jsonl"  # name of the list in a publisher's directory
_SECONDS: Final = 60.0  # without a byte of a list over the network


def ours(store: Store, instances: Iterable[Instance]) -> Sequence[Published]:
    """What a store holds of the targets' closures, builds only."""
    found: dict[str, Realisation] = {}
    for instance in instances:
        derivations = instance.graph.derivations
        for drv_id in graph.closure(derivations, [instance.graph.root]):
            drv, realisation = derivations[drv_id], store.realisation(drv_id)
            if isinstance(drv, Build) and realisation is not None:
                found[drv_id] = realisation
    return list(found.values())


def theirs(source: str) -> Sequence[Published]:
    """Read a list of realisations, or take one from another store.

    Args:
        source: another store's directory, a directory with a list, a list, or the address of one.

    Raises:
        HermeticError: it cannot be read, or is not valid.
    """
    if source.startswith(("https://", "http://")):
        return published.parse(_download(source), source)
    path = Path(source)
    if (path / ".hermetic").is_dir():
        with Store.open(path, create=False, read_only=True) as store:
            return store.realisations()
    if path.is_dir():
        path = path / LIST
    try:
        return published.parse(filesystem.whole(str(path), published.MAX_BYTES), str(path))
    except OSError as error:
        raise HermeticError(
            f"cannot read realisations from {source}: {error.strerror}",
            hint=f"give another store, a directory with {LIST}, such a file, or its URL",
        ) from error


def _download(address: str) -> bytes:
    http = Http(Limits(stall=_SECONDS))
    try:
        return http.get(Location(address), "*/*", published.MAX_BYTES)[0]
    except FetchError as error:
        raise HermeticError(f"cannot download {error.message}") from error
    finally:
        http.close()
