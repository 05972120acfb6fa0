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
        linker_flags: further options of the linker, which optimizes, too.
        lto: the compiler's option for link-time optimization.
        bits: width of a pointer.
        endian: byte order.
        long_double: format of C's `long double`.
        clang: clang's triple (`--target`). zig: the triple of `zig build-obj`.
        musl: the name of its directory in musl's sources. kernel: that of its headers in the compiler's seed.
        openssl: the target of OpenSSL's Configure.
        qemu: the user-mode emulator that runs its programs elsewhere.
        uname: the values of `uname -m` on machines that run its programs natively, its own kernels' first.
        features: what `/proc/cpuinfo` lists of such a machine, where `uname` does not say it.
        oci_arch, oci_variant: its platform in container images; the variant may be empty.
        debian: Debian's name of the architecture.
        standalone: python-build-standalone's triple, as in the names of its archives.
    """

    arch: str
    triple: str
    cpu: str
    cpu_option: Literal["-march", "-mcpu"] = "-march"
    flags: str = ""
    linker_flags: str = ""
    lto: Literal["-flto", "-flto=thin"] = "-flto"
    bits: Literal[32, 64]
    endian: Literal["little", "big"]
    long_double: Literal["x87", "binary128", "binary64"]
    clang: str
    zig: str
    musl: str
    kernel: str
    openssl: str
    qemu: str
    uname: tuple[str, ...]
    features: frozenset[str] = frozenset()
    oci_arch: str
    oci_variant: str = ""
    debian: str
    standalone: str

    @property
    def name(self) -> str:
        """The system's own name: unique, unlike the triple. The first component of logical paths."""
        return f"{self.arch}-linux-musl"

    def spellings(self) -> dict[str, str]:
        """What a recipe may ask for as `${system.WORD}`, by that word."""
        fields = {f: getattr(self, f) for f in self.__struct_fields__}
        texts = {f: value for f, value in fields.items() if isinstance(value, str)}
        derived = {"name": self.name, "bits": str(self.bits)}
        return {word.replace("_", "-"): text for word, text in {**texts, **derived}.items()}


