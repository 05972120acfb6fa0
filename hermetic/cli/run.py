"""`hermetic run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hermetic.cli.display import display
from hermetic.cli.usage import substitute_option
from hermetic.session import Session


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--program", metavar="PATH", help="Run another program of the output, for example bin/pip3.")
@substitute_option
@click.pass_obj
def command(
    session: Session,
    target: str,
    arguments: tuple[str, ...],
    program: str | None,
    substitute: tuple[Path, ...],
) -> None:
    """Build TARGET if necessary, and run its main program with ARGUMENTS (write them after --).

    A program that this machine cannot run by itself runs under the qemu that the project pins. A TARGET that
    names no architecture is for this machine.

    \b
    hermetic run cpython-aarch64 -- -c "import platform; print(platform.machine())"
    """
    with display() as listener:
        command_line = session.command_line(target, program=program, substitute=substitute, listener=listener)
    sys.stdout.flush()
    sys.stderr.flush()
    session.store.outlive_exec()  # a collection must not take the program away while it runs
    os.execv(command_line[0], [*command_line, *arguments])
