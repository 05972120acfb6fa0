"""Executes builds in sandboxes on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hermetic import tree
from hermetic.derivation.step import Step
from hermetic.derivation.value import Build
from hermetic.errors import BuildFailure, BuildTimeout
from hermetic.filesystem import translated
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import Listener, Phase
from hermetic.realize.jobserver import INSIDE, Jobserver
from hermetic.sandbox.client import Result, Running, Sandbox
from hermetic.sandbox.spec import Mount, SandboxSpec

SCRIPT: Final = "/build/build.sh"
TAIL_LINES: Final = 20  # of a log, in the report of a failure
_FULL: Final = 1 << 20  # bytes free, below which a failure may be due to the disk
_SOURCE_TIME: Final = 315532800  # 1980-01-01, the same as SOURCE_DATE_EPOCH


def prepare(drv: Build, inputs: Mapping[str, Path], work: Path) -> tuple[Mount, ...]:
    """Lay out the work folder of a build: copies of the sources, the script, an empty output.

    Args:
        inputs: derivation id to the path of its store object.
        work: an empty folder.

    Returns:
        what the sandbox is to mount.
    """
    build, out = work / "build", work / "out"
    build.mkdir()
    out.mkdir()
    for path, drv_id in sorted(drv.sources.items()):
        # All times equal: make takes no source for newer than what upstream generated from it.
        tree.copy(inputs[drv_id], work / path.lstrip("/"), writable=True, mtime=_SOURCE_TIME)
    (build / "build.sh").write_text(drv.script, encoding="utf-8")
    return (
        Mount(str(build), "/build", writable=True),
        Mount(str(out), drv.out, writable=True),
        *(Mount(str(inputs[drv_id]), path) for path, drv_id in sorted(drv.inputs.items())),
    )


def specification(drv: Build, mounts: tuple[Mount, ...], timeout: float | None) -> SandboxSpec:
    """The sandbox of a build, all but what depends on the machine's size."""
    return SandboxSpec(
        argv=("/bin/sh", "-eu", SCRIPT),
        env=dict(drv.env),
        cwd="/build/source" if "/build/source" in drv.sources else "/build",
        mounts=mounts,
        links=dict(drv.links),
        timeout=timeout,
    )


class LocalExecutor:
    """Runs build scripts in sandboxes, several at once if asked from several threads."""

    def __init__(self, jobserver: Jobserver, listener: Listener) -> None:
        self.jobserver = jobserver
        self._listener = listener
        self._sandbox = Sandbox()
        self._running: set[Running] = set()
        self._mutex = threading.Lock()
        self._cancelled = False

    def execute(self, step: Step, inputs: Mapping[str, Path], work: Path, log: Path) -> Path:
        """Build; see `steps.Executor`."""
        drv, drv_id = step.derivation, step.drv_id
        assert isinstance(drv, Build)
        if drv.sources:
            self._listener(Phase(drv_id, "copying sources"))
        mounts = (*self.lay_out(drv, inputs, work), Mount(str(self.jobserver.path), INSIDE, writable=True))
        spec = self.adjust(specification(drv, mounts, step.timeout))
        self._listener(Phase(drv_id, ""))
        result = self._logged(spec, log)
        if result.cancelled:
            raise Cancelled
        if not result.ok:
            raise _failure(step, result, log)
        out = work / "out"
        if not any(out.iterdir()):
            raise BuildFailure(
                f"{step.label}: build.sh succeeded but left nothing in $out",
                details=_report(log),
                hint=f"install to {drv.out}",
            )
        return out

    def _logged(self, spec: SandboxSpec, log: Path) -> Result:
        # A link or a named pipe may have been put there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with translated(log, "write"):
            file = os.open(log, flags, 0o644)
        try:
            os.set_blocking(file, True)
            return self._run(spec, file)
        finally:
            os.close(file)

    def lay_out(self, drv: Build, inputs: Mapping[str, Path], work: Path) -> tuple[Mount, ...]:
        """Fill the work folder. Verification does it otherwise in a subclass."""
        return prepare(drv, inputs, work)

    def adjust(self, spec: SandboxSpec) -> SandboxSpec:
        """Add what depends on the machine's size. Verification perturbs more in a subclass."""
        env = {**spec.env, "JOBS": str(self.jobserver.jobs), "MAKEFLAGS": self.jobserver.makeflags()}
        return SandboxSpec(**{f: getattr(spec, f) for f in spec.__struct_fields__} | {"env": env})

    def _run(self, spec: SandboxSpec, log: int) -> Result:
        # Outside of the mutex: for root, starting hands the whole work folder to the build's user.
        running = self._sandbox.start(spec, log)
        with self._mutex:
            self._running.add(running)
            if self._cancelled:
                running.cancel()
        try:
            return running.wait()
        finally:
            with self._mutex:
                self._running.discard(running)

    def cancel(self) -> None:
        """Kill every build."""
        with self._mutex:
            self._cancelled = True
            for running in self._running:
                running.cancel()

    def close(self) -> None:
        """Stop the sandbox server."""
        self._sandbox.close()


def _failure(step: Step, result: Result, log: Path) -> BuildFailure:
    if result.timed_out:
        return BuildTimeout(
            f"{step.label}: still running after {step.timeout} s, and killed",
            details=_report(log),
            hint=f"a longer time can be given as `timeout` in derivations/{step.derivation.name}/recipe.toml",
        )
    how = f"killed by signal {result.signal}" if result.signal else f"exit status {result.exit_status}"
    return BuildFailure(
        f"{step.label}: build.sh failed: {how}",
        details=_report(log),
        hint=f"`hermetic log {step.target}` prints all of it;"
        f" `hermetic shell {step.target}` opens the sandbox by hand",
    )


def _report(log: Path) -> tuple[str, ...]:
    """The log's last lines and its path."""
    lines = log.read_bytes()[-64 * 1024 :].decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    status = os.statvfs(log)
    space = status.f_bavail * status.f_frsize  # bytes
    # The log may lack the very line that says so.
    full = (f"no space left on the disk of the store ({space / 1e6:.1f} MB free)",) if space < _FULL else ()
    return (*(f"| {line}" for line in lines), f"log: {log}", *full)
