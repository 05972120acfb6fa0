"""`hermetic realize`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.output import write_json
from hermetic.errors import HermeticError
from hermetic.session import Session

if TYPE_CHECKING:
    from hermetic.derivation.instantiate import Instance


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("-j", "--jobs", type=click.IntRange(1, 1024), help="Cores to use. Default: all.")
@click.option(
    "-k", "--keep-going", is_flag=True, help="After a failure go on with what does not depend on it."
)
@click.option("--keep-failed", is_flag=True, help="Keep the work folder of a build that fails.")
@click.option("--offline", is_flag=True, help="Download nothing; name every source that is missing.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be fetched and built, and stop.")
@click.option("-o", "--out-link", metavar="LINK", help="Make a link to the output; it is a gc root.")
@click.option("--json", "as_json", is_flag=True, help="Print targets, derivations and paths as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show the output of builds.")
@click.pass_obj
def command(
    session: Session,
    targets: tuple[str, ...],
    jobs: int | None,
    keep_going: bool,
    keep_failed: bool,
    offline: bool,
    dry_run: bool,
    out_link: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Build TARGETs, or find them built, and print one store path for each.

    \b
    hermetic realize cpython-aarch64
    hermetic realize cpython-3.13.15-x86_64 -o result
    """
    instances = session.instances(targets)
    objects = _already_there(session, instances)
    if objects is None:
        from hermetic.cli.building import Options, realize_all

        options = Options(
            jobs=jobs or os.cpu_count() or 1,
            keep_going=keep_going,
            keep_failed=keep_failed,
            offline=offline,
            dry_run=dry_run,
            verbose=verbose,
        )
        objects, failure = realize_all(session, instances, options)
    else:
        failure = None
        for target, name in objects.items():
            if "@" not in target:
                session.store.put_answer(session.fingerprint(), target, name)
        if dry_run:
            click.echo("nothing to do", err=True)
    if dry_run:
        return
    if out_link:
        _link(session, Path(out_link), list(objects.values()))
    if as_json:
        write_json(
            [
                {
                    "target": i.target.label,
                    "derivation": i.graph.root,
                    "object": objects[i.target.label],
                    "path": str(session.store.path(objects[i.target.label])),
                }
                for i in instances
                if i.target.label in objects
            ]
        )
    else:
        for name in objects.values():
            click.echo(session.store.path(name))
    if failure is not None:
        raise failure


def realize(session: Session, targets: list[str]) -> dict[str, str]:
    """Realize targets for another command, with the usual options; target to store object.

    Raises:
        HermeticError: one of them could not be realized.
    """
    instances = session.instances(targets)
    objects = _already_there(session, instances)
    if objects is None:
        from hermetic.cli.building import Options, realize_all

        objects, failure = realize_all(session, instances, Options(jobs=os.cpu_count() or 1))
        if failure is not None:
            raise failure
    return objects


def realize_inputs(session: Session, instance: Instance) -> dict[str, Path]:
    """Realize what a build needs, but not the build; derivation id to path of the object."""
    from hermetic.cli.building import Options, realize_derivations
    from hermetic.derivation.value import inputs_of

    needed = inputs_of(instance.graph[instance.graph.root])
    objects = realize_derivations(session, [instance], needed, Options(jobs=os.cpu_count() or 1))
    return {drv_id: session.store.path(name) for drv_id, name in objects.items()}


def _already_there(session: Session, instances: list[Instance]) -> dict[str, str] | None:
    """The short way: every target is realized. Imports nothing that builds."""
    objects = {}
    for instance in instances:
        found = session.store.realisation(instance.graph.root)
        if found is None:
            return None
        session.store.keep(found.object)
        if not session.store.intact(found.object):
            return None
        objects[instance.target.label] = found.object
    return objects


def _link(session: Session, link: Path, objects: list[str]) -> None:
    """Links as Nix makes them: LINK for the first output, LINK-2 and so on for more."""
    for number, name in enumerate(objects, 1):
        path = link if number == 1 else link.with_name(f"{link.name}-{number}")
        if path.exists() and not path.is_symlink():
            raise HermeticError(f"--out-link {path}: exists and is no link", hint="choose another name")
        session.store.add_link_root(path.absolute(), name)
