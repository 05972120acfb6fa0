"""`hermetic root`."""

from __future__ import annotations

import time

import click
import msgspec

from hermetic.cli.output import write_json
from hermetic.cli.progress import size
from hermetic.errors import UsageError
from hermetic.session import Session
from hermetic.store.records import Root


@click.group()
def command() -> None:
    """Add, remove and list gc roots: what keeps store objects alive."""


@command.command()
@click.argument("name")
@click.argument("target")
@click.pass_obj
def add(session: Session, name: str, target: str) -> None:
    """Keep TARGET (a realized target, or the name or path of a store object) alive under NAME."""
    session.existing_store.add_root(name, session.object_of(target))


@command.command()
@click.argument("name")
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Remove the root NAME. What it kept alive goes with the next `hermetic gc`."""
    if not session.existing_store.remove_root(name):
        names = [r.name for r in session.existing_store.roots()]
        raise UsageError(f"no root {name!r}", hint=f"roots: {', '.join(names) or 'none'}")


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def list_roots(session: Session, as_json: bool) -> None:
    """List the roots, and the seeds that are kept like them, with the size and age of what they keep."""
    infos = {info.name: info for info in session.existing_store.objects()}
    sizes = {name: info.size for name, info in infos.items()}
    roots = session.existing_store.roots()
    for name, label in session.pinned_seeds().items():
        if name in infos:
            roots.append(Root("seed", label, name, infos[name].registered_at))
    if as_json:
        write_json([{**msgspec.to_builtins(r), "size": sizes.get(r.object, 0)} for r in roots])
        return
    for root in roots:
        days = max(0, int(time.time() - root.since)) // 86400
        click.echo(f"{root.name}  {root.kind}, {size(sizes.get(root.object, 0))}, {days} days")
        click.echo(f"    {root.object}")
