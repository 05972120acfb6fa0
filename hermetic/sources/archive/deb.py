"""Reads Debian packages: an ar archive of `debian-binary`, `control.tar.*`, `data.tar.*`, in this order."""

from __future__ import annotations

import os
from typing import IO

from hermetic.errors import ArchiveError
from hermetic.sources.archive import tar
from hermetic.sources.archive.output import Tree


def unpack(file: IO[bytes], name: str, tree: Tree) -> None:
    """Unpack the `data.tar` of the package."""
    file.seek(8)
    members: list[str] = []
    while header := file.read(60):
        if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise ArchiveError(f"{name}: damaged: not a valid ar header after {members or 'the beginning'}")
        size = int(header[48:58])
        member = header[:16].rstrip().rstrip(b"/").decode("ascii", "backslashreplace")
        members.append(member)
        if members[0] != "debian-binary":
            break
        if member.startswith("data.tar"):
            part = _Part(file, size)
            tar.unpack(part, name, tree)
            return
        file.seek(size + size % 2, os.SEEK_CUR)
    held = ", ".join(members) or "nothing"
    raise ArchiveError(f"{name}: an ar archive, but not a Debian package: it holds {held}")


class _Part:
    """The next `size` bytes of a file, as a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self.start = file.tell()
        self.size = size

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, offset: int) -> int:
        return self.file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        left = max(self.start + self.size - self.file.tell(), 0)
        return self.file.read(left if size < 0 else min(size, left))
