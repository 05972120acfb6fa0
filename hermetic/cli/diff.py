"""`hermetic diff`."""

from __future__ import annotations

import click
import msgspec

from hermetic.cli.output import write_json
from hermetic.derivation.difference import explain
from hermetic.session import Session


@click.command()
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_obj
def command(session: Session, left: str, right: str, as_json: bool) -> None:
    """Say why the builds of targets A and B differ: sources, patches, script, environment, inputs.

    \b
    hermetic diff cpython-aarch64 cpython-x86_64
    hermetic diff cpython-aarch64 cpython-3.14.7-aarch64
    hermetic diff cpython-aarch64@HEAD~1 cpython-aarch64      before and after an edit
    """
    one, other = session.instantiate(left).graph, session.instantiate(right).graph
    changes = explain(one.derivations, one.root, other.derivations, other.root)
    if as_json:
        write_json(msgspec.to_builtins(changes))
        return
    if not changes:
        click.echo(f"the same derivation: {one.root}")
    for change in changes:
        name = change.left if change.left == change.right else f"{change.left} → {change.right}"
        click.echo(name)
        for cause in change.causes:
            click.echo(f"    {cause}")
        for through in change.through:
            click.echo(f"    input differs: {through}")
