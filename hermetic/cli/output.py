"""What several commands print: values as JSON, and errors of the operating system in words."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import msgspec

from hermetic.errors import HermeticError, StoreError


def from_os_error(error: OSError) -> HermeticError:
    """An error of the operating system that no layer below has put in words."""
    where = f"{error.filename}: " if error.filename else ""
    hints: dict[int | None, str] = {
        errno.ENOSPC: "free some space (`hermetic gc` may help); nothing half-written is left",
        errno.EDQUOT: "the quota is used up; `hermetic gc` may help",
        errno.EACCES: "check who owns it, or choose another store with --store",
        errno.EROFS: "choose another store with --store",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
    }
    return StoreError(f"{where}{error.strerror or error}", hint=hints.get(error.errno))


def as_json(value: Any) -> str:
    """A value as indented JSON, with a line's end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + os.linesep


def write_json(value: Any) -> None:
    """Print a value as indented JSON on stdout."""
    sys.stdout.write(as_json(value))
