"""How the program of a target is started on this machine."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from hermetic.errors import HermeticError
from hermetic.systems import running_on

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hermetic.realize.events import Listener
    from hermetic.session.session import Session

EMULATOR: Final = "qemu-user"  # the recipe of the seed that runs foreign programs


def command_line(
    session: Session,
    target: str,
    program: str | None,
    substitute: Iterable[Path],
    listener: Listener | None,
) -> list[str]:
    """See `Session.command_line`."""
    name, _, revision = target.partition("@")
    evaluator = session.evaluator(revision or None)
    wanted = evaluator.parse_target(name)
    foreign = wanted.system not in running_on(platform.machine())
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
