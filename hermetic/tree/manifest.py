"""The manifest: a list of all entries of a tree, with one canonical encoding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from hermetic import hashing
from hermetic.errors import StoreError

Kind: TypeAlias = Literal["file", "exec", "link", "dir"]

MOST: Final = 1 << 30  # largest encoded manifest, in bytes
_KINDS: Final[dict[bytes, Kind]] = {b"file": "file", b"exec": "exec", b"link": "link", b"dir": "dir"}


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry of a manifest.

    Attributes:
        path: path relative to the root, without a leading slash; empty for the root itself.
        size: bytes of the content or of the link target; 0 for a directory.
        digest: hex BLAKE3 (plain, as `b3sum` prints it) of the content or link target; empty for a directory.
    """

    path: bytes
    kind: Kind
    size: int
    digest: str


class Manifest(msgspec.Struct, frozen=True):
    """All entries of a tree, sorted by path."""

    entries: tuple[Entry, ...]

    def encode(self) -> bytes:
        """The canonical bytes: `<kind> <size> <digest or -> <path>` and a NUL byte for each entry."""
        return b"".join(
            [
                b"%b %d %b %b\0" % (e.kind.encode(), e.size, e.digest.encode() or b"-", e.path)
                for e in self.entries
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Decode the output of `encode`.

        Raises:
            StoreError: the bytes are not a manifest in canonical form.
        """
        entries = []
        try:
            for line in data.split(b"\0")[:-1]:
                kind, size, digest, path = line.split(b" ", 3)
                word = _KINDS.get(kind)
                if word is None:
                    raise ValueError(f"kind {kind!r}")
                entries.append(Entry(path, word, int(size), digest.decode() if digest != b"-" else ""))
        except ValueError as error:
            raise StoreError(f"a manifest is damaged: {error}") from error
        manifest = cls(tuple(entries))
        if not entries or manifest.encode() != data:
            raise StoreError("a manifest is damaged: it is not in canonical form")
        return manifest

    @property
    def content_hash(self) -> str:
        """The content hash of the tree: 52 characters of base32."""
        return content_hash(self.encode())

    @property
    def size(self) -> int:
        """Total size of all contents, in bytes."""
        return sum([e.size for e in self.entries])

    @property
    def files(self) -> int:
        """Number of entries that are not directories."""
        return sum([e.kind != "dir" for e in self.entries])


def content_hash(manifest: bytes) -> str:
    """The content hash of an encoded manifest."""
    return hashing.digest(hashing.TREE, manifest)


def compare(expected: Manifest, found: Manifest) -> Iterator[str]:
    """The differences between two manifests, one line for each entry: `altered: bin/x`."""
    old = {e.path: e for e in expected.entries}
    new = {e.path: e for e in found.entries}
    for path in sorted(old.keys() | new.keys()):
        a, b, name = old.get(path), new.get(path), os.fsdecode(path) or "."
        if b is None:
            yield f"missing: {name}"
        elif a is None:
            yield f"added: {name}"
        elif a.kind != b.kind:
            yield f"altered: {name} (was {a.kind}, is {b.kind})"
        elif a != b:
            yield f"altered: {name}" + (f" (was {a.size} bytes, is {b.size})" if a.size != b.size else "")
