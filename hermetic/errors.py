"""One tree of exceptions. Every error that a user can meet is one of these.

An error states a fact (`message`), and, where there is one, the remedy (`hint`). Only `hermetic.cli`
prints them. Exit codes are part of the command line's contract (see README).
"""

from __future__ import annotations

# What `typing.TYPE_CHECKING` stands for; see `store.quick`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class HermeticError(Exception):
    """Base of all errors that are reported without a traceback.

    Args:
        message: what is wrong, with the file, line and value it was found in.
        hint: what to do about it, one sentence.
        details: further lines (a log's tail, attempts made), printed between message and hint.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(HermeticError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_code = 2


class RecipeError(HermeticError):
    """A recipe, a build script's declaration or a patch is not valid."""


class LockError(HermeticError):
    """`flake-like.lock` is not valid or does not pin what is asked for."""


class PatchError(RecipeError):
    """A patch is malformed or does not apply."""


class ArchiveError(HermeticError):
    """An archive is damaged or holds what may not enter the store."""


class FetchError(HermeticError):
    """A source could not be had from any mirror."""


class HashMismatch(HermeticError):
    """Bytes are not those that were pinned."""

    exit_code = 102


class SubstituterError(HermeticError):
    """A substituter could not give what it was asked for. The next one is asked."""


class StoreError(HermeticError):
    """The store cannot be used: not writable, full, corrupt, of another version."""


class SandboxError(HermeticError):
    """The sandbox could not be set up. Nothing was built."""


class BuildFailure(HermeticError):
    """A build script failed, or left no output."""

    exit_code = 100


class BuildTimeout(BuildFailure):
    """A build ran for longer than its recipe allows."""

    exit_code = 101


class NotReproducible(HermeticError):
    """A rebuild gave other bytes."""

    exit_code = 104


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is probably a misspelling of, or None."""
    import difflib

    names = sorted(set(candidates))
    by_folded = {name.casefold().replace("_", "-"): name for name in names}
    folded = word.casefold().replace("_", "-")
    if folded in by_folded:
        return by_folded[folded]
    close = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """The hint `did you mean "..."?`, or, where nothing is near but the choice is small, all of the names."""
    names = sorted(set(candidates))
    near = nearest(word, names)
    if near is not None:
        return f'did you mean "{near}"?'
    if names and len(names) <= 12:
        return "known here: " + ", ".join(names)
    return None
