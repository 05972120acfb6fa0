"""`hermetic log`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from hermetic import filesystem
from hermetic.cli.visible import copy
from hermetic.errors import HermeticError, UsageError
from hermetic.hashing import is_digest
from hermetic.session import Session


@click.command()
@click.argument("target", metavar="NAME")
@click.pass_obj
def command(session: Session, target: str) -> None:
    """Print the log of the last build of NAME.

    On a terminal, control characters are escaped; elsewhere the bytes are printed as they are.

    NAME is a target, a name with its version (zlib-1.3.1), a path or link into an object, or a derivation id.
    """
    path = _find(session, target)
    if path is None:
        raise HermeticError(
            f"no log of {target}: it has not been built in this store",
            hint="fetched and unpacked sources have no log; `hermetic tree` shows what is built",
        )
    with os.fdopen(filesystem.opened(str(path)), "rb") as log:
        if sys.stdout.isatty():
            copy(log, sys.stdout)
        else:
            shutil.copyfileobj(log, sys.stdout.buffer)


def _find(session: Session, text: str) -> Path | None:
    """The log of a derivation id, an object, a target as it is now, or the last build of that name."""
    store = session.existing_store
    if is_digest(text) and (path := store.log_path(text)).exists():
        return path
    if "/" in text or store.info(text) is not None:
        return _of_object(session, text)
    try:
        if (path := store.log_path(session.instantiate(text).graph.root)).exists():
            return path
    except UsageError:
        return store.find_log(text) or _of_object(session, text)  # a link, or the same error
    return store.find_log(text)


def _of_object(session: Session, text: str) -> Path | None:
    made = session.store.realisations_of(session.object_of(text))
    paths = (session.store.log_path(realisation.drv_id) for realisation in made)
    return next((path for path in paths if path.exists()), None)
