"""`hermetic verify --against`: compares what was built here with what others have published."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from hermetic import filesystem
from hermetic.cli.output import write_json
from hermetic.derivation import graph
from hermetic.derivation.instantiate import Instance
from hermetic.derivation.value import Build
from hermetic.errors import HermeticError, NotReproducible
from hermetic.session import Session
from hermetic.store import published
from hermetic.store.published import Published
from hermetic.store.store import Store

LIST = "realisations.jsonl"  # name of the list in a publisher's folder
_SECONDS = 60.0  # time limit for a list over the network


def compare_with(session: Session, instances: list[Instance], source: str, as_json: bool) -> None:
    """Print agreement and disagreement for each derivation of the targets' closures.

    Args:
        source: another store's folder, a folder with a list, a list, or the address of one.

    Raises:
        NotReproducible: they disagree about a derivation.
    """
    mine = ours(session.store, instances)
    asked = {entry.drv for entry in mine}
    result = published.agreement(mine, [entry for entry in theirs(source) if entry.drv in asked])
    if as_json:
        write_json(msgspec.to_builtins(result))
    else:
        for row in result.rows:
            what = f" ({row.system})" if row.system else ""
            click.echo(f"{row.verdict:9} {row.name}-{row.version}{what}")
            if row.verdict == "disagree":
                click.echo(f"    here:  {', '.join(row.mine)}")
                click.echo(f"    there: {', '.join(row.theirs)}")
    counts = {v: sum(r.verdict == v for r in result.rows) for v in ("agree", "disagree", "unknown")}
    summary = ", ".join(f"{n} {v}" for v, n in counts.items())
    print(summary, file=sys.stderr)
    if counts["disagree"]:
        raise NotReproducible(f"{source} has other bytes: {summary}")


def ours(store: Store, instances: list[Instance]) -> list[Published]:
    """What this store holds of the targets' closures, builds only."""
    found: dict[str, Published] = {}
    for instance in instances:
        derivations = instance.graph.derivations
        for drv_id in graph.closure(derivations, [instance.graph.root]):
            drv, realisation = derivations[drv_id], store.realisation(drv_id)
            if isinstance(drv, Build) and realisation is not None:
                found[drv_id] = Published(
                    drv=drv_id,
                    target=instance.target.label,
                    name=drv.name,
                    version=drv.version,
                    system=drv.system,
                    object=realisation.object.split("-", 1)[0],
                )
    return list(found.values())


def theirs(source: str) -> list[Published]:
    """Read a list of realisations, or take one from another store.

    Raises:
        HermeticError: it cannot be read, or is not valid.
    """
    if source.startswith(("https://", "http://")):
        return published.parse(_download(source), source)
    path = Path(source)
    if (path / ".hermetic").is_dir():
        with Store.open(path, create=False, read_only=True) as store:
            return [
                Published(
                    drv=r.drv_id,
                    target=r.name,
                    name=r.name,
                    version=r.version,
                    system=r.system or None,
                    object=r.object.split("-", 1)[0],
                )
                for r in store.realisations()
            ]
    if path.is_dir():
        path = path / LIST
    try:
        return published.parse(filesystem.whole(str(path), published.MAX_BYTES), str(path))
    except OSError as error:
        raise HermeticError(
            f"--against {source}: {error.strerror}",
            hint=f"give another store, a folder with {LIST}, such a file, or its address",
        ) from error


def _download(address: str) -> bytes:
    import httpx

    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=_SECONDS) as answer:
            answer.raise_for_status()
            data = b""
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > published.MAX_BYTES:
                    raise HermeticError(f"{address}: more than {published.MAX_BYTES} bytes")
            return data
    except httpx.HTTPError as error:
        raise HermeticError(f"{address}: {error}") from error
