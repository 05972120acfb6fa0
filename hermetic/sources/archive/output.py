"""The tree that an archive becomes: what may be written, and what is refused.

All names are bytes, as the formats and the kernel have them; they are decoded only to be shown.
"""
# ruff: noqa: PTH101, PTH102, PTH118, PTH123, PTH211

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, Final, NoReturn, Protocol

from hermetic.errors import ArchiveError

# Beyond this many bytes an archive may unpack to so many times what it is packed. Real ones stay below 20.
RATIO_FROM: Final = 256 << 20
MAX_RATIO: Final = 200
MAX_LINKS: Final = 40  # links on the way of a link, as the kernel
MAX_DEPTH: Final = 500
CHUNK: Final = 1 << 20  # bytes


def show(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:300])
    return shown or "(no name)"


class Limits:
    """What one archive may cost."""

    def __init__(
        self,
        archive: str,
        max_bytes: int,
        max_entries: int,
        packed: int,
        check: Callable[[], None],
    ) -> None:
        """`packed`: bytes of the archive. `check`: called by readers before each entry; it may raise."""
        self.archive = archive
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.packed = max(packed, 1)
        self.check = check
        self.bytes = 0
        self.entries = 0

    def entry(self, name: bytes) -> None:
        self.entries += 1
        if self.entries > self.max_entries:
            self.refuse(name, f"more than {self.max_entries} entries")

    def size(self, name: bytes, size: int) -> None:
        """Account for `size` more bytes, before they are written."""
        self.bytes += size
        if self.bytes > self.max_bytes:
            self.refuse(name, f"unpacks to more than the limit of {self.max_bytes} bytes")
        if self.bytes > RATIO_FROM and self.bytes > MAX_RATIO * self.packed:
            self.refuse(name, f"unpacks to more than {MAX_RATIO} times its size: a decompression bomb")

    def refuse(self, name: bytes, fact: str, hint: str | None = None) -> NoReturn:
        raise ArchiveError(f"{self.archive}: {show(name)}: {fact}", hint=hint)


class Data(Protocol):
    """Content of one file: writes all of it to a file descriptor."""

    def __call__(self, fd: int) -> None: ...


_DIRECTORY: Final = 0
_FILE: Final = 1


