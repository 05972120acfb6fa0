"""`hermetic gc`."""

from __future__ import annotations

import re
import sys

import click

from hermetic.cli.output import write_json
from hermetic.cli.progress import counted, size
from hermetic.errors import UsageError
from hermetic.gc.collection import Progress
from hermetic.gc.plan import Options, Plan
from hermetic.session import Session

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@click.command()
@click.option("-n", "--dry-run", is_flag=True, help="Print what would go and how much it frees, and stop.")
@click.option("--max-freed", metavar="SIZE", help="Stop when so much has been freed, e.g. 2G.")
@click.option("--keep-recent", type=click.FloatRange(0), metavar="DAYS", help="Keep what was used lately.")
@click.option(
    "--keep-derivations/--no-keep-derivations",
    default=True,
    show_default=True,
    help="Keep what live objects were built from.",
)
@click.option(
    "--keep-sources/--no-keep-sources",
    default=True,
    show_default=True,
    help="Keep the sources of live objects.",
)
@click.option(
    "--keep-seeds/--no-keep-seeds",
    default=True,
    show_default=True,
    help="Keep the seeds that this project pins.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def command(
    session: Session,
    dry_run: bool,
    max_freed: str | None,
    keep_recent: float | None,
    keep_derivations: bool,
    keep_sources: bool,
    keep_seeds: bool,
    as_json: bool,
) -> None:
    """Delete store objects that no root keeps alive, and what dead builds have left.

    Roots are links made with `realize --out-link`, named ones (`hermetic root add`), running builds, and the
    seeds of the project (`hermetic seeds`), which may be hard to get again. Folders of failed builds go too,
    unless --keep-recent spares them.
    """
    options = Options(
        max_freed=None if max_freed is None else _bytes(max_freed),
        keep_recent=keep_recent,
        keep_derivations=keep_derivations,
        keep_sources=keep_sources,
    )
    plan = session.garbage(options, keep_seeds=keep_seeds)
    if as_json:
        write_json({"delete": [i.name for i in plan.delete], "frees": plan.frees, "stays": plan.stays})
    else:
        _print(plan, dry_run)
    if dry_run:
        return
    progress = _progress if sys.stderr.isatty() else None
    outcome = session.collect_garbage(options, keep_seeds=keep_seeds, progress=progress)
    print(f"deleted {counted(len(outcome.deleted), 'object')}, freed {size(outcome.freed)}", file=sys.stderr)


def _print(plan: Plan, dry_run: bool) -> None:
    for info in plan.delete:
        click.echo(f"{info.name}  {size(info.size)}")
    verb = "would delete" if dry_run else "deleting"
    print(
        f"{verb} {counted(len(plan.delete), 'object')}, {size(plan.frees)}; "
        f"{plan.live} live and {plan.kept} kept for other reasons, {size(plan.stays)}",
        file=sys.stderr,
    )


def _progress(progress: Progress) -> None:
    print(
        f"\r{progress.deleted} of {progress.total} deleted, {size(progress.freed)}",
        end="\n" if progress.deleted == progress.total else "",
        file=sys.stderr,
        flush=True,
    )


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"--max-freed {text}: not a size", hint="for example 500M or 2G")
    return int(float(match[1]) * _UNITS[match[2].upper()])
