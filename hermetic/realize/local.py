"""Executes builds in sandboxes on this machine."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from hermetic import tree
from hermetic.derivation.step import Step
from hermetic.derivation.value import Build
from hermetic.errors import BuildFailure, BuildTimeout
from hermetic.filesystem import translated
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import Listener, Phase
from hermetic.realize.executor import Request
from hermetic.realize.jobserver import INSIDE, Jobserver
from hermetic.sandbox.client import Result, Running, Sandbox
from hermetic.sandbox.spec import Mount, SandboxSpec

SCRIPT: Final = "/build/build.sh"
TAIL_LINES: Final = 20  # of a log, in the report of a failure
_TAIL: Final = 64 * 1024  # bytes of a log that are read for it
_LINE: Final = 1000  # characters of a line in it
_FULL: Final = 1 << 20  # bytes free, below which a failure may be due to the disk
_SOURCE_TIME: Final = 315532800  # 1980-01-01, the same as SOURCE_DATE_EPOCH


def prepare(drv: Build, inputs: Mapping[str, Path], work: Path) -> tuple[Mount, ...]:
    """Lay out the work directory of a build: copies of the sources, the script, an empty output.

    Args:
        inputs: derivation id to the path of its store object.
        work: an empty directory.

    Returns:
        what the sandbox is to mount.
    """
    build, out = work / "build", work / "out"
    build.mkdir()
    out.mkdir()
    for path, drv_id in sorted(drv.sources.items()):
        place = work / path.lstrip("/")
        place.parent.mkdir(exist_ok=True)
        # All times equal: make takes no source for newer than what upstream generated from it.
        tree.copy(inputs[drv_id], place, writable=True, mtime=_SOURCE_TIME)
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
    """Runs builds in sandboxes, and shares the cores of this machine among all that computes in a run.

    Places are tokens of one GNU make jobserver: a build that is admitted has one, and each make inside it
    takes another for each further job. Unpacking is admitted here, too.

    Args:
        space: a directory for the jobserver's pipe.
        jobs: cores to use, at least 1.
        transform: has the last word on each build's sandbox; called when the work directory is filled.
    """

    def __init__(
        self,
        space: Path,
        jobs: int,
        listener: Listener,
        *,
        transform: Callable[[Build, SandboxSpec], SandboxSpec] | None = None,
    ) -> None:
        self.capacity = jobs
        self._jobserver = Jobserver(space / "jobserver", jobs)
        self._listener = listener
        self._transform = transform
        self._sandbox = Sandbox()
        self._running: set[Running] = set()
        self._inside = 0
        self._mutex = threading.Lock()
        self._cancelled = False

    def admit(self) -> bool:
        """Take a token, if one is free; see `executor.Admission`."""
        with self._mutex:
            if self._inside == 0:
                self._jobserver.refill()
            admitted = self._inside < self.capacity and self._jobserver.try_acquire()
            self._inside += admitted
            return admitted

    def leave(self) -> None:
        """Give a token back."""
        with self._mutex:
            self._inside -= 1
            self._jobserver.release()

    def execute(self, request: Request) -> Path:
        """Build; see `executor.Executor`."""
        step, drv = request.step, request.step.derivation
        assert isinstance(drv, Build)
        if drv.sources:
            self._listener(Phase(step.drv_id, "copying sources"))
        spec = self._specify(drv, request)
        self._listener(Phase(step.drv_id, ""))
        result = self._logged(spec, request.log)
        if result.exceeded:
            raise _excessive(step, result.exceeded, request.log)
        if result.cancelled:
            raise Cancelled
        if not result.ok:
            raise _failure(step, result, request.log)
        out = request.work / "out"
        if not any(out.iterdir()):
            raise BuildFailure(
                f"{step.label}: build.sh succeeded but left nothing in $out",
                details=_report(request.log),
                hint=f"install to {drv.out}",
            )
        return out

    def _specify(self, drv: Build, request: Request) -> SandboxSpec:
        """Fill the work directory, and add to the sandbox what depends on the machine's size."""
        mounts = prepare(drv, request.inputs, request.work)
        jobserver = Mount(str(self._jobserver.path), INSIDE, writable=True)
        spec = specification(drv, (*mounts, jobserver), request.step.timeout)
        size = {"JOBS": str(self.capacity), "MAKEFLAGS": self._jobserver.makeflags()}
        step = request.step
        spec = replace(spec, env={**spec.env, **size}, log_limit=step.log_limit, processes=step.process_limit)
        return spec if self._transform is None else self._transform(drv, spec)

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

    def _run(self, spec: SandboxSpec, log: int) -> Result:
        if self._cancelled:
            raise Cancelled
        # Outside of the mutex: for root, starting hands the whole work directory to the build's user.
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
        """Stop the sandbox server and remove the jobserver."""
        self._sandbox.close()
        self._jobserver.close()


def _excessive(step: Step, what: str, log: Path) -> BuildFailure:
    """The failure of a build that was stopped because it exceeded a limit."""
    recipe = f"derivations/{step.derivation.name}/recipe.toml"
    found, hint = {
        "log": (
            f"its log is larger than {step.log_limit / (1 << 20):g} MiB",
            f"a larger one can be allowed as `log-limit` (in MiB) in {recipe}",
        ),
        "processes": (
            f"it started more than {step.process_limit} processes and threads at the same time",
            f"more can be allowed as `process-limit` in {recipe}",
        ),
        "memory": (
            "the machine has no memory left, and this build uses most of it",
            "free some memory, add swap space, or build less at the same time (-j1)",
        ),
        "disk": (
            "the disk that it is built on is full",
            "free some space; `hermetic gc` deletes what nothing needs any more",
        ),
    }[what]
    return BuildFailure(f"{step.label}: {found}, and the build was stopped", details=_report(log), hint=hint)


def _failure(step: Step, result: Result, log: Path) -> BuildFailure:
    if result.timed_out:
        return BuildTimeout(
            f"{step.label}: still running after {step.timeout} s, and killed",
            details=_report(log),
            hint=f"a longer time can be given as `timeout` in derivations/{step.derivation.name}/recipe.toml",
        )
    how = f"killed by signal {result.signal}" if result.signal else f"exit status {result.exit_status}"
    report, causes = _report(log), []
    if result.killed_for_memory:
        count = result.killed_for_memory
        causes.append(
            f"no memory was left: processes that the kernel killed since hermetic was started: {count}"
        )
    if any(os.strerror(errno.EAGAIN) in line for line in report):
        causes.append(f"`process-limit`: {step.process_limit} processes and threads at the same time")
    return BuildFailure(
        f"{step.label}: build.sh failed: {how}",
        details=(*report, *causes),
        hint=f"`hermetic log {step.target}` prints all of it;"
        f" `hermetic shell {step.target}` opens the sandbox by hand",
    )


def _report(log: Path) -> tuple[str, ...]:
    """The log's last lines and its path."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    lines = [line if len(line) <= _LINE else f"... {line[-_LINE:]}" for line in lines]
    status = os.statvfs(log)
    space = status.f_bavail * status.f_frsize  # bytes
    # The log may lack the very line that says so.
    full = (f"no space left on the disk of the store ({space / 1e6:.1f} MB free)",) if space < _FULL else ()
    return (*(f"| {line}" for line in lines), f"log: {log}", *full)
