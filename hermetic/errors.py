"""The exceptions that are reported to users.

An error states what failed (`message`) and, if there is a remedy, what to do (`hint`). Only `hermetic.cli`
prints errors. The exit codes are documented in README.
"""

from __future__ import annotations

# Instead of `typing.TYPE_CHECKING`: importing `typing` is slow (see `store.quick`).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class HermeticError(Exception):
    """Base class of all errors that are reported without a traceback.

    Args:
        message: what failed, the value found, the value expected, and where (file, line, URL).
        hint: what to do, in one sentence: a command or an edit.
        details: more lines (end of a log, attempts made), printed between message and hint.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(HermeticError):
    """The command line names something that does not exist, or combines options that exclude each other."""

    exit_code = 2


class RecipeError(HermeticError):
    """A recipe or a patch is not valid."""


class LockError(HermeticError):
    """`flake-like.lock` is not valid, or does not pin a requested source."""


class PatchError(RecipeError):
    """A patch is malformed or does not apply."""


class ArchiveError(HermeticError):
    """An archive is damaged, or holds something that must not enter the store."""


class FetchError(HermeticError):
    """A source could not be downloaded from any mirror."""


class HashMismatch(HermeticError):
    """Content does not have the pinned hash."""

    exit_code = 102


class SubstituterError(HermeticError):
    """A substituter could not give what it was asked for. The next one is asked."""


class StoreError(HermeticError):
    """The store cannot be used: it is not writable, full, damaged, or of another version."""


class SandboxError(HermeticError):
    """The sandbox could not be set up. Nothing was built."""


class BuildFailure(HermeticError):
    """A build script failed or made no output."""

    exit_code = 100


class BuildTimeout(BuildFailure):
    """A build took longer than its recipe allows."""

    exit_code = 101


class NotReproducible(HermeticError):
    """A rebuild gave other bytes."""

    exit_code = 104


class CheckFailed(HermeticError):
    """An interpreter is not what it should be, or its tests did not end as expected."""

    exit_code = 104


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest to a misspelt `word`, or None."""
    import difflib

    names = sorted(set(candidates))
    by_folded = {name.casefold().replace("_", "-"): name for name in names}
    folded = word.casefold().replace("_", "-")
    if folded in by_folded:
        return by_folded[folded]
    close = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """A hint: `did you mean "..."?`, or all names if none is similar and there are few, or None."""
    names = sorted(set(candidates))
    near = nearest(word, names)
    if near is not None:
        return f'did you mean "{near}"?'
    if names and len(names) <= 12:
        return "known here: " + ", ".join(names)
    return None
