"""A shell in the sandbox of a build, on this process's terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hermetic.derivation.step import Step
from hermetic.derivation.value import Build
from hermetic.realize.local import prepare, specification
from hermetic.realize.steps import workspace_label
from hermetic.sandbox.client import Sandbox
from hermetic.sandbox.spec import Mount
from hermetic.store.store import Store


def failed_work(store: Store, step: Step) -> Path | None:
    """The work directory of the last build of this recipe that failed and was kept."""
    return next(iter(store.kept_failures(f"{workspace_label(step)}-")), None)


def enter(
    store: Store,
    step: Step,
    inputs: Mapping[str, Path],
    *,
    script: str | None = None,
    work: Path | None = None,
) -> int:
    """Run a shell with the mounts, the environment and the user that the build has.

    Args:
        step: a build. inputs: derivation id to the path of its store object.
        script: run this instead of an interactive shell.
        work: the kept work directory of a failed build; None for a new one.

    Returns:
        the exit status.
    """
    drv = step.derivation
    assert isinstance(drv, Build)
    with store.workspace(f"shell-{drv.name}") as space, Sandbox() as sandbox:
        mounts = prepare(drv, inputs, space)
        if work is not None:
            kept = {"/build": work / "build", drv.out: work / "out"}
            mounts = tuple(
                Mount(str(kept[m.target]), m.target, writable=True) if m.target in kept else m for m in mounts
            )
        spec = specification(drv, mounts, None)
        jobs = str(os.cpu_count() or 1)
        spec = msgspec.structs.replace(
            spec,
            argv=("/bin/sh", "-c", script) if script is not None else ("/bin/sh",),
            env={**spec.env, "JOBS": jobs, "MAKEFLAGS": f"-j{jobs}", "PS1": f"[{drv.name}] \\w $ "},
        )
        return sandbox.run_interactive(spec)
