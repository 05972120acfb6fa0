"""`hermetic lock`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hermetic.errors import UsageError
from hermetic.project.worktree import LOCK_FILE
from hermetic.session import Session

if TYPE_CHECKING:
    from hermetic.sources.offers import Survey
    from hermetic.sources.update import Report


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option(
    "--check",
    is_flag=True,
    help="Download every source from every mirror and compare its hashes; then list newer versions.",
)
@click.option("--offline", is_flag=True, help="With --check: ask no mirror, only read flake-like.lock.")
@click.option("--update", metavar="NAME", help="Pin another version of a source, and make it the default.")
@click.option(
    "--to",
    metavar="VERSION",
    help="With --update: the version. Default: the newest of its line that a mirror lists.",
)
@click.option(
    "--mirror", multiple=True, metavar="ADDRESS", help="With --update: where to download it (repeatable)."
)
@click.option("--keep-default", is_flag=True, help="With --update: the default version stays as it is.")
@click.pass_obj
def command(
    session: Session,
    names: tuple[str, ...],
    check: bool,
    offline: bool,
    update: str | None,
    to: str | None,
    mirror: tuple[str, ...],
    keep_default: bool,
) -> None:
    """List, check or update the sources that flake-like.lock pins. Without options: list them.

    The newer versions that --check lists are a report: they do not change the exit code. Versions before a
    release do not count, nor do those of other lines (for cpython 3.13.15, only 3.13.x). A source of which no
    mirror lists versions is named with the reasons.

    \b
    hermetic lock --check                          all sources, all mirrors
    hermetic lock --check zlib openssl             only these
    hermetic lock --update cpython --to 3.14.7     pin another version and make it the default
    hermetic lock --update cpython --to 3.14.7 --keep-default     pin it beside the default
    """
    if check and update:
        raise UsageError("--check and --update cannot be used together")
    if (to or mirror or keep_default) and not update:
        raise UsageError("--to, --mirror and --keep-default need --update NAME")
    if offline and not check:
        raise UsageError("--offline needs --check")
    if offline:
        session.pins(names)
        _note(f"{LOCK_FILE} is valid; offline: mirrors are neither compared nor asked for newer versions")
    elif check:
        session.check_lock(names, tell=_tell, tell_newer=_tell_newer)
    elif update:
        changes = session.update_lock(update, to=to, mirrors=mirror, default=not keep_default, note=_note)
        for line in changes or [f"{LOCK_FILE} is up to date"]:
            click.echo(line)
    else:
        lock = session.lock
        for pin in lock.pins():
            if not names or pin.name in names:
                default = " (default)" if lock.default_version(pin.name) == pin.version else ""
                click.echo(f"{pin.name} {pin.version}{default}  {pin.size:,} bytes  sha256 {pin.sha256}")


def _tell(report: Report) -> None:
    click.echo(f"{report.pin.name} {report.pin.version}  {report.mirror}: {report.problem or 'ok'}")


def _tell_newer(survey: Survey) -> None:
    what = f"{survey.pin.name} {survey.pin.version}"
    for offer in survey.newer:
        click.echo(f"{what}: {offer.version} is offered by {offer.spec}")
    if not survey.offers:
        click.echo(f"{what}: no mirror lists versions")
        for mirror, problem in survey.problems.items():
            click.echo(f"    {mirror}: {problem}")


def _note(line: str) -> None:
    print(line, file=sys.stderr)
