"""`hermetic verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from hermetic.cli import verdicts
from hermetic.cli.display import display
from hermetic.cli.output import write_json
from hermetic.cli.usage import (
    all_option,
    asked,
    jobs_option,
    keep_going_option,
    substitute_option,
    whole_number,
)
from hermetic.errors import NotReproducible, UsageError
from hermetic.filesystem import translated
from hermetic.project.worktree import LOCK_FILE
from hermetic.session import Session
from hermetic.verify.perturb import NAMES, choose
from hermetic.verify.verdict import Report


@click.command()
@click.argument("targets", nargs=-1, metavar="TARGET...")
@all_option
@click.option("--closure", is_flag=True, help="Rebuild everything below TARGET, too.")
@click.option(
    "--rounds",
    type=whole_number(1, 1000),
    default="1",
    show_default=True,
    metavar="N",
    help="Rebuild each of them N times.",
)
@jobs_option
@keep_going_option
@click.option("--perturb", multiple=True, metavar="NAME", help="Vary only this condition (repeatable).")
@click.option("--no-perturb", multiple=True, metavar="NAME", help="Vary all but this condition (repeatable).")
@click.option("--keep", metavar="DIR", help="If outputs differ, leave both in DIR.")
@click.option("--diffoscope", is_flag=True, help="Show differences with diffoscope, which must be installed.")
@click.option(
    "--accept", is_flag=True, help="If all are the same, write their hashes to flake-like.lock as expected."
)
@click.option(
    "--report", "report_file", metavar="FILE", help="Write the results to FILE as a Markdown table."
)
@click.option(
    "--against",
    metavar="FILE|DIR|URL",
    help="Do not rebuild: compare with what others have built (see `hermetic store export-list`).",
)
@click.option(
    "--list-perturbations", is_flag=True, help="List the conditions that are varied, and do nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@substitute_option
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    every: bool,
    closure: bool,
    rounds: int,
    jobs: int | None,
    keep_going: bool,
    perturb: tuple[str, ...],
    no_perturb: tuple[str, ...],
    keep: str | None,
    diffoscope: bool,
    accept: bool,
    report_file: str | None,
    against: str | None,
    list_perturbations: bool,
    as_json: bool,
    substitute: tuple[Path, ...],
) -> None:
    """Rebuild TARGETs under varied conditions, and compare the outputs with the store bit for bit.

    Each condition (--list-perturbations) is one that must not change the output: place, clock, host name ...

    Exit codes: 0 the same bytes, 104 an output differs, 100 a build or rebuild failed.

    \b
    hermetic verify zlib-aarch64
    hermetic verify --closure cpython-x86_64 cpython-aarch64
    hermetic verify --all                         every system's interpreter
    """
    if list_perturbations:
        for name, text in NAMES.items():
            click.echo(f"{name:10} {text}")
        return
    session: Session = ctx.obj
    targets = asked(ctx, targets, every)
    on = choose(perturb, no_perturb)
    if report_file is not None and not Path(report_file).absolute().parent.is_dir():
        raise UsageError(f"--report {report_file}: no such directory")
    if diffoscope and not _has_diffoscope():
        raise UsageError(
            "diffoscope is not installed", hint="leave --diffoscope out: verify itself names the differences"
        )
    if against is not None:
        _compare(session, targets, against, as_json)
        return
    with display() as listener:
        report = session.verify(
            targets,
            closure=closure,
            rounds=rounds,
            jobs=jobs,
            keep_going=keep_going,
            perturb=on.on,
            keep=keep or ("verify-differences" if diffoscope else None),
            substitute=substitute,
            listener=listener,
        )
    if as_json:
        write_json(msgspec.to_builtins(report))
    else:
        verdicts.show(report)
    if report_file is not None:
        from hermetic.verify.table import markdown

        with translated(report_file, "write"):
            Path(report_file).write_text(markdown(report))
    if diffoscope:
        _hand_over(report)
    if accept and report.reproducible:
        for line in session.accept(report) or [f"{LOCK_FILE} expects all of this already"]:
            click.echo(line, err=True)
    verdicts.conclude(report)


def _compare(session: Session, targets: tuple[str, ...], source: str, as_json: bool) -> None:
    result = session.agreement(targets, source)
    if as_json:
        write_json(msgspec.to_builtins(result))
    else:
        for row in result.rows:
            what = f" ({row.system})" if row.system else ""
            click.echo(f"{row.verdict:9} {row.name}-{row.version}{what}")
            if row.verdict == "disagree":
                click.echo(f"    here:  {', '.join(row.mine)}")
                click.echo(f"    there: {', '.join(row.theirs)}")
    summary = ", ".join(f"{result.count(v)} {v}" for v in ("agree", "disagree", "unknown"))
    click.echo(summary, err=True)
    if result.count("disagree"):
        raise NotReproducible(f"{source} differs: {summary}")


def _has_diffoscope() -> bool:
    import shutil

    return shutil.which("diffoscope") is not None


def _hand_over(report: Report) -> None:
    import subprocess

    for verdict in report.verdicts:
        if verdict.kept:
            sys.stdout.flush()
            subprocess.run(["diffoscope", f"{verdict.kept}/first", f"{verdict.kept}/rebuild"], check=False)