# All code of this ABI is position-independent: the compiler would say so each time. LLVM 20 compares a loop's
# variable, widened to 64 bits, with numbers that it has not cut down to 32.
_MIPS64_LINKER: Final = "-mllvm -indvars-widen-indvars=false"
_MIPS64: Final = f"-Wno-option-ignored {_MIPS64_LINKER}"
_V3: Final = frozenset((
    "abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "lahf_lm", "movbe", "pni", "popcnt",
    "sse4_1", "sse4_2", "ssse3", "xsave",
))  # fmt: skip

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
            qemu="qemu-aarch64",
            uname=("aarch64", "arm64"),
            oci_arch="arm64",
            oci_variant="v8",
            debian="arm64",
            standalone="aarch64-unknown-linux-musl",
        ),
        System(
            arch="x86_64_v3",
            triple="x86_64-linux-musl",
            cpu="x86-64-v3",
            bits=64,
            endian="little",
            long_double="x87",
            clang="x86_64-linux-musl",
            zig="x86_64-linux-musl",
            musl="x86_64",
            kernel="x86",
            openssl="linux-x86_64",
            qemu="qemu-x86_64",
            uname=("x86_64",),
            features=_V3,
            oci_arch="amd64",
            oci_variant="v3",
            debian="amd64",
            standalone="x86_64_v3-unknown-linux-musl",
        ),
        System(
            arch="i386",
            triple="i386-linux-musl",
            cpu="i686",
            flags="-msse2 -mfpmath=sse",
            bits=32,
            endian="little",
            long_double="x87",
            clang="i386-linux-musl",
            zig="x86-linux-musl",
            musl="i386",
            kernel="x86",
            openssl="linux-x86",
            qemu="qemu-i386",
            uname=("i686", "i586", "x86_64"),
            features=frozenset({"sse2"}),
            oci_arch="386",
            debian="i386",
            standalone="i686-unknown-linux-musl",
        ),
        System(
            arch="armhf",
            triple="arm-linux-musleabihf",
            cpu="armv7-a",
            flags="-mfpu=vfpv3-d16 -mfloat-abi=hard",
            bits=32,
            endian="little",
            long_double="binary64",
            clang="arm-linux-musleabihf",
            zig="arm-linux-musleabihf",
            musl="arm",
            kernel="arm",
            openssl="linux-armv4",
            qemu="qemu-arm",
            uname=("armv7l", "armv8l"),
            features=frozenset({"vfpv3"}),
            oci_arch="arm",
            oci_variant="v7",
            debian="armhf",
            standalone="armv7-unknown-linux-musleabihf",
        ),
        System(
            arch="armel",
            triple="arm-linux-musleabi",
            cpu="armv5te",
            flags="-mfloat-abi=soft",
            bits=32,
            endian="little",
            long_double="binary64",
            clang="arm-linux-musleabi",
            zig="arm-linux-musleabi",
            musl="arm",
            kernel="arm",
            openssl="linux-armv4",
            qemu="qemu-arm",
            uname=("armv5tel", "armv5tejl", "armv6l", "armv7l", "armv8l"),
            oci_arch="arm",
            oci_variant="v5",
            debian="armel",
            standalone="arm-unknown-linux-musleabi",
        ),
        System(
            arch="riscv64",
            triple="riscv64-linux-musl",
            cpu="rv64gc",
            bits=64,
            endian="little",
            long_double="binary128",
            clang="riscv64-linux-musl",
            zig="riscv64-linux-musl",
            musl="riscv64",
            kernel="riscv",
            openssl="linux64-riscv64",
            qemu="qemu-riscv64",
            uname=("riscv64",),
            oci_arch="riscv64",
            debian="riscv64",
            standalone="riscv64-unknown-linux-musl",
        ),
        System(
            arch="riscv32",
            triple="riscv32-linux-musl",
            cpu="rv32gc",
            bits=32,
            endian="little",
            long_double="binary128",
            clang="riscv32-linux-musl",
            zig="riscv32-linux-musl",
            musl="riscv32",
            kernel="riscv",
            openssl="linux32-riscv32",
            qemu="qemu-riscv32",
            uname=("riscv32",),
            oci_arch="riscv",
            debian="riscv32",
            standalone="riscv32-unknown-linux-musl",
        ),
        System(
            arch="powerpc64le",
            triple="powerpc64le-linux-musl",
            cpu="pwr8",
            cpu_option="-mcpu",
            bits=64,
            endian="little",
            long_double="binary64",
            clang="powerpc64le-linux-musl",
            zig="powerpc64le-linux-musl",
            musl="powerpc64",
            kernel="powerpc",
            openssl="linux-ppc64le",
            qemu="qemu-ppc64le",
            uname=("ppc64le",),
            oci_arch="ppc64le",
            debian="ppc64el",
            standalone="ppc64le-unknown-linux-musl",
        ),
        System(
            arch="powerpc64",
            triple="powerpc64-linux-musl",
            cpu="pwr8",
            cpu_option="-mcpu",
            bits=64,
            endian="big",
            long_double="binary64",
            clang="powerpc64-linux-musl",
            zig="powerpc64-linux-musl",
            musl="powerpc64",
            kernel="powerpc",
            openssl="linux-ppc64",
            qemu="qemu-ppc64",
            uname=("ppc64",),
            oci_arch="ppc64",
            debian="ppc64",
            standalone="ppc64-unknown-linux-musl",
        ),
        System(
            arch="s390x",
            triple="s390x-linux-musl",
            cpu="z13",
            # For each call, LLVM's inliner looks at all uses of all global variables of the module here.
            lto="-flto=thin",
            bits=64,
            endian="big",
            long_double="binary128",
            clang="s390x-linux-musl",
            zig="s390x-linux-musl",
            musl="s390x",
            kernel="s390x",
            openssl="linux64-s390x",
            qemu="qemu-s390x",
            uname=("s390x",),
            oci_arch="s390x",
            debian="s390x",
            standalone="s390x-unknown-linux-musl",
        ),
        System(
            arch="mips64",
            triple="mips64-linux-muslabi64",
            cpu="mips64r2",
            flags=_MIPS64,
            linker_flags=_MIPS64_LINKER,
            bits=64,
            endian="big",
            long_double="binary128",
            clang="mips64-linux-muslabi64",
            zig="mips64-linux-muslabi64",
            musl="mips64",
            kernel="mips",
            openssl="linux64-mips64",
            qemu="qemu-mips64",
            uname=("mips64",),
            oci_arch="mips64",
            debian="mips64",
            standalone="mips64-unknown-linux-muslabi64",
        ),
        System(
            arch="mips64el",
            triple="mips64el-linux-muslabi64",
            cpu="mips64r2",
            flags=_MIPS64,
            linker_flags=_MIPS64_LINKER,
            bits=64,
            endian="little",
            long_double="binary128",
            clang="mips64el-linux-muslabi64",
            zig="mips64el-linux-muslabi64",
            musl="mips64",
            kernel="mips",
            openssl="linux64-mips64",
            qemu="qemu-mips64el",
            uname=("mips64",),
            oci_arch="mips64le",
            debian="mips64el",
            standalone="mips64el-unknown-linux-muslabi64",
        ),
        System(
            arch="loongarch64",
            triple="loongarch64-linux-musl",
            cpu="loongarch64",
            bits=64,
            endian="little",
            long_double="binary128",
            clang="loongarch64-linux-musl",
            zig="loongarch64-linux-musl",
            musl="loongarch64",
            kernel="loongarch",
            openssl="linux64-loongarch64",
            qemu="qemu-loongarch64",
            uname=("loongarch64",),
            oci_arch="loong64",
            debian="loong64",
            standalone="loongarch64-unknown-linux-musl",
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
    return sorted(found, key=lambda s: (s.uname.index(machine.uname), len(s.features)))


def _runs(system: System, machine: Machine) -> bool:
    if machine.uname not in system.uname or machine.endian != system.endian:
        return False
    # The first value is that of the system's own kernels; others run its programs only if they are built to.
    fits = machine.uname == system.uname[0] or system.bits in machine.bits
    return fits and system.features <= machine.features
