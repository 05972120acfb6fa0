"""What an executor is: something that runs the scripts of builds, as many at once as it has room for.

The one here is `local.LocalExecutor`. Another one is a class with these methods that passes the tests in
`tests/sandbox/test_executor.py`. It may run builds on other machines; their inputs are ordinary paths here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from hermetic.derivation.step import Step
from hermetic.realize.cancel import Cancelled

POLL: Final = (
    0.05  # seconds between looks at an admission that others have emptied, such as a make in a build
)


class Request(msgspec.Struct, frozen=True):
    """One build to execute.

    Attributes:
        step: of a build.
        inputs: derivation id to the path of its store object, for all inputs and sources. Read-only.
        work: an empty directory for this build alone.
        log: where its output goes while it runs; what stood there is overwritten.
    """

    step: Step
    inputs: Mapping[str, Path]
    work: Path
    log: Path


class Admission(Protocol):
    """Room for work, so that a machine is full and never oversubscribed."""

    @property
    def capacity(self) -> int:
        """How many can be inside at once, at least 1."""

    def admit(self) -> bool:
        """Take a place, if one is free now. Never waits."""

    def leave(self) -> None:
        """Give a place back."""


class Executor(Admission, Protocol):
    """Runs builds. `execute` is called from several threads, each of which was admitted before."""

    def execute(self, request: Request) -> Path:
        """Build, and return the tree that was made, below the request's work directory.

        Raises:
            BuildFailure: the script failed, or left no output; the details have the end of the log.
            BuildTimeout: it ran for longer than its step allows, and was killed.
            SandboxError: it could not be run. Cancelled: it was stopped.
        """

    def cancel(self) -> None:
        """Stop everything that runs, now, and whatever is still asked for. From any thread."""

    def close(self) -> None:
        """Let go of everything. May be called more than once."""


@contextmanager
def admitted(admission: Admission, stop: threading.Event | None = None) -> Iterator[None]:
    """Wait for a place and hold it for the time of a block.

    Raises:
        Cancelled: `stop` was set while waiting.
    """
    while not admission.admit():
        if stop is None:
            time.sleep(POLL)
        elif stop.wait(POLL):
            raise Cancelled
    try:
        yield
    finally:
        admission.leave()
