"""What is made different for a rebuild. Pure.

Each perturbation changes something that must not change the output. `docs/reproducibility.md` says what
they stand for and what cannot be perturbed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from hermetic.errors import UsageError, did_you_mean
from hermetic.sandbox.spec import SandboxSpec

NAMES: Final = {
    "place": "work folder and inputs lie at other host paths, on another file system where there is one, "
    "their folders in another order",
    "jobs": "one job instead of all, and one CPU to be seen",
    "user": "the build runs under another host uid, with another environment around hermetic",
    "hostname": "another host name",
    "kernel": "the kernel calls itself 2.6, and /proc/cpuinfo shows another CPU",
    "aslr": "addresses are random",
    "umask": "another umask",
    "clock": "time of day: the rebuild sees a clock that is 400 days ahead",
    "order": "derivations are built in another order",
}

# Seconds. Whenever a build runs: another year, month, day, day of the week, hour, minute and second. Forward,
# since to a clock that is behind, every new file would be one of the future.
CLOCK_OFFSET: Final = 400 * 86_400 + 7 * 3_600 + 23 * 60 + 41

_CPUINFO: Final = (
    "processor\t: 0\nvendor_id\t: PerturbedVendor\ncpu family\t: 99\nmodel name\t: Perturbed CPU\n"
    "cpu MHz\t\t: 123.456\ncache size\t: 64 KB\nflags\t\t: fpu\nbogomips\t: 1.00\n"
)


class Perturbations(msgspec.Struct, frozen=True):
    """The names of those that are on; see `NAMES`."""

    on: frozenset[str] = frozenset(NAMES)

    def __contains__(self, name: str) -> bool:
        return name in self.on


def choose(only: tuple[str, ...], without: tuple[str, ...]) -> Perturbations:
    """All, or `only` some, `without` some.

    Raises:
        UsageError: an unknown name.
    """
    return Perturbations((exactly(only).on or frozenset(NAMES)) - exactly(without).on)


def exactly(names: Iterable[str]) -> Perturbations:
    """Those of these names.

    Raises:
        UsageError: an unknown name.
    """
    chosen = frozenset(names)
    for name in sorted(chosen - set(NAMES)):
        raise UsageError(f"unknown perturbation {name!r}", hint=did_you_mean(name, NAMES))
    return Perturbations(chosen)


def perturbed(spec: SandboxSpec, on: Perturbations) -> SandboxSpec:
    """The sandbox of a rebuild. Jobs and place are the rebuilder's to change."""
    changes: dict[str, object] = {}
    if "hostname" in on:
        changes["hostname"] = "perturbed-host"
    if "kernel" in on:
        changes |= {"uname26": True, "cpuinfo": _CPUINFO}
    if "aslr" in on:
        changes["aslr"] = True
    if "jobs" in on:
        changes["one_cpu"] = True
    if "umask" in on:
        changes["umask"] = 0o027
    if "clock" in on:
        changes["clock_offset"] = CLOCK_OFFSET
    return msgspec.structs.replace(spec, **changes)
