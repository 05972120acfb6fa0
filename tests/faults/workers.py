"""Tries several cases at a time: processes, each with a project, a server and stores of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.faults.bench import Bench, Case, benches
from tests.faults.plan import Outcome, attempt

_bench: Bench | None = None
_keep = ExitStack()  # the bench of a worker lives as long as the worker


class Unavailable(Exception):
    """This machine lacks what the project needs: a sandbox, or its seed."""


def outcomes(todo: Sequence[Case], folder: Path, jobs: int) -> Generator[Outcome, None, None]:
    """Try cases; gives what became of them as they end.

    Raises:
        Unavailable.
    """
    context = get_context("spawn")  # nothing of this process is in a worker
    pool = ProcessPoolExecutor(max(1, min(jobs, len(todo))), context, initializer=_ignore_ctrl_c)
    try:
        for future in as_completed([pool.submit(_try, case, folder) for case in todo]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_ctrl_c() -> None:
    """The parent decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _try(case: Case, folder: Path) -> Outcome:
    global _bench
    if _bench is None:
        mine = folder / f"worker-{os.getpid()}"
        mine.mkdir()
        try:
            _bench = _keep.enter_context(benches(mine))
        except pytest.skip.Exception as reason:
            raise Unavailable(str(reason)) from None
    return attempt(_bench, case)
