"""The perturbations: conditions that a rebuild varies. Pure.

Each perturbation varies a condition that must not change the output. `docs/reproducibility.md` describes them
and what cannot be varied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from hermetic.errors import UsageError, did_you_mean
from hermetic.sandbox.spec import SandboxSpec

NAMES: Final = {
    "place": "work directory and inputs are at other host paths, on another file system if there is one, "
    "and directories list their entries in another order",
    "jobs": "one job instead of all, and only one CPU is visible",
    "hostname": "another host name",
    "kernel": "the kernel reports version 2.6, and /proc/cpuinfo shows another CPU",
    "aslr": "the address space layout is random",
    "umask": "another umask",
    "clock": "the time of day is 400 days ahead",
    "machine": "there is half of the memory (sysinfo), and the kernel has another version (uname -v)",
    "order": "derivations are built in another order",
}

# Seconds. At any time this changes year, month, day, weekday, hour, minute and second. It is positive because
# under a clock that is behind, every new file would have a time stamp in the future.
CLOCK_OFFSET: Final = 400 * 86_400 + 7 * 3_600 + 23 * 60 + 41

_CPUINFO: Final = (
    "processor\t: 0\nvendor_id\t: PerturbedVendor\ncpu family\t: 99\nmodel name\t: Perturbed CPU\n"
    "cpu MHz\t\t: 123.456\ncache size\t: 64 KB\nflags\t\t: fpu\nbogomips\t: 1.00\n"
)


class Perturbations(msgspec.Struct, frozen=True):
    """The selected perturbations, by name; see `NAMES`."""

    on: frozenset[str] = frozenset(NAMES)

    def __contains__(self, name: str) -> bool:
        return name in self.on


def choose(only: tuple[str, ...], without: tuple[str, ...]) -> Perturbations:
    """Select all perturbations, or those in `only`, and leave out those in `without`.

    Raises:
        UsageError: a name is unknown.
    """
    return Perturbations((exactly(only).on or frozenset(NAMES)) - exactly(without).on)


def exactly(names: Iterable[str]) -> Perturbations:
    """The perturbations with these names.

    Raises:
        UsageError: a name is unknown.
    """
    chosen = frozenset(names)
    for name in sorted(chosen - set(NAMES)):
        raise UsageError(f"unknown perturbation {name!r}", hint=did_you_mean(name, NAMES))
    return Perturbations(chosen)


def perturbed(spec: SandboxSpec, on: Perturbations) -> SandboxSpec:
    """The sandbox of a rebuild. The place is varied in `rebuild`."""
    changes: dict[str, object] = {}
    if "hostname" in on:
        changes["hostname"] = "perturbed-host"
    if "kernel" in on:
        changes |= {"uname26": True, "cpuinfo": _CPUINFO}
    if "aslr" in on:
        changes["aslr"] = True
    if "jobs" in on:
        changes["one_cpu"] = True
        changes["env"] = {**spec.env, "JOBS": "1", "MAKEFLAGS": ""}
    if "umask" in on:
        changes["umask"] = 0o027
    if "clock" in on:
        changes["clock_offset"] = CLOCK_OFFSET
    if "machine" in on:
        changes["other_machine"] = True
    return msgspec.structs.replace(spec, **changes)
