"""`hermetic root`."""

from __future__ import annotations

import time

import click
import msgspec

from hermetic.cli.output import write_json
from hermetic.cli.progress import size
from hermetic.cli.usage import Group
from hermetic.errors import UsageError, did_you_mean
from hermetic.session import Session
from hermetic.store.records import Root


@click.group(cls=Group)
def command() -> None:
    """Add, remove and list roots: names that keep objects in the store."""


@command.command()
@click.argument("name")
@click.argument("object", metavar="OBJECT")
@click.pass_obj
def add(session: Session, name: str, object: str) -> None:
    """Keep OBJECT in the store under NAME.

    OBJECT is a realized target, the name of an object, or a path or link to or into one.
    """
    session.existing_store.add_root(name, session.object_of(object))


@command.command()
@click.argument("name")
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Remove the root NAME (of a link: its path).

    What only it kept is deleted by the next `hermetic gc`.
    """
    if not session.existing_store.remove_root(name):
        names = [r.name for r in session.existing_store.roots()]
        raise UsageError(
            f"no root {name!r}", hint=did_you_mean(name, names) or "`hermetic root list` lists all"
        )


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def list_roots(session: Session, as_json: bool) -> None:
    """List the roots, with size and age.

    Seeds of the project are listed too, since they are kept like roots.
    """
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
