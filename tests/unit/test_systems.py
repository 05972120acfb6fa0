"""Which systems' programs a machine runs natively, and which of them is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic import systems
from hermetic.session import machine
from hermetic.session.program import for_machine
from hermetic.systems import SYSTEMS, Machine, running_on

V3 = (
    "abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "lahf_lm", "movbe", "pni", "popcnt",
    "sse4_1", "sse4_2", "ssse3", "xsave",
)  # fmt: skip
BOTH = frozenset((32, 64))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table, in another order: nothing may depend on it."""
    monkeypatch.setattr(systems, "SYSTEMS", dict(reversed(SYSTEMS.items())))


def runs(
    uname: str, features: str | tuple[str, ...] = "", *, endian: str = "little", bits: frozenset[int] = BOTH
) -> str:
    words = tuple(features.split()) if isinstance(features, str) else features
    found = running_on(Machine(uname=uname, endian=endian, bits=bits, features=frozenset(words)))
    return " ".join(system.arch for system in found)


@pytest.mark.usefixtures("rows")
def test_a_machine_of_one_name_has_one_byte_order() -> None:
    assert runs("mips64", endian="big") == "mips64"
    assert runs("mips64", endian="little") == "mips64el"


@pytest.mark.usefixtures("rows")
def test_code_for_a_newer_cpu_needs_all_of_its_features_and_is_never_the_machines_own() -> None:
    assert runs("x86_64", (*V3, "sse2")) == "x86_64 x86_64_v3 i386"
    for missing in V3:
        assert "v3" not in runs("x86_64", tuple(f for f in V3 if f != missing)), missing


@pytest.mark.usefixtures("rows")
def test_a_64_bit_kernel_runs_32_bit_programs_if_it_is_built_to() -> None:
    assert runs("x86_64", "sse2", bits=BOTH) == "x86_64 i386"
    assert runs("x86_64", "sse2", bits=frozenset((64,))) == "x86_64"
    assert runs("i686", "sse2", bits=frozenset((32,))) == "i386"
    # A 32-bit Python on a 64-bit kernel.
    assert runs("x86_64", "sse2", bits=frozenset((32,))) == "x86_64 i386"


@pytest.mark.usefixtures("rows")
def test_of_several_the_machines_own_is_the_one_that_has_its_name_first() -> None:
    assert runs("armv7l", "half vfpv3 neon", bits=frozenset((32,))) == "armhf armel"
    assert runs("armv8l", "vfpv3", bits=frozenset((32,))) == "armhf armel"
    assert runs("armv7l", "half", bits=frozenset((32,))) == "armel"
    assert runs("armv6l", "vfp", bits=frozenset((32,))) == "armel"
    assert runs("sparc64") == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 \nbugs\t\t: b\n\nflags\t\t: other\n", "avx2 fpu"),
        ("processor\t: 0\nFeatures\t: half vfpv3\n", "half vfpv3"),
        ("system type\t: MIPS Malta\nisa\t\t\t: mips1 mips64r2\n", ""),
        ("flags without a colon", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_features_are_read_from_cpuinfo(text: str, found: str) -> None:
    assert " ".join(sorted(systems.features(text))) == found


def test_this_machine_runs_its_own_system() -> None:
    here = machine.this()
    assert running_on(here)[0].uname[0] == here.uname
    assert here.features <= set(Path("/proc/cpuinfo").read_text().split())


def test_a_target_that_is_run_is_for_the_machine_unless_it_says_otherwise() -> None:
    x86_64, aarch64 = SYSTEMS["x86_64"], SYSTEMS["aarch64"]
    assert for_machine("app", [x86_64]) == "app"
    assert for_machine("app", []) == "app"
    assert for_machine("app", [aarch64]) == "app-aarch64"
    assert for_machine("app-1.0@HEAD", [aarch64]) == "app-1.0-aarch64@HEAD"
    assert for_machine("app-x86_64@HEAD", [aarch64]) == "app-x86_64@HEAD"
