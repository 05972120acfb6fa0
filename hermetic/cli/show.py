"""`hermetic show`."""

from __future__ import annotations

import sys

import click
import msgspec

from hermetic.cli import shown
from hermetic.cli.output import as_json, write_json
from hermetic.derivation.step import label
from hermetic.session import Session
from hermetic.store import cache
from hermetic.store.layout import Layout


@click.command()
@click.argument("target")
@click.option("-r", "--recursive", is_flag=True, help="Print all derivations below it, too, by id.")
@click.pass_obj
def command(session: Session, target: str, recursive: bool) -> None:
    """Print the derivation of TARGET as JSON: the build script, environment and inputs that its hash covers.

    TARGET@REV takes the recipes of a git revision, for example zlib@HEAD~1.
    """
    graph = session.instantiate(target).graph
    if recursive:
        write_json({drv_id: msgspec.to_builtins(drv) for drv_id, drv in graph.derivations.items()})
        return
    record = msgspec.to_builtins(graph[graph.root])
    for field in ("inputs", "sources"):
        for path, drv_id in record.get(field, {}).items():
            record[field][path] = {"derivation": drv_id, "name": label(graph[drv_id])}
    text = as_json({"id": graph.root, **record})
    sys.stdout.write(text)
    if "@" not in target:
        key = shown.key(session.fingerprint(), target)
        cache.write(Layout(session.store_path).eval, key, text.encode())
