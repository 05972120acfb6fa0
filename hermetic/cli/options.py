"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def substitute(command: _Command) -> _Command:
    """`--substitute DIR`, as a tuple of paths."""
    return click.option(
        "--substitute",
        metavar="DIR",
        multiple=True,
        envvar="HERMETIC_SUBSTITUTE",
        type=click.Path(),  # because that splits the environment variable as PATH is split
        callback=_paths,
        help="Take outputs from another store on this machine if it has them (repeatable, asked in order).",
    )(command)


def _paths(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(Path(value) for value in values if value)
