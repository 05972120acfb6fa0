"""`hermetic realize`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from hermetic.cli.display import display
from hermetic.cli.output import write_json
from hermetic.cli.usage import all_option, asked, jobs_option, keep_going_option, substitute_option
from hermetic.errors import HermeticError
from hermetic.session import Session
from hermetic.session.outcome import Output


@click.command()
@click.argument("targets", nargs=-1, metavar="TARGET...")
@all_option
@jobs_option
@keep_going_option
@click.option(
    "--keep-failed", is_flag=True, help="Keep the work directory of a build that fails, for `hermetic shell`."
)
@click.option("--offline", is_flag=True, help="Download nothing. Sources that are missing are listed.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be fetched and built, and do nothing.")
@click.option(
    "-o",
    "--out-link",
    metavar="LINK",
    help="Make LINK a link to the output. It keeps the output from `hermetic gc`.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print targets, derivation ids, objects and paths as JSON."
)
@click.option("-v", "--verbose", is_flag=True, help="Show the output of builds while they run.")
@substitute_option
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    every: bool,
    jobs: int | None,
    keep_going: bool,
    keep_failed: bool,
    offline: bool,
    dry_run: bool,
    out_link: str | None,
    as_json: bool,
    verbose: bool,
    substitute: tuple[Path, ...],
) -> None:
    """Build TARGETs, or find them built, and print the path of each output.

    Everything that a TARGET needs is fetched and built first. What is in the store is not built again.

    \b
    hermetic realize cpython-aarch64
    hermetic realize cpython-3.14.7-x86_64 -o result
    hermetic realize --all --keep-going           every system's interpreter
    """
    session: Session = ctx.obj
    targets = asked(ctx, targets, every)
    if dry_run:
        _print_plan(session, targets, substitute)
        return
    with display(verbose=verbose) as listener:
        done = session.realize(
            targets,
            jobs=jobs,
            keep_going=keep_going,
            keep_failed=keep_failed,
            offline=offline,
            substitute=substitute,
            listener=listener,
        )
    outputs = list(done.outputs.values())
    if out_link:
        _link(session, Path(out_link), [output.object for output in outputs])
    if as_json:
        write_json([_record(output) for output in outputs])
    else:
        for output in outputs:
            click.echo(output.path)
    if done.error is not None:
        raise done.error


def _record(output: Output) -> dict[str, str | None]:
    record = msgspec.structs.asdict(output)
    origin = record.pop("origin")
    return {**record, "path": str(output.path), "substituted_from": origin or None}


def _print_plan(session: Session, targets: tuple[str, ...], substitute: tuple[Path, ...]) -> None:
    from hermetic.cli.progress import size

    todo = session.pending(targets, substitute=substitute)
    if not todo:
        click.echo("nothing to do", err=True)
    for pending in todo:
        step = pending.step
        if pending.origin:
            click.echo(f"would substitute {step.label} from {pending.origin}", err=True)
        else:
            extra = f"  {size(step.pin.size)}" if step.pin is not None else ""
            click.echo(f"would {step.kind} {step.label}{extra}", err=True)


def _link(session: Session, link: Path, objects: list[str]) -> None:
    """Links as Nix makes them: LINK for the first output, LINK-2 and so on for more."""
    for number, name in enumerate(objects, 1):
        path = link if number == 1 else link.with_name(f"{link.name}-{number}")
        if path.exists() and not path.is_symlink():
            raise HermeticError(f"--out-link {path} exists and is not a link", hint="choose another name")
        session.store.add_link_root(path.absolute(), name)
