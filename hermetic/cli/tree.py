"""`hermetic tree`."""

from __future__ import annotations

import click

from hermetic.derivation.graph import direct
from hermetic.derivation.step import label
from hermetic.derivation.value import Fetch, Unpack, inputs_of
from hermetic.session import Session


@click.command()
@click.argument("target")
@click.option("--sources", is_flag=True, help="Show fetched and unpacked sources, too.")
@click.option(
    "--all", "every", is_flag=True, help="Show all direct inputs, even if another input needs them, too."
)
@click.option("--ids", is_flag=True, help="Show derivation ids.")
@click.pass_obj
def command(session: Session, target: str, sources: bool, every: bool, ids: bool) -> None:
    """Print what TARGET is built from, as a tree.

    An input that another input needs too is shown only there. What has been shown before is marked with (*),
    without what is below it.
    """
    graph, seen = session.instantiate(target).graph, set[str]()
    derivations = graph.derivations
    # A stack, not recursion: a graph may be deeper than Python allows.
    stack = [(graph.root, "", "", "")]
    while stack:
        drv_id, lead, branch, below = stack.pop()
        drv = graph[drv_id]
        children = [
            i
            for i in inputs_of(drv)
            if sources or graph.steps[i].seed or not isinstance(graph[i], (Fetch, Unpack))
        ]
        if not every:
            children = direct(derivations, children)
        children.sort(key=lambda i: label(graph[i]))
        again = drv_id in seen and bool(children)
        seed = " [seed]" if graph.steps[drv_id].seed else ""
        click.echo(f"{lead}{branch}{label(drv)}{seed}{f'  {drv_id}' if ids else ''}{' (*)' if again else ''}")
        seen.add(drv_id)
        if again:
            continue
        inner = lead + below
        for number, child in enumerate(reversed(children)):
            last = number == 0
            stack.append((child, inner, "└─ " if last else "├─ ", "   " if last else "│  "))
