"""Mistakes on the command line, in one style whether click finds them or we do: the fact, then a hint."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from hermetic.errors import HermeticError, UsageError, did_you_mean, nearest

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Group(click.Group):
    """A command with subcommands, which suggests one where it was mistyped."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in names:
            hint = did_you_mean(args[0], names) or f"`{ctx.command_path} --help` lists all commands"
            raise UsageError(f"unknown command '{_typed(ctx, args[0])}'", hint=hint)
        return super().resolve_command(ctx, args)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Type of an option: a whole number of a range, both ends included."""

    def convert(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
            return int(text)
        raise click.BadParameter(f"{text!r} is not a whole number from {least} to {most}")

    return convert


def days(text: str) -> float:
    """Type of an option: a span of time in days; fractions are allowed."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]*)?", text):
        raise click.BadParameter(f"{text!r} is not a number of days such as 7 or 0.5")
    return float(text)


def byte_count(text: str) -> int:
    """Type of an option: a number of bytes, with or without a unit."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size such as 500M or 2G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def jobs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-j N`, of every command that may build."""
    option = click.option(
        "-j", "--jobs", type=whole_number(1, 1024), metavar="N", help="Use N CPU cores. Default: all."
    )
    return option(command)


def keep_going_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--keep-going`, of commands that work on many targets."""
    option = click.option(
        "-k",
        "--keep-going",
        is_flag=True,
        help="After a failure, continue with what does not depend on it.",
    )
    return option(command)


def substitute_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--substitute DIR`, of every command that may build; as a tuple of paths."""
    option = click.option(
        "--substitute",
        metavar="DIR",
        multiple=True,
        envvar="HERMETIC_SUBSTITUTE",
        type=click.Path(),  # because that splits the environment variable as PATH is split
        callback=lambda ctx, param, values: tuple(Path(value) for value in values if value),
        help="Copy outputs from another store on this machine if it has them (repeatable, asked in order).",
    )
    return option(command)


def all_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--all`, of every command that takes targets of recipes for every system; see `asked`."""
    option = click.option(
        "--all",
        "every",
        is_flag=True,
        help="Take NAME or NAME-VERSION for every system. Default: the recipes of `hermetic targets`.",
    )
    return option(command)


def asked(ctx: click.Context, targets: tuple[str, ...], every: bool) -> tuple[str, ...]:
    """The targets that a command is to work on.

    Raises:
        UsageError: none is named and not `every` one is asked for; or a name is wrong.
    """
    if every:
        return tuple(ctx.obj.for_all_systems(targets))
    if not targets:
        raise UsageError(f"{_typed(ctx)} needs a TARGET", hint=_usage(ctx))
    return targets


def explained(error: click.ClickException) -> HermeticError:
    """What click found wrong, in our words."""
    if isinstance(error, click.BadOptionUsage):
        needs = "requires" in error.message
        return UsageError(f"{error.option_name} {'needs a value' if needs else 'takes no value'}")
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return UsageError(error.message)
    if isinstance(error, click.NoSuchOption):
        known = [
            name for param in ctx.command.get_params(ctx) for name in (*param.opts, *param.secondary_opts)
        ]
        near = nearest(error.option_name, [name for name in known if name.startswith("--")])
        hint = f'did you mean "{near}"?' if near else f"`{ctx.command_path} --help` lists all options"
        return UsageError(f"{_typed(ctx)} has no option {error.option_name}", hint=hint)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        name = (error.param.metavar or error.param.name or "value").strip("[].").upper()
        article = "an" if name[0] in "AEIOU" else "a"
        return UsageError(f"{_typed(ctx)} needs {article} {name}", hint=_usage(ctx))
    if isinstance(error, click.BadParameter) and error.param is not None:
        return UsageError(f"{max(error.param.opts, key=len)}: {error.message}")
    extra = re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", error.message)
    if extra:
        return UsageError(f"{_typed(ctx)} takes no further argument: {extra[1]}", hint=_usage(ctx))
    return UsageError(f"{_typed(ctx)}: {error.message}", hint=_usage(ctx))


def _typed(ctx: click.Context, *more: str) -> str:
    """A command as it is typed after `hermetic`."""
    return " ".join([*ctx.command_path.split()[1:], *more]) or ctx.command_path


def _usage(ctx: click.Context) -> str:
    return " ".join(ctx.command.get_usage(ctx).replace("Usage:", "usage:").split())
