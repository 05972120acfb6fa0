"""`realize TARGET...` and `verify TARGET...` without options, which need no parser of the command line.

They do what `cli.realize` and `cli.verify` do by default. Loading click takes longer than a small build.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hermetic.cli import exits
from hermetic.cli.display import display
from hermetic.session import Session


def main(project: str | None, store: str | None, command: str, targets: list[str]) -> None:
    """Run a command of `COMMANDS`, and exit."""

    def run() -> int:
        with Session(project, store) as session:
            COMMANDS[command](session, targets)
        return 0

    exits.leave(lambda: exits.code(run))


def _realize(session: Session, targets: list[str]) -> None:
    with display() as listener:
        done = session.realize(targets, listener=listener)
    for output in done.outputs.values():
        print(output.path)
    if done.error is not None:
        raise done.error


def _verify(session: Session, targets: list[str]) -> None:
    from hermetic.cli import verdicts

    with display() as listener:
        report = session.verify(targets, listener=listener)
    verdicts.show(report)
    verdicts.conclude(report)


COMMANDS: Final[dict[str, Callable[[Session, list[str]], None]]] = {"realize": _realize, "verify": _verify}
