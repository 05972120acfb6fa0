"""`hermetic run`."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import click

from hermetic.cli import options
from hermetic.cli.display import display
from hermetic.errors import HermeticError
from hermetic.session import Session
from hermetic.systems import System, running_on

EMULATOR = "qemu-user"  # the recipe of the seed that runs foreign programs


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--program", metavar="PATH", help="Another program of the output, e.g. bin/pip3.")
@options.substitute
@click.pass_obj
def command(
    session: Session,
    target: str,
    arguments: tuple[str, ...],
    program: str | None,
    substitute: tuple[Path, ...],
) -> None:
    """Realize TARGET and run its main program with ARGUMENTS (after --).

    A program for another machine runs under the pinned static qemu-user.

    \b
    hermetic run cpython-aarch64 -- -c "import platform; print(platform.machine())"
    """
    name, _, revision = target.partition("@")
    evaluator = session.evaluator(revision or None)
    wanted = evaluator.parse_target(name)
    foreign = wanted.system not in running_on(platform.machine())
    with display() as listener:
        wanted_too = [EMULATOR] if foreign else []
        outputs = session.realize([target, *wanted_too], substitute=substitute, listener=listener).outputs
    tree = outputs[target].path
    relative = program or evaluator.recipe(wanted.recipe).meta.main_program or f"bin/{wanted.recipe}"
    command_line = [str(tree / relative), *arguments]
    if not (tree / relative).is_file():
        found = sorted(p.name for p in (tree / "bin").glob("*")) if (tree / "bin").is_dir() else []
        raise HermeticError(
            f"{target} has no program {relative}",
            hint=f"choose one with --program; in bin/: {', '.join(found) or 'nothing'}",
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
        raise HermeticError(f"{EMULATOR} has no {system.qemu}, so {system.arch} programs cannot run here")
    return path
