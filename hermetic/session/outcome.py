"""What came of realizing targets, as values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hermetic.errors import BuildFailure, HermeticError

if TYPE_CHECKING:
    from hermetic.derivation.step import Step


class Output(msgspec.Struct, frozen=True):
    """The output of a target.

    Attributes:
        derivation: id of the target's derivation.
        object: name of the store object. path: where it is.
        origin: the other store that it was copied from just now; empty where it was built or there already.
    """

    target: str
    derivation: str
    object: str
    path: Path
    origin: str = ""


class Pending(msgspec.Struct, frozen=True):
    """What may have to be done. `origin`: the other store that has the output; empty where none has."""

    step: Step
    origin: str = ""


class Failure(msgspec.Struct, frozen=True):
    """A derivation that could not be realized. `label`: what it is called in front of people."""

    derivation: str
    label: str
    error: HermeticError


class Realized(msgspec.Struct, frozen=True):
    """What came of `Session.realize`.

    Attributes:
        outputs: by target, for all that are realized, in the order in which they were asked for.
        failures: what failed; only with `keep_going` more than nothing.
        skipped: labels of what was not tried because of them.
    """

    outputs: dict[str, Output]
    failures: tuple[Failure, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def error(self) -> HermeticError | None:
        """All failures as one error; None when everything is realized."""
        if not self.failures:
            return None
        if len(self.failures) == 1 and not self.skipped:
            return self.failures[0].error
        lines: list[str] = []
        for failure in self.failures:
            message = failure.error.message
            lines.append(message if message.startswith(failure.label) else f"{failure.label}: {message}")
            lines += failure.error.details
        error = BuildFailure(
            f"{len(self.failures)} failed, {len(self.skipped)} not tried because of them",
            details=tuple(lines),
        )
        codes = {failure.error.exit_code for failure in self.failures}
        error.exit_code = codes.pop() if len(codes) == 1 else BuildFailure.exit_code
        return error
