"""`hermetic run`."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import click

from hermetic.cli.display import display
from hermetic.errors import HermeticError
from hermetic.session import Session
from hermetic.systems import System, running_on

EMULATOR = "qemu-user"  # the recipe of the seed that runs foreign programs


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--program", metavar="PATH", help="Run another program of the output, for example bin/pip3.")
@click.pass_obj
def command(session: Session, target: str, arguments: tuple[str, ...], program: str | None) -> None:
    """Build TARGET if necessary, and run its main program with ARGUMENTS (write them after --).

    A program for another architecture runs under the qemu that the project pins.

    \b
    hermetic run cpython-aarch64 -- -c "import platform; print(platform.machine())"
    """
    name, _, revision = target.partition("@")
    evaluator = session.evaluator(revision or None)
    wanted = evaluator.parse_target(name)
    foreign = wanted.system not in running_on(platform.machine())
    with display() as listener:
        outputs = session.realize([target, EMULATOR] if foreign else [target], listener=listener).outputs
    tree = outputs[target].path
    relative = program or evaluator.recipe(wanted.recipe).meta.main_program or f"bin/{wanted.recipe}"
    command_line = [str(tree / relative), *arguments]
    if not (tree / relative).is_file():
        found = sorted(p.name for p in (tree / "bin").glob("*")) if (tree / "bin").is_dir() else []
        raise HermeticError(
            f"{target} has no program {relative}",
            hint=f"choose one with --program; bin/ holds: {', '.join(found) or 'nothing'}",
        )
    if foreign:
        command_line.insert(0, str(_emulator(outputs[EMULATOR].path, wanted.system)))
    sys.stdout.flush()
    sys.stderr.flush()
    session.store.outlive_exec()  # a collection must not take the program away while it runs
    os.execv(command_line[0], command_line)


def _emulator(tree: Path, system: System) -> Path:
    path = tree / "usr/bin" / system.qemu
    if not path.exists():
        raise HermeticError(f"cannot run {system.arch} programs: {EMULATOR} has no {system.qemu}")
    return path
