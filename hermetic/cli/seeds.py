"""`hermetic seeds`."""

from __future__ import annotations

import click

from hermetic.cli.output import write_json
from hermetic.session import Session


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """List the seeds: the prebuilt binaries that builds start from.

    They are trusted by their hashes. Everything else is built from source.
    """
    evaluator = session.evaluator()
    rows = []
    for name in evaluator.names:
        recipe = evaluator.recipe(name)
        if recipe.seed and recipe.source is not None:
            pin = evaluator.lock.pin(recipe.source)
            rows.append(
                {
                    "name": name,
                    "version": pin.version,
                    "file": pin.file,
                    "size": pin.size,
                    "sha256": pin.sha256,
                    "blake3": pin.blake3,
                    "description": recipe.meta.description,
                }
            )
    if as_json:
        write_json(rows)
        return
    for row in rows:
        click.echo(f"{row['name']} {row['version']}: {row['description']}")
        click.echo(f"    {row['file']}  {row['size']:,} bytes")
        click.echo(f"    sha256 {row['sha256']}")
        click.echo(f"    blake3 {row['blake3']}")
