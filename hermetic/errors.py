"""One tree of exceptions. Every error that a user can meet is one of these.

An error states a fact (`message`), and, where there is one, the remedy (`hint`). Only `hermetic.cli`
prints them. Exit codes are part of the command line's contract (see README).
"""

from __future__ import annotations


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
