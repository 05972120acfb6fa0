"""`hermetic lock`."""

from __future__ import annotations

import sys

import click

from hermetic.errors import HashMismatch, LockError, UsageError
from hermetic.project import lock as locks
from hermetic.project.lock import Lock
from hermetic.project.worktree import LOCK_FILE
from hermetic.session import Session
from hermetic.sources import update as updating
from hermetic.sources.fetch import Fetcher


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--check", is_flag=True, help="Download every source from every mirror and compare.")
@click.option("--update", metavar="NAME", help="Pin a source in a newer version.")
@click.option("--to", metavar="VERSION", help="With --update: which one. Default: the newest there is.")
@click.option(
    "--mirror", multiple=True, metavar="ADDRESS", help="With --update: where to get it (repeatable)."
)
@click.pass_obj
def command(
    session: Session,
    names: tuple[str, ...],
    check: bool,
    update: str | None,
    to: str | None,
    mirror: tuple[str, ...],
) -> None:
    """Check or change flake-like.lock; without options, list what it pins.

    \b
    hermetic lock --check                         all sources, all mirrors
    hermetic lock --check zlib openssl            only these
    hermetic lock --update cpython --to 3.13.15   pin another version and make it the default
    """
    if check and update:
        raise UsageError("--check and --update exclude each other")
    if (to or mirror) and not update:
        raise UsageError("--to and --mirror belong to --update NAME")
    path = session.root / LOCK_FILE
    lock = updating.load(path)
    if check:
        _check(session, lock, names)
    elif update:
        fetcher = Fetcher(session.store.layout.downloads)
        new = updating.update(lock, update, fetcher, to=to, mirrors=mirror, note=_note)
        if new != lock:
            updating.save(path, new)
        for line in locks.diff(lock, new) or [f"{LOCK_FILE} is up to date"]:
            click.echo(line)
    else:
        for pin in lock.pins():
            if not names or pin.name in names:
                default = " (default)" if lock.default_version(pin.name) == pin.version else ""
                click.echo(f"{pin.name} {pin.version}{default}  {pin.size:,} bytes  sha256 {pin.sha256}")


def _check(session: Session, lock: Lock, names: tuple[str, ...]) -> None:
    for name in names:
        lock.pin(name)  # an unknown name is an error, with a suggestion
    pins = [pin for pin in lock.pins() if not names or pin.name in names]
    fetcher = Fetcher(session.store.layout.downloads)
    answering: set[tuple[str, str]] = set()
    wrong = []
    for report in updating.check(pins, fetcher):
        click.echo(f"{report.pin.name} {report.pin.version}  {report.mirror}: {report.problem or 'ok'}")
        if report.problem is None:
            answering.add((report.pin.name, report.pin.version))
        elif report.wrong_bytes:
            wrong.append(report.mirror)
    if wrong:
        raise HashMismatch(f"{len(wrong)} mirrors serve other bytes than are pinned", details=tuple(wrong))
    silent = [f"{p.name} {p.version}" for p in pins if (p.name, p.version) not in answering]
    if silent:
        raise LockError(f"no mirror of these answers from here: {', '.join(silent)}")


def _note(line: str) -> None:
    print(line, file=sys.stderr)
