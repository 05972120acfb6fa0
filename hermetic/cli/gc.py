"""`hermetic gc`."""

from __future__ import annotations

import sys

import click
import msgspec

from hermetic.cli.output import write_json
from hermetic.cli.progress import counted, size
from hermetic.cli.usage import byte_count, days
from hermetic.gc.collection import Progress
from hermetic.gc.plan import Options, Plan
from hermetic.session import Session
from hermetic.store.leftovers import Leftovers


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
    """Delete from the store all objects that no root keeps, and what interrupted builds have left.

    Roots are links made by `hermetic realize --out-link`, names given by `hermetic root add`, running
    hermetic processes, and the seeds of the project, which may be hard to download again. Kept work
    directories of failed builds and rejected downloads are deleted too, unless --keep-recent applies to
    them. An unfinished download is deleted after seven days without progress.
    """
    options = Options(
        max_freed=max_freed,
        keep_recent=keep_recent,
        keep_derivations=keep_derivations,
        keep_sources=keep_sources,
    )
    plan = session.garbage(options, keep_seeds=keep_seeds)
    if as_json:
        leftovers = msgspec.to_builtins(session.leftovers(options))
        names = [info.name for info in plan.delete]
        write_json({"delete": names, "frees": plan.frees, "stays": plan.stays, "leftovers": leftovers})
    else:
        _print(plan, dry_run)
    if dry_run:
        if not as_json:
            _print_leftovers(session.leftovers(options))
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


def _print_leftovers(found: Leftovers) -> None:
    kinds = {
        "unregistered object": found.unregistered,
        "dead workspace": found.workspaces,
        "failed build": found.failed,
        "download": found.downloads,
        "other file": found.files,
    }
    counts = [counted(len(names), kind) for kind, names in kinds.items() if names]
    if counts:
        print(f"would remove {', '.join(counts)}: {size(found.size)}", file=sys.stderr)


def _progress(progress: Progress) -> None:
    print(
        f"\r{progress.deleted} of {progress.total} deleted, {size(progress.freed)}",
        end="\n" if progress.deleted == progress.total else "",
        file=sys.stderr,
        flush=True,
    )
