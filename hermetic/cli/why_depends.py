"""`hermetic why-depends`."""

from __future__ import annotations

import click

from hermetic.derivation.graph import path_between
from hermetic.derivation.step import label
from hermetic.session import Session


@click.command()
@click.argument("target")
@click.argument("input")
@click.pass_obj
def command(session: Session, target: str, input: str) -> None:
    """Print the shortest chain of inputs that leads from TARGET to INPUT.

    INPUT is a target, or the name or id of a derivation below TARGET. Exit code 1: there is no such chain.
    """
    graph = session.instantiate(target).graph
    derivations = graph.derivations
    ends = [d for d, drv in derivations.items() if input in (drv.name, label(drv), d)]
    if not ends:
        ends = [session.instantiate(input).graph.root]
    found = (path_between(derivations, graph.root, end) for end in ends if end in derivations)
    chains = sorted((chain for chain in found if chain is not None), key=len)
    if not chains:
        click.echo(f"{target} does not depend on {input}", err=True)
        raise click.exceptions.Exit(1)
    for depth, drv_id in enumerate(chains[0]):
        click.echo(f"{'   ' * max(0, depth - 1)}{'└─ ' if depth else ''}{label(graph[drv_id])}")
