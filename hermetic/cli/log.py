"""`hermetic log`."""

from __future__ import annotations

import shutil
import sys

import click

from hermetic.cli.session import Session
from hermetic.errors import HermeticError


@click.command()
@click.argument("target", metavar="NAME")
@click.pass_obj
def command(session: Session, target: str) -> None:
    """Print the log of the last build of NAME: a target, a name with its version, or a derivation id."""
    path = session.store.find_log(target)
    if path is None or not path.exists():
        path = session.store.log_path(target)
    if not path.exists():
        path = session.store.log_path(session.instance(target).graph.root)
    if not path.exists():
        raise HermeticError(
            f"no log of {target}: it has not been built in this store",
            hint="fetched and unpacked sources have no log; `hermetic tree` shows what is built",
        )
    with path.open("rb") as log:
        shutil.copyfileobj(log, sys.stdout.buffer)
