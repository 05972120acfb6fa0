"""The results of a verification, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from hermetic.verify.compare.model import Difference

Status = Literal["reproducible", "differs", "failed"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of rebuilding one derivation.

    Attributes:
        expected: content hash of the store object. found: content hash of the rebuild; empty if it failed.
        seconds: wall clock time of the rebuild.
        differences: every differing entry.
        error: why the rebuild failed. kept: directory with both trees, if they were to be kept.
    """

    drv_id: str
    label: str
    status: Status
    round: int
    expected: str
    found: str = ""
    seconds: float = 0.0
    differences: tuple[Difference, ...] = ()
    error: str = ""
    kept: str = ""


class Report(msgspec.Struct, frozen=True):
    """The results of a verification. `perturbed`: names of the perturbations."""

    target: str
    perturbed: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def reproducible(self) -> bool:
        """Whether every rebuild gave the same bytes."""
        return all(v.status == "reproducible" for v in self.verdicts)
