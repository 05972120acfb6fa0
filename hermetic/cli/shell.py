"""`hermetic shell`."""

from __future__ import annotations

import os
import sys

import click
import msgspec

from hermetic.cli.display import display
from hermetic.derivation.value import Build
from hermetic.errors import UsageError
from hermetic.sandbox.spec import Mount
from hermetic.session import Session


@click.command()
@click.argument("target")
@click.option(
    "--fresh", is_flag=True, help="Start in a new work directory, even if one of a failed build was kept."
)
@click.option(
    "-c", "--command", "script", metavar="SCRIPT", help="Run SCRIPT instead of an interactive shell."
)
@click.pass_obj
def command(session: Session, target: str, fresh: bool, script: str | None) -> None:
    """Open a shell in the sandbox of TARGET's build.

    It has the inputs, the environment and the user of the build. After `hermetic realize --keep-failed` it
    opens in the work directory of the build that failed. The build itself is: sh -eu /build/build.sh
    """
    from hermetic.realize.local import prepare, specification
    from hermetic.realize.steps import workspace_label
    from hermetic.sandbox.client import Sandbox

    instance = session.instantiate(target)
    step = instance.graph.steps[instance.graph.root]
    drv = step.derivation
    if not isinstance(drv, Build):
        raise UsageError(
            f"{target} is unpacked, not built, and so has no sandbox",
            hint=f"`hermetic realize {target}` prints where it is unpacked",
        )
    with display() as listener:
        paths = session.realize_inputs(target, listener=listener)
    kept = [] if fresh else session.store.kept_failures(f"{workspace_label(step)}-")
    with session.store.workspace(f"shell-{drv.name}") as space, Sandbox() as sandbox:
        mounts = prepare(drv, paths, space)
        if kept:
            inside = {"/build": kept[0] / "build", drv.out: kept[0] / "out"}
            mounts = tuple(
                Mount(str(inside[m.target]), m.target, writable=True) if m.target in inside else m
                for m in mounts
            )
        spec = specification(drv, mounts, None)
        jobs = str(os.cpu_count() or 1)
        spec = msgspec.structs.replace(
            spec,
            argv=("/bin/sh", "-c", script) if script is not None else ("/bin/sh",),
            env={**spec.env, "JOBS": jobs, "MAKEFLAGS": f"-j{jobs}", "PS1": f"[{drv.name}] \\w $ "},
        )
        if script is None:
            where = f"the work directory of the failed build, {kept[0]}" if kept else "a new work directory"
            print(f"in {where}; the build is: sh -eu /build/build.sh", file=sys.stderr)
        sys.exit(sandbox.run_interactive(spec))
