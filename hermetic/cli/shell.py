"""`hermetic shell`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hermetic.cli.display import display
from hermetic.cli.usage import substitute_option
from hermetic.session import Session


@click.command()
@click.argument("target")
@click.option(
    "--fresh", is_flag=True, help="Start in a new work directory, even if one of a failed build was kept."
)
@click.option(
    "-c", "--command", "script", metavar="SCRIPT", help="Run SCRIPT instead of an interactive shell."
)
@substitute_option
@click.pass_obj
def command(
    session: Session, target: str, fresh: bool, script: str | None, substitute: tuple[Path, ...]
) -> None:
    """Open a shell in the sandbox of TARGET's build.

    It has the inputs, the environment and the user of the build. After `hermetic realize --keep-failed` it
    opens in the work directory of the build that failed. The build itself is: sh -eu /build/build.sh
    """
    work = None if fresh else session.failed_work(target)
    with display() as listener:
        session.realize_inputs(target, substitute=substitute, listener=listener)
    if script is None:
        where = f"the work directory of the failed build, {work}" if work else "a new work directory"
        print(f"in {where}; the build is: sh -eu /build/build.sh", file=sys.stderr)
    sys.exit(session.enter(target, script=script, work=work))
