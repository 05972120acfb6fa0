"""What the surroundings of the process refuse, in words: files, limits, encodings, the current directory."""

from __future__ import annotations

import errno
import os
from typing import Final

from hermetic.errors import HermeticError, StoreError
from hermetic.filesystem import LIMITS

_LIMITS: Final = "`ulimit -a` lists the limits of this process"
_HINTS: Final = {
    errno.ENOSPC: "free some space (`hermetic gc` may help); nothing half-written is left",
    errno.EDQUOT: "the quota is used up; `hermetic gc` may help",
    errno.EACCES: "check who owns it, or choose another store with --store",
    errno.EROFS: "choose another store with --store",
    **LIMITS,
    errno.EAGAIN: "raise the limit of processes (ulimit -u)",
    errno.ENOMEM: "raise the limit of memory (ulimit -v)",
}


def explained(error: Exception) -> HermeticError | None:
    """An error that no layer below has put in words; None: not one of the surroundings."""
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, UnicodeError):
        return _of_encoding(error)
    if isinstance(error, ImportError):
        return HermeticError(f"cannot load a module: {error}", hint=f"{_LIMITS}; or install hermetic again")
    if "can't start new thread" in str(error):
        hint = "raise the limits of processes (ulimit -u) and of memory (ulimit -v)"
        return HermeticError("cannot start another thread", hint=hint)
    return None


def _of_system(error: OSError) -> HermeticError:
    if error.errno == errno.ENOENT and not error.filename and not _is_here():
        return HermeticError(
            "the current directory has been removed",
            hint="change to another one, or give absolute paths with --project and --store",
        )
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    return StoreError(f"{where}{error.strerror or error}", hint=_HINTS.get(error.errno or 0))


def _of_encoding(error: UnicodeError) -> HermeticError | None:
    if not isinstance(error, UnicodeEncodeError):
        return None
    text = error.object
    if any("\udc80" <= c <= "\udcff" for c in text):
        return HermeticError(f"not valid UTF-8: {text[:200]!r}", hint="use a name or path that is")
    return HermeticError(
        f"the encoding of this locale ({error.encoding}) cannot represent {text[:200]!a}",
        hint="set LC_ALL=C.UTF-8",
    )


def _is_here() -> bool:
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        return False
    return True
