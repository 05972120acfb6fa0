"""`hermetic why-live`."""

from __future__ import annotations

import click

from hermetic.session import Session


@click.command()
@click.argument("object")
@click.pass_obj
def command(session: Session, object: str) -> None:
    """Say what keeps OBJECT in the store.

    OBJECT is a realized target, the name of an object, or a path or link to or into one, for example
    result/bin/python3.

    Prints the root, then objects, each built from the next. Exit code 1: nothing keeps it.
    """
    name = session.object_of(object)
    chain = session.why_live(name)
    if chain is None:
        click.echo(f"nothing keeps {name}: `hermetic gc` would delete it")
        raise click.exceptions.Exit(1)
    for depth, step in enumerate(chain):
        click.echo(f"{'   ' * max(0, depth - 1)}{'└─ ' if depth else ''}{step}")
