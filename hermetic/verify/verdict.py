"""The results of a verification, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from hermetic.derivation.step import Step
    from hermetic.errors import HermeticError
    from hermetic.verify.compare.model import Difference

Status = Literal["reproducible", "differs", "failed", "unbuilt"]  # the last: there is no first build


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of rebuilding one derivation.

    Attributes:
        expected: content hash of the store object. found: that of the rebuild. Empty where there is none.
        seconds: wall clock time of the rebuild.
        differences: every differing entry.
        error: why the rebuild or the first build failed.
        kept: directory with both trees, if they were to be kept.
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


def unbuilt(step: Step, closure: Iterable[str], failures: Mapping[str, HermeticError]) -> Verdict:
    """The verdict of a build that could not be realized: it failed, or something that it needs."""
    reasons = [failures[d].message for d in closure if d in failures]
    return Verdict(
        drv_id=step.drv_id, label=step.label, status="unbuilt", round=1, expected="", error="\n".join(reasons)
    )
