"""`hermetic targets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
import msgspec

from hermetic.cli.output import write_json
from hermetic.session import Session

if TYPE_CHECKING:
    from hermetic.session.targets import TargetInfo

_HEAD: Final = ("target", "version", "triple", "CPU", "bytes", "bits", "runs", "content hash")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_obj
def command(session: Session, names: tuple[str, ...], as_json: bool) -> None:
    """List the targets of recipes: one for each system and pinned version.

    NAME is a recipe, or NAME-VERSION. Default: the recipes with a main program that are made for more than
    the machine that builds. The columns: what is typed, its version, GNU triple, the oldest CPU that it runs
    on, byte order, word size, what runs it on this machine (itself or an emulator), and the content hash that
    flake-like.lock expects (`hermetic verify --accept` writes it).
    """
    found = session.targets(names)
    if as_json:
        write_json(msgspec.to_builtins(found))
        return
    rows = [_HEAD, *(_row(info) for info in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _row(info: TargetInfo) -> tuple[str, ...]:
    how = "natively" if info.native else info.emulator
    return (
        info.target,
        info.version,
        info.triple,
        info.cpu,
        info.endian,
        str(info.bits),
        how,
        _content(info),
    )


def _content(info: TargetInfo) -> str:
    """The hash that is expected, and what the store has."""
    text = info.expected or ("a seed" if info.seed else "not verified")
    if not info.object:
        return text
    same = not info.expected or info.object.startswith(f"{info.expected}-")
    return f"{text}, {'in the store' if same else 'the store has other bytes'}"
