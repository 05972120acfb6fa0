"""Measuring: one run of a command, rounds of several that take turns, medians."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

CHECKOUT: Final = Path(__file__).parent.parent
ENTRY: Final = "import sys; from hermetic.cli.entry import main; sys.argv[0] = 'hermetic'; main()"


class Failed(Exception):
    """A measured command did not do its work."""


@dataclass(frozen=True)
class Sample:
    """One measurement: seconds of wall clock, and of processor time in user and kernel."""

    wall: float
    cpu: float


Timed: TypeAlias = Callable[[], Sample]


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        hermetic, nix: do the work once and say how long it took; what is not the work is not timed.
        mark: what hermetic's figure must not exceed or, for a rate, not fall below; None: there is none.
        against_nix: what the ratio hermetic/nix must not exceed.
        amount: seconds are divided by it (25 builds: ms a build) or it by them (bytes: a rate).
        unit: `s`, `ms` or `GB/s`.
    """

    title: str
    hermetic: Timed
    nix: Timed | None
    unit: str = "s"
    amount: float = 1
    mark: float | None = None
    against_nix: float | None = None

    def figure(self, seconds: float) -> float:
        """Seconds in the case's unit."""
        if self.unit == "GB/s":
            return self.amount / seconds / 1e9
        return seconds / self.amount * (1000 if self.unit == "ms" else 1)


@dataclass
class Result:
    """The samples of a case."""

    case: Case
    hermetic: list[Sample] = field(default_factory=list)
    nix: list[Sample] = field(default_factory=list)

    def figure(self, samples: Sequence[Sample]) -> float:
        return self.case.figure(median(s.wall for s in samples))

    @property
    def ratio(self) -> float | None:
        """Time of hermetic over time of Nix, medians of wall clock."""
        if not self.nix:
            return None
        return median(s.wall for s in self.hermetic) / median(s.wall for s in self.nix)

    @property
    def cpu_ratio(self) -> float | None:
        """The same of processor time, which other programs on the machine disturb less."""
        if not self.nix:
            return None
        return median(s.cpu for s in self.hermetic) / max(median(s.cpu for s in self.nix), 1e-6)

    @property
    def met(self) -> bool | None:
        """Whether the mark is met; None where there is none, or nothing to compare with."""
        case, figure = self.case, self.figure(self.hermetic)
        if case.against_nix is not None:
            return None if self.ratio is None else self.ratio <= case.against_nix
        if case.mark is None:
            return None
        return figure >= case.mark if case.unit == "GB/s" else figure <= case.mark


def measure(case: Case, rounds: int) -> Result:
    """Measure a case: both sides take turns, so that a slow minute of the machine hits both."""
    result = Result(case)
    for number in range(rounds):
        sides = [(result.hermetic, case.hermetic), (result.nix, case.nix)]
        for samples, timed in sides if number % 2 == 0 else sides[::-1]:
            if timed is not None:
                samples.append(timed())
    return result


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Sample:
    """Run a command and time it, its children included.

    Raises:
        Failed: it exits with anything but 0.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        text = errors.decode(errors="replace")[-2000:]
        raise Failed(f"{' '.join(command)[:200]}: exit status {process.returncode}\n{text}")
    return Sample(wall, usage.ru_utime + usage.ru_stime)


def output(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a command prints on its standard output. Not timed."""
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(
            f"{' '.join(command)[:200]}: exit status {done.returncode}\n"
            f"{done.stdout[-500:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def python_env() -> dict[str, str]:
    """The environment of measured Python processes: this checkout's code, byte code cached as usual."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HERMETIC"))}
    return {**env, "PYTHONPATH": str(CHECKOUT)}


def hermetic(project: Path, store: Path, *args: str) -> list[str]:
    """The command line of hermetic for a project and a store, as its installed command would run it."""
    return [sys.executable, "-c", ENTRY, "--project", str(project), "--store", str(store), *args]
