"""The systems that hermetic knows: what code is built on, and what it is built for."""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class System(msgspec.Struct, frozen=True):
    """A machine that code runs on.

    Attributes:
        arch: the word used in targets (`cpython-aarch64`).
        triple: GNU triple; also the first component of logical paths.
        cpu: the oldest CPU that the code must run on, as clang's `-march=` names it. It is hashed.
        bits: width of a pointer.
        endian: byte order.
        qemu: name of the user-mode emulator that runs it elsewhere.
    """

    arch: str
    triple: str
    cpu: str
    bits: Literal[32, 64]
    endian: Literal["little", "big"]
    qemu: str


SYSTEMS: Final[dict[str, System]] = {
    s.arch: s
    for s in (
        System("x86_64", "x86_64-linux-musl", "x86-64", 64, "little", "qemu-x86_64"),
        System("aarch64", "aarch64-linux-musl", "armv8-a", 64, "little", "qemu-aarch64"),
    )
}

# The seeds (compiler, shell) are x86_64 programs, so this is the one machine that builds.
BUILD_SYSTEM: Final = SYSTEMS["x86_64"]


def named(triple: str) -> System:
    """The system with that GNU triple.

    Raises:
        KeyError: there is none.
    """
    for system in SYSTEMS.values():
        if system.triple == triple:
            return system
    raise KeyError(triple)
