"""The systems that hermetic knows: what code is built on, and what it is built for.

One row owns every spelling and property of an architecture. No other code, recipe or build script derives
one from another: recipes name what they need (`${system.musl}`), code looks a system up by the name that
it has (`SYSTEMS`, `named`, `running_on`).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class System(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that code runs on.

    Attributes:
        arch: our own word, used in targets (`cpython-aarch64`); unique.
        triple: GNU triple, for configure scripts. Systems that differ in their CPU alone share it.
        cpu: the oldest CPU that the code must run on, as the compiler calls it. It is hashed.
        cpu_option: the compiler's option that takes it.
        flags: further options of the compiler for this architecture, separated by spaces.
        bits: width of a pointer.
        endian: byte order.
        long_double: format of C's `long double`.
        clang: clang's triple (`--target`). zig: the triple of `zig build-obj`.
        musl: the name of its directory in musl's sources. kernel: that of its headers in the compiler's seed.
        openssl: the target of OpenSSL's Configure. libffi: the name of its directory in libffi's sources.
        qemu: the user-mode emulator that runs its programs elsewhere.
        uname: the values of `uname -m` on machines that run its programs natively.
        oci_arch, oci_variant: its platform in container images; the variant may be empty.
        debian: Debian's name of the architecture.
        standalone: python-build-standalone's triple, as in the names of its archives.
    """

    arch: str
    triple: str
    cpu: str
    cpu_option: Literal["-march", "-mcpu"] = "-march"
    flags: str = ""
    bits: Literal[32, 64]
    endian: Literal["little", "big"]
    long_double: Literal["x87", "binary128", "binary64"]
    clang: str
    zig: str
    musl: str
    kernel: str
    openssl: str
    libffi: str
    qemu: str
    uname: tuple[str, ...]
    oci_arch: str
    oci_variant: str = ""
    debian: str
    standalone: str

    @property
    def name(self) -> str:
        """The system's own name: unique, unlike the triple. The first component of logical paths."""
        return f"{self.arch}-linux-musl"

    @property
    def foreign_division(self) -> str:
        """The runtime's complex division of the wide float that is not this system's `long double`."""
        return {"x87": "divtc3", "binary128": "divxc3", "binary64": ""}[self.long_double]

    def spellings(self) -> dict[str, str]:
        """What a recipe may ask for as `${system.WORD}`, by that word."""
        fields = {f: getattr(self, f) for f in self.__struct_fields__}
        texts = {f: value for f, value in fields.items() if isinstance(value, str)}
        derived = {"name": self.name, "bits": str(self.bits), "foreign_division": self.foreign_division}
        return {word.replace("_", "-"): text for word, text in {**texts, **derived}.items()}


SYSTEMS: Final[dict[str, System]] = {
    s.arch: s
    for s in (
        System(
            arch="x86_64",
            triple="x86_64-linux-musl",
            cpu="x86-64",
            bits=64,
            endian="little",
            long_double="x87",
            clang="x86_64-linux-musl",
            zig="x86_64-linux-musl",
            musl="x86_64",
            kernel="x86",
            openssl="linux-x86_64",
            libffi="x86",
            qemu="qemu-x86_64",
            uname=("x86_64",),
            oci_arch="amd64",
            debian="amd64",
            standalone="x86_64-unknown-linux-musl",
        ),
        System(
            arch="aarch64",
            triple="aarch64-linux-musl",
            cpu="armv8-a",
            # Outlined atomics ask at run time for instructions that the runtime never looks for.
            flags="-mno-outline-atomics",
            bits=64,
            endian="little",
            long_double="binary128",
            clang="aarch64-linux-musl",
            zig="aarch64-linux-musl",
            musl="aarch64",
            kernel="aarch64",
            openssl="linux-aarch64",
            libffi="aarch64",
            qemu="qemu-aarch64",
            uname=("aarch64", "arm64"),
            oci_arch="arm64",
            oci_variant="v8",
            debian="arm64",
            standalone="aarch64-unknown-linux-musl",
        ),
    )
}

# The seeds (compiler, shell) are x86_64 programs, so this is the one machine that builds.
BUILD_SYSTEM: Final = SYSTEMS["x86_64"]


def named(name: str) -> System:
    """The system of that name (the `system` of a derivation).

    Raises:
        KeyError: there is none.
    """
    for system in SYSTEMS.values():
        if system.name == name:
            return system
    raise KeyError(name)


# What `/proc/cpuinfo` lists of a machine that runs a system's programs, where its `uname` does not say so.
_NEEDED: Final[dict[str, frozenset[str]]] = {
    "x86_64_v3": frozenset((
        "abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "lahf_lm", "movbe", "pni", "popcnt",
        "sse4_1", "sse4_2", "ssse3", "xsave",
    )),
    "i386": frozenset(("sse2",)),
    "armhf": frozenset(("vfpv3",)),
}  # fmt: skip


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine tells of itself.

    Attributes:
        uname: what `uname -m` says. It may be the same for two byte orders and for several CPUs.
        endian: byte order.
        bits: widths of a pointer of programs that its kernel is known to run.
        features: what its CPU can do, in the kernel's words; see `features`.
    """

    uname: str
    endian: str
    bits: frozenset[int]
    features: frozenset[str] = frozenset()


def features(cpuinfo: str) -> frozenset[str]:
    """What a CPU can do, from `/proc/cpuinfo`: the values of its first `flags` (x86) or `Features` (ARM)."""
    for line in cpuinfo.splitlines():
        word, colon, values = line.partition(":")
        if colon and word.strip() in ("flags", "Features"):
            return frozenset(values.split())
    return frozenset()


def running_on(machine: Machine) -> list[System]:
    """The systems whose programs run natively on a machine, its own system first.

    Its own is the one whose first `uname` it has, and of several, the one for the oldest CPU.
    """
    found = [s for s in SYSTEMS.values() if _runs(s, machine)]
    return sorted(found, key=lambda s: (s.uname.index(machine.uname), len(_NEEDED.get(s.arch, ()))))


def _runs(system: System, machine: Machine) -> bool:
    if machine.uname not in system.uname or machine.endian != system.endian:
        return False
    # The first value is that of the system's own kernels; others run its programs only if they are built to.
    fits = machine.uname == system.uname[0] or system.bits in machine.bits
    return fits and _NEEDED.get(system.arch, frozenset()) <= machine.features
