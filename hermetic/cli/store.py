"""`hermetic store`: inspect, check and repair the store."""

from __future__ import annotations

import os
import sys
import time

import click
import msgspec

from hermetic.cli.output import write_json
from hermetic.cli.progress import counted, size
from hermetic.cli.usage import Group, jobs_option
from hermetic.errors import StoreError, UsageError
from hermetic.session import Session


@click.group(cls=Group)
def command() -> None:
    """Inspect, check and repair the store.

    OBJECT is a realized target, the name of an object, or a path or link to or into one.
    """


@command.command(name="path-info")
@click.argument("objects", nargs=-1, metavar="[OBJECT...]")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def path_info(session: Session, objects: tuple[str, ...], as_json: bool) -> None:
    """Print size, age and origin of OBJECTs.

    Without OBJECT, all objects are listed.
    """
    store = session.existing_store
    names = [session.object_of(o) for o in objects] or [info.name for info in store.objects()]
    records = []
    for name in names:
        info = store.info(name)
        assert info is not None
        made = store.realisations_of(name)
        records.append(
            {
                **msgspec.to_builtins(info),
                "path": str(store.path(name)),
                "realisations": [msgspec.to_builtins(r) for r in made],
            }
        )
    if as_json:
        write_json(records)
        return
    for record in records:
        when = time.strftime("%Y-%m-%d", time.localtime(record["registered_at"]))
        click.echo(
            f"{record['path']}  {size(record['size'])}, {counted(record['files'], 'file')}, since {when}"
        )
        if objects:
            for made in record["realisations"]:
                click.echo(f"    derivation {made['drv_id']}, {made['seconds']:.1f} s")
                for needed in made["inputs"]:
                    click.echo(f"        from {needed}")


@command.command()
@click.pass_obj
def du(session: Session) -> None:
    """Print the size of every object, the largest last."""
    infos = sorted(session.existing_store.objects(), key=lambda info: info.size)
    for info in infos:
        click.echo(f"{size(info.size):>10}  {info.name}")
    click.echo(f"{size(sum(i.size for i in infos)):>10}  {counted(len(infos), 'object')}")


@command.command()
@click.argument("objects", nargs=-1, metavar="[OBJECT...]")
@click.option("--repair", is_flag=True, help="Fetch or build again what is missing or altered.")
@jobs_option
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def verify(session: Session, objects: tuple[str, ...], repair: bool, jobs: int | None, as_json: bool) -> None:
    """Hash objects (default: all) and compare with their names.

    With --repair, a damaged object is replaced only by bytes with the right hash.
    """
    from hermetic.store import integrity

    store = session.existing_store
    names = [session.object_of(o) for o in objects] or None
    report = integrity.verify(store, names, jobs=jobs, progress=_progress if sys.stderr.isatty() else None)
    if as_json:
        write_json({**msgspec.to_builtins(report), "clean": report.clean})
    else:
        _print(report)
    broken = [*report.missing, *report.altered]
    if repair:
        restored = integrity.restore_records(store)
        if restored:
            print(f"restored {counted(restored, 'record')}", file=sys.stderr)
        if broken:
            from hermetic.cli.repairing import repair_all

            repair_all(session, broken, jobs or os.cpu_count() or 1)
            return
    if broken:
        count = f"{len(broken)} of {counted(report.checked + len(report.missing), 'object')}"
        shown = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        raise StoreError(
            f"missing or altered, {count}: {shown}",
            hint="`hermetic store verify --repair` fetches or builds them again",
        )


def _print(report: object) -> None:
    from hermetic.store.integrity import Report

    assert isinstance(report, Report)
    for name in report.missing:
        click.echo(f"missing       {name}")
    for name, differences in report.altered.items():
        click.echo(f"altered       {name}")
        for difference in differences[:10]:
            click.echo(f"                  {difference}")
        if len(differences) > 10:
            click.echo(f"                  and {len(differences) - 10} more")
    for name in report.unregistered:
        click.echo(f"unregistered  {name}  (`hermetic gc` removes it)")
    for name in report.foreign:
        click.echo(f"foreign       {name}")
    for name in report.records:
        click.echo(f"record        {name}  (--repair restores it)")
    print(f"{counted(report.checked, 'object')} hashed, {size(report.size)}", file=sys.stderr)


def _progress(done: int, hashed: int) -> None:
    print(f"\r{done} objects, {size(hashed)} ", end="", file=sys.stderr, flush=True)


def _sharing(done: int, total: int) -> None:
    print(f"\r{done} of {total} groups of equal files ", end="", file=sys.stderr, flush=True)


@command.command()
@click.argument("objects", nargs=-1, required=True, metavar="OBJECT...")
@click.pass_obj
def delete(session: Session, objects: tuple[str, ...]) -> None:
    """Delete OBJECTs, unless a root keeps them."""
    from hermetic.gc import collection

    freed = collection.delete(session.existing_store, [session.object_of(o) for o in objects])
    print(f"freed {size(freed)}", file=sys.stderr)


@command.command()
@click.pass_obj
def optimise(session: Session) -> None:
    """Share disk space between equal files of all objects."""
    from hermetic.store.optimising import optimise as share

    found = share(session.existing_store, progress=_sharing if sys.stderr.isatty() else None)
    for name in found.skipped:
        click.echo(f"altered, left as it is: {name}", err=True)
    objects, files = counted(found.objects, "object"), counted(found.files, "file")
    print(f"{objects}: {files} more share their content now, freed {size(found.freed)}", file=sys.stderr)


@command.command(name="rebuild-db")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def rebuild_db(session: Session, as_json: bool) -> None:
    """Rebuild a damaged database from the objects and records.

    The old database is kept beside the new one.
    """
    from hermetic.store.rebuilding import rebuild_db as rebuild

    if not session.store_path.is_dir():
        raise UsageError(f"there is no store at {session.store_path}")
    found = rebuild(session.store_path)
    if as_json:
        write_json(msgspec.structs.asdict(found) | {"old": str(found.old) if found.old else None})
        return
    click.echo(
        f"registered {counted(found.objects, 'object')} and {counted(found.realisations, 'realisation')}"
    )
    for name in found.altered:
        click.echo(f"altered, not registered: {name}")
    for name in found.unusable:
        click.echo(f"unusable record: {name}")
    if found.old:
        click.echo(f"the old database: {found.old}")


@command.command()
@click.pass_obj
def roots(session: Session) -> None:
    """List what keeps objects in the store, with running processes."""
    from hermetic.gc import collection

    for root in collection.all_roots(session.existing_store):
        click.echo(f"{root.kind:8} {root.name}  {root.object}")


@command.command(name="export-list")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.pass_obj
def export_list(session: Session, targets: tuple[str, ...]) -> None:
    """Print which outputs TARGETs and all below have in this store.

    Others compare their builds with the list by `hermetic verify --against`.
    """
    from hermetic.store import published

    sys.stdout.buffer.write(published.format(session.published(targets)))
