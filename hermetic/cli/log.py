"""`hermetic log`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from hermetic import filesystem
from hermetic.errors import HermeticError, UsageError
from hermetic.hashing import is_digest
from hermetic.session import Session


@click.command()
@click.argument("target", metavar="NAME")
@click.pass_obj
def command(session: Session, target: str) -> None:
    """Print the log of the last build of NAME: a target, a name with its version, or a derivation id."""
    path = _find(session, target)
    if path is None:
        raise HermeticError(
            f"no log of {target}: it has not been built in this store",
            hint="fetched and unpacked sources have no log; `hermetic tree` shows what is built",
        )
    with os.fdopen(filesystem.opened(str(path)), "rb") as log:
        shutil.copyfileobj(log, sys.stdout.buffer)


def _find(session: Session, target: str) -> Path | None:
    """The log of a derivation id; of the target as it stands now; or of the last build under that name."""
    if is_digest(target) and (path := session.existing_store.log_path(target)).exists():
        return path
    unknown: UsageError | None = None
    try:
        if (path := session.existing_store.log_path(session.instantiate(target).graph.root)).exists():
            return path
    except UsageError as error:
        unknown = error
    found = session.existing_store.find_log(target)
    if found is None and unknown is not None:
        raise unknown
    return found
