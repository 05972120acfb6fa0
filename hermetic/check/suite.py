"""Runs a test suite: each file in a process and a sandbox of its own, several at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, Protocol

from hermetic.check.result import Case, Ending, FileResult, read_junit
from hermetic.check.room import Ran, Room
from hermetic.errors import HermeticError, UsageError
from hermetic.realize.cancel import Cancelled
from hermetic.realize.events import Failed, Finished, How, Listener, Planned, Started
from hermetic.sandbox.client import Result

JUNIT: Final = "junit.xml"  # in the working directory of a test file
_TAIL: Final = 16_384  # characters of a log that are kept
_LINES: Final = 20  # of an output, in an error


class Suite(Protocol):
    """Test files, and how one of them is run.

    Attributes:
        failed, empty: the exit statuses that mean that tests failed, and that none ran.
    """

    failed: int
    empty: int

    def files(self, room: Room) -> tuple[str, ...]:
        """The test files that the suite has, by name.

        Raises:
            HermeticError: the interpreter does not have it, or cannot run it.
        """
        ...

    def start(self, room: Room, name: str, timeout: float) -> Ran:
        """Run one file to its end; what is kept is its report, as JUnit XML."""
        ...


def chosen(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The test files that patterns ask for; all without any.

    Raises:
        UsageError: a pattern asks for none.
    """
    for pattern in patterns:
        if not any(_asks_for(pattern, name) for name in names):
            raise UsageError(
                f"no test file is named {pattern!r}", hint="`*` matches anything: --tests 'test_asyncio.*'"
            )
    return tuple(n for n in names if not patterns or any(_asks_for(p, n) for p in patterns))


def _asks_for(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")


def run(
    suite: Suite, room: Room, names: Sequence[str], *, jobs: int, timeout: float, listener: Listener
) -> list[FileResult]:
    """Run test files. Returns their results in the order of the names.

    Args:
        jobs: how many run at the same time.
        timeout: seconds, for each file.
    """
    from concurrent.futures import ThreadPoolExecutor  # slow to load

    listener(Planned(0, 0, 0, len(names), checks=len(names)))
    with ThreadPoolExecutor(jobs, "check") as pool:
        try:
            runs = [pool.submit(_run_file, suite, room, name, timeout, listener) for name in names]
            return [run.result() for run in runs]
        except BaseException:
            # Before the end of the `with`, which waits for what runs.
            pool.shutdown(wait=False, cancel_futures=True)
            room.stop()
            raise


def _run_file(suite: Suite, room: Room, name: str, timeout: float, listener: Listener) -> FileResult:
    label = f"{name} ({room.interpreter.arch})"
    listener(Started(name, label, "check"))
    ran = suite.start(room, name, timeout)
    if ran.result.cancelled:
        raise Cancelled
    result = concluded(suite, name, ran, timeout)
    if result.status in ("passed", "skipped"):
        how: How = "passed" if result.status == "passed" else "skipped"
        listener(Finished(name, label, how, result.seconds, ""))
    else:
        listener(Failed(name, label, result.status))
    return result


def concluded(suite: Suite, name: str, ran: Ran, timeout: float) -> FileResult:
    """The result of one file, from its report and the way in which the process ended."""
    result = ran.result
    cases = read_junit(ran.kept, name)
    ending, how = _ending(result, timeout)
    if ending == "completed" and result.exit_status == suite.empty:
        cases = cases or (Case(name, "skipped", "no tests ran"),)
    elif ending == "completed" and not ran.kept and result.exit_status not in (0, suite.failed):
        ending, how = "crashed", f"exit status {result.exit_status}, without a report"
    elif ending == "completed" and result.exit_status and all(c.outcome != "failed" for c in cases):
        # Outside of any test, as while its modules are imported.
        cases = (*cases, Case(name, "failed", ran.output[-_TAIL:]))
    found = FileResult(name, ending, cases, result.seconds, how)
    if found.status in ("passed", "skipped"):
        return found
    return FileResult(name, ending, cases, result.seconds, how, ran.output[-_TAIL:])


def _ending(result: Result, timeout: float) -> tuple[Ending, str]:
    if result.timed_out:
        return "timed out", f"after {timeout:g} s"
    if result.signal is not None:
        return "crashed", f"signal {result.signal}"
    if result.exceeded is not None:
        return "crashed", f"too much of {result.exceeded}"
    return "completed", ""


def unusable(message: str, ran: Ran) -> HermeticError:
    """The error that an interpreter cannot run a suite, with the end of what it printed."""
    return HermeticError(message, details=tuple(f"| {line}" for line in ran.output.splitlines()[-_LINES:]))
