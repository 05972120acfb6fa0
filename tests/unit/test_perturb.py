"""What a perturbation changes in the specification of a build."""

from __future__ import annotations

import pytest

from hermetic.sandbox.spec import SandboxSpec
from hermetic.verify.perturb import NAMES, Perturbations, perturbed

SPEC = SandboxSpec(argv=("/bin/sh",), env={})
CHANGES = {
    "hostname": {"hostname"},
    "kernel": {"uname26", "cpuinfo"},
    "aslr": {"aslr"},
    "jobs": {"one_cpu", "env"},  # JOBS and MAKEFLAGS
    "umask": {"umask"},
    "clock": {"clock_offset"},
    "machine": {"other_machine"},
}


def changed(names: frozenset[str]) -> set[str]:
    other = perturbed(SPEC, Perturbations(names))
    return {field for field in SPEC.__struct_fields__ if getattr(SPEC, field) != getattr(other, field)}


@pytest.mark.parametrize("name", NAMES)
def test_each_changes_what_it_is_called_after_and_nothing_else(name: str) -> None:
    assert changed(frozenset({name})) == CHANGES.get(name, set())


def test_all_together_change_all_of_it_and_none_nothing() -> None:
    assert changed(frozenset(NAMES)) == set().union(*CHANGES.values())
    assert changed(frozenset()) == set()
