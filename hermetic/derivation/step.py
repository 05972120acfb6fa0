"""The step: one derivation with what realizing it needs that is not hashed; and graphs of steps.

Engine, executors and reports take a step whole. What people call it, and the word for its architecture, are
answered here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from hermetic import systems
from hermetic.derivation.value import Build, Derivation, Fetch, Unpack
from hermetic.project.pin import Pin
from hermetic.systems import System

Kind: TypeAlias = Literal["fetch", "unpack", "build"]

_KINDS: Final[dict[type[Derivation], Kind]] = {Fetch: "fetch", Unpack: "unpack", Build: "build"}


# For the evaluation cache, which holds thousands of them: no field names, and nothing for Python's garbage
# collector to look at, since no cycle can lead through a step.
class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One derivation, and what realizing it needs beside it.

    Attributes:
        pin: of a fetch, its lock entry (which knows mirrors).
        timeout: of a build, its time limit in seconds.
        log_limit: of a build, the largest size of its log in bytes.
        process_limit: of a build, how many processes and threads it may have at the same time.
        expected: content hash that the lock expects of the output; empty where it expects none.
        seed: whether it gives a prebuilt binary that is trusted by its hash.
    """

    drv_id: str
    derivation: Derivation
    pin: Pin | None = None
    timeout: int = 0
    expected: str = ""
    seed: bool = False
    log_limit: int = 256 << 20
    process_limit: int = 8192

    @property
    def kind(self) -> Kind:
        """What is done."""
        return _KINDS[type(self.derivation)]

    @property
    def label(self) -> str:
        """What it is called in front of people; see `label`."""
        return label(self.derivation)

    @property
    def target(self) -> str:
        """The name of a build as it is typed on the command line, without its version: `zlib-aarch64`."""
        return f"{self.derivation.name}-{arch(self.derivation)}"

    @property
    def versioned(self) -> str:
        """The same with its version, as logs are named: `zlib-1.3.1-aarch64`."""
        return f"{self.derivation.name}-{self.derivation.version}-{arch(self.derivation)}"


class Graph(msgspec.Struct, frozen=True):
    """Steps by derivation id, inputs before what needs them, and the one that was asked for."""

    root: str
    steps: Mapping[str, Step]

    def __getitem__(self, drv_id: str) -> Derivation:
        return self.steps[drv_id].derivation

    @property
    def derivations(self) -> dict[str, Derivation]:
        """The derivations alone, by id. Made anew for each call."""
        return {drv_id: step.derivation for drv_id, step in self.steps.items()}


class Target(msgspec.Struct, frozen=True):
    """What was asked for on the command line, e.g. `cpython-3.14.7-aarch64`.

    Attributes:
        label: the target as it is shown.
        versions: source name to the version asked for, where it is not the default.
    """

    label: str
    recipe: str
    system: System
    versions: dict[str, str] = {}


class Instance(msgspec.Struct, frozen=True):
    """An instantiated target."""

    target: Target
    graph: Graph


def label(drv: Derivation) -> str:
    """What a derivation is called in front of people: `zlib-1.3.1 (aarch64)`, `zlib-1.3.1 (source)`."""
    about = "source" if isinstance(drv, Fetch) else arch(drv) or "unpacked"
    return f"{drv.name}-{drv.version} ({about})"


def arch(drv: Derivation) -> str:
    """The word for the architecture that an output is for; empty for sources, which are for all.

    Raises:
        KeyError: a system that this program does not know.
    """
    return systems.named(drv.system).arch if isinstance(drv, Build) else ""
