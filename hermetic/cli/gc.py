"""`hermetic gc`."""

from __future__ import annotations

import sys

import click

from hermetic.cli.output import write_json
from hermetic.cli.progress import counted, size
from hermetic.cli.usage import byte_count, days
from hermetic.gc.collection import Progress
from hermetic.gc.plan import Options, Plan
from hermetic.session import Session


@click.command()
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be deleted, and do nothing.")
@click.option(
    "--max-freed", type=byte_count, metavar="SIZE", help="Stop when SIZE has been freed, for example 2G."
)
@click.option("--keep-recent", type=days, metavar="DAYS", help="Keep what was used in the last DAYS days.")
@click.option(
    "--keep-derivations/--no-keep-derivations",
    default=True,
    show_default=True,
    help="Keep what kept objects were built from, for the next build.",
)
@click.option(
    "--keep-sources/--no-keep-sources",
    default=True,
    show_default=True,
    help="Keep the sources of kept objects.",
)
@click.option(
    "--keep-seeds/--no-keep-seeds",
    default=True,
    show_default=True,
    help="Keep the seeds of this project (`hermetic seeds`).",
)
@click.option("--json", "as_json", is_flag=True, help="Print what is deleted as JSON.")
@click.pass_obj
def command(
    session: Session,
    dry_run: bool,
    max_freed: int | None,
    keep_recent: float | None,
    keep_derivations: bool,
    keep_sources: bool,
    keep_seeds: bool,
    as_json: bool,
) -> None:
    """Delete objects that no root keeps from the store, and what interrupted builds have left.

    Roots are links made by `hermetic realize --out-link`, names given by `hermetic root add`, running
    hermetic processes, and the seeds of the project, which may be hard to download again. Kept work
    directories of failed builds are deleted too, unless --keep-recent applies to them.
    """
    options = Options(
        max_freed=max_freed,
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
        f"{plan.live} kept by roots and {plan.kept} for other reasons, {size(plan.stays)}",
        file=sys.stderr,
    )


def _progress(progress: Progress) -> None:
    print(
        f"\r{progress.deleted} of {progress.total} deleted, {size(progress.freed)}",
        end="\n" if progress.deleted == progress.total else "",
        file=sys.stderr,
        flush=True,
    )