class Tree:
    """Everything that was unpacked so far, by name; it alone writes, and it decides what is refused.

    What stands where is known from `entries`, not from the file system: nobody else writes here, so that no
    entry can ever be written through a link.
    """

    def __init__(self, root: bytes, limits: Limits) -> None:
        self.root = root
        self.limits = limits
        # from path to: directory, file, or the target of a symbolic link
        self.entries: dict[bytes, int | bytes] = {}
        self.sizes: dict[bytes, int] = {}

    def at(self, path: bytes) -> bytes:
        """Where an entry stands on the disk."""
        return os.path.join(self.root, path)

    def path(self, raw: bytes) -> bytes:
        """The clean relative path of an entry; empty for the root itself."""
        if raw.startswith(b"/"):
            self.limits.refuse(raw, "an absolute path")
        if b"\0" in raw:
            self.limits.refuse(raw, "a name with a NUL byte")
        parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            self.limits.refuse(raw, "a path with .. could leave the tree")
        return b"/".join(parts)

    def make_parents(self, path: bytes) -> None:
        parent, _, _ = path.rpartition(b"/")
        if not parent or self.entries.get(parent) == _DIRECTORY:
            return
        if parent in self.entries:
            what = "a file" if self.entries[parent] == _FILE else "a symbolic link"
            self.limits.refuse(path, f"would be written through {show(parent)}, which is {what}")
        self.make_parents(parent)
        self.limits.entry(parent)
        os.mkdir(self.at(parent), 0o755)
        self.entries[parent] = _DIRECTORY

    def claim(self, raw: bytes) -> bytes:
        """The path of a new entry that is no directory, its parents made."""
        self.limits.entry(raw)
        path = self.path(raw)
        if not path:
            self.limits.refuse(raw, "a name for a file that means the root")
        if path in self.entries:
            self.limits.refuse(raw, "stands twice in the archive")
        if path.count(b"/") > MAX_DEPTH:
            self.limits.refuse(raw, "directories are nested too deeply")
        self.make_parents(path)
        return path

    def directory(self, raw: bytes) -> None:
        self.limits.entry(raw)
        path = self.path(raw)
        if not path or self.entries.get(path) == _DIRECTORY:
            return
        if path in self.entries:
            self.limits.refuse(raw, "stands twice in the archive, as a directory and as something else")
        if path.count(b"/") > MAX_DEPTH:
            self.limits.refuse(raw, "directories are nested too deeply")
        self.make_parents(path)
        os.mkdir(self.at(path), 0o755)
        self.entries[path] = _DIRECTORY

    def file(self, raw: bytes, size: int, executable: bool, data: Data) -> None:
        """Write a file of `size` bytes. Only the executable bit of its mode is kept: setuid never arrives."""
        path = self.claim(raw)
        self.limits.size(raw, size)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.at(path), flags, 0o755 if executable else 0o644)
        try:
            data(fd)
            os.fchmod(fd, 0o755 if executable else 0o644)
            os.utime(fd, ns=(0, 0))
        finally:
            os.close(fd)
        self.entries[path] = _FILE
        self.sizes[path] = size

    def symlink(self, raw: bytes, target: bytes) -> None:
        """Make a symbolic link. Whether it stays in the tree is checked when all is there, by `finish`."""
        if target.startswith(b"/"):
            self.limits.refuse(raw, f"a symbolic link to the absolute path {show(target)}")
        if not target or b"\0" in target:
            self.limits.refuse(raw, "a symbolic link without a valid target")
        path = self.claim(raw)
        os.symlink(target, self.at(path))
        self.entries[path] = target

    def hard_link(self, raw: bytes, target: bytes) -> None:
        """Copy an earlier entry: in the store files are told apart by content, not by inode."""
        if target.startswith(b"/") or b".." in target.split(b"/"):
            self.limits.refuse(raw, f"a hard link out of the tree, to {show(target)}")
        source = self.path(target)
        if source in self.entries and source == self.path(raw):
            return  # GNU tar writes this for a file that it was told to pack twice
        found = self.entries.get(source)
        if isinstance(found, bytes):
            self.symlink(raw, found)
            return
        if found != _FILE:
            self.limits.refuse(raw, f"a hard link to {show(target)}, which is no file before it")
        place = self.at(source)
        with open(place, "rb") as original:
            executable = bool(os.fstat(original.fileno()).st_mode & 0o100)
            self.file(raw, self.sizes[source], executable, lambda fd: _copy_file(original, fd))

    def finish(self, strip: bool) -> bytes:
        """Check all links and set the times of directories.

        Returns:
            The top-level directory that is left out, or nothing.
        """
        if not self.entries:
            raise ArchiveError(f"{self.limits.archive}: the archive is empty")
        tops = [path for path in self.entries if b"/" not in path]
        top = tops[0] if strip and len(tops) == 1 and self.entries[tops[0]] == _DIRECTORY else b""
        for path, entry in self.entries.items():
            if isinstance(entry, bytes):
                if self.leads_out(path, entry, top):
                    self.limits.refuse(path, f"a symbolic link out of the tree, to {show(entry)}")
                os.utime(self.at(path), ns=(0, 0), follow_symlinks=False)
        for path, entry in self.entries.items():
            if entry == _DIRECTORY:
                os.chmod(self.at(path), 0o755)  # whatever the umask was
                os.utime(self.at(path), ns=(0, 0))
        return top

    def leads_out(self, path: bytes, target: bytes, top: bytes) -> bool:
        """Whether following a link, and the links on its way, would ever step above the root."""
        here = path.split(b"/")[:-1]
        floor = 1 if top else 0
        todo = target.split(b"/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if len(here) <= floor:
                    return True
                here.pop()
                continue
            here.append(part)
            entry = self.entries.get(b"/".join(here))
            if isinstance(entry, bytes):
                links += 1
                if links > MAX_LINKS:
                    return False  # the kernel gives up as well: it leads nowhere
                here.pop()
                todo += entry.split(b"/")[::-1]
        return False


def _copy_file(source: IO[bytes], fd: int) -> None:
    source.seek(0)
    while chunk := source.read(CHUNK):
        write_all(fd, chunk)


def write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
