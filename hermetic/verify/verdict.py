"""What came of a verification, as values."""

from __future__ import annotations

from typing import Literal

import msgspec

from hermetic.verify.compare.model import Difference

Status = Literal["reproducible", "differs", "failed"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One derivation.

    Attributes:
        expected: content hash of the store object. found: of the rebuild; empty when it failed.
        seconds: how long the rebuild took.
        differences: every differing entry.
        error: why a rebuild failed. kept: folder with both trees, where they were asked for.
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
    """A whole verification. `perturbed`: names of what was made different."""

    target: str
    perturbed: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def reproducible(self) -> bool:
        """Every rebuild gave the same bytes."""
        return all(v.status == "reproducible" for v in self.verdicts)
