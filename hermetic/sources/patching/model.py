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
        mode_of: where it is renamed or copied, the path before the patch of the file whose mode it has.
        fresh: it is made anew, even where a file of the name was before: nothing of that one's mode stays.
    """

    content: bytes | None
    executable: bool | None = None
    mode_of: str | None = None
    fresh: bool = False


class Hunk(msgspec.Struct, frozen=True):
    """One stretch of changes.

    Attributes:
        line: where its `@@` stands in the patch.
        start: the first line of `before` in the old file, from 1; without such lines, the line before it.
        new_start: the same of `after` in the new file.
        before, after: the lines that must be there and what stands in their place, each with its line end.
        leading, trailing: how many lines stand unchanged before the first and after the last change.
    """

    line: int
    start: int
    new_start: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]
    leading: int
    trailing: int


class FilePatch(msgspec.Struct, frozen=True):
    """All hunks for one file.

    Paths are text; bytes of a name that are not UTF-8 are lone surrogates in it, as Python has them.

    Attributes:
        line: where it begins in the patch.
        candidates: the path, without its first component; two where a plain diff names its sides differently.
        source: the path of the file that is renamed or copied to it; None: it is neither.
        removes_source: whether it is renamed.
        creates: the file must not be there before. may_create: it need not be.
        deletes: nothing may be left of it, and it is removed.
        hunks: in the order of the file.
    """

    line: int
    candidates: tuple[str, ...]
    source: str | None
    removes_source: bool
    creates: bool
    may_create: bool
    deletes: bool
    executable: bool | None
    hunks: tuple[Hunk, ...]
