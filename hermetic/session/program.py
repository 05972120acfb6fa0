"""How the program of a target is started on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.errors import HermeticError
from hermetic.session import machine
from hermetic.systems import BUILD_SYSTEM, running_on

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hermetic.realize.events import Listener
    from hermetic.session.session import Session
    from hermetic.systems import System

EMULATOR: Final = "qemu-user"  # the recipe of the seed that runs foreign programs


def command_line(
    session: Session,
    target: str,
    program: str | None,
    substitute: Iterable[Path],
    listener: Listener | None,
) -> list[str]:
    """See `Session.command_line`."""
    native = running_on(machine.this())
    target = for_machine(target, native)
    name, _, revision = target.partition("@")
    evaluator = session.evaluator(revision or None)
    wanted = evaluator.parse_target(name)
    foreign = wanted.system not in native
    wanted_too = [EMULATOR] if foreign else []
    done = session.realize([target, *wanted_too], substitute=substitute, listener=listener)
    tree = done.outputs[target].path
    relative = program or evaluator.recipe(wanted.recipe).meta.main_program or f"bin/{wanted.recipe}"
    if not (tree / relative).is_file():
        found = sorted(p.name for p in (tree / "bin").glob("*")) if (tree / "bin").is_dir() else []
        raise HermeticError(
            f"{target} has no program {relative}",
            hint=f"choose one with --program; bin/ holds: {', '.join(found) or 'nothing'}",
        )
    if not foreign:
        return [str(tree / relative)]
    emulator = done.outputs[EMULATOR].path / "usr/bin" / wanted.system.qemu
    if not emulator.exists():
        raise HermeticError(
            f"cannot run {wanted.system.arch} programs: {EMULATOR} has no {wanted.system.qemu}"
        )
    return [str(emulator), str(tree / relative)]


def for_machine(target: str, native: list[System]) -> str:
    """A target that is run: one that names no system is for the machine itself.

    Args:
        native: the systems that the machine runs (`systems.running_on`).
    """
    from hermetic.derivation.instantiate import split_system

    name, at, revision = target.partition("@")
    if not native or native[0] is BUILD_SYSTEM or split_system(name)[1] is not None:
        return target
    return f"{name}-{native[0].arch}{at}{revision}"
