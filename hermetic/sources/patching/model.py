"""A patch and its effect, as values."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Files(Protocol):
    """Where `apply` reads the files that a patch touches."""

    def read(self, path: str) -> bytes | None:
        """Content of a file, named relative to the root, or None when there is none."""


class Change(msgspec.Struct, frozen=True):
    """What becomes of one file.

    Attributes:
        content: the new content; None: the file is removed.
        executable: its new mode; None: as it was (not executable, for a new file).
    """

    content: bytes | None
    executable: bool | None = None


class Hunk(msgspec.Struct, frozen=True):
    """One stretch of changes.

    Attributes:
        line: where its `@@` stands in the patch.
        start: the first line of `before` in the old file, from 1.
        before, after: the lines that must be there and what stands in their place, each with its line end.
    """

    line: int
    start: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


class FilePatch(msgspec.Struct, frozen=True):
    """All hunks for one file.

    Attributes:
        line: where it begins in the patch.
        candidates: the path, without its first component; two where a plain diff names its sides differently.
        creates: the file must not be there before. may_create: it need not be.
        deletes: nothing may be left of it, and it is removed.
        hunks: in the order of the file.
    """

    line: int
    candidates: tuple[str, ...]
    creates: bool
    may_create: bool
    deletes: bool
    executable: bool | None
    hunks: tuple[Hunk, ...]
