"""What the store knows of its objects, as values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from hermetic import filesystem
from hermetic.hashing import is_digest
from hermetic.store.names import is_object_name

_MOST: Final = 16 << 20  # bytes of one realisation's file

_LATEST: Final = 253_402_300_800  # the year 10000 as Unix time, which no calendar function knows


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a derivation gave, as far as it is the same for everybody whose builds are reproducible.

    Attributes:
        drv_id: derivation id.
        object: name of the store object.
        name, version: of the derivation. system: triple of the host system; empty for sources.
    """

    drv_id: str
    object: str
    name: str
    version: str
    system: str = ""


class Realisation(Published, frozen=True, kw_only=True):
    """The record that a derivation gave a store object.

    Attributes:
        build_key: the key that its inputs' contents gave.
        inputs: names of the objects that it was made from, direct ones only.
        seconds: how long it took. built_at: Unix time, seconds.
    """

    build_key: str
    inputs: tuple[str, ...] = ()
    seconds: float = 0.0
    built_at: int = 0

    @property
    def is_source(self) -> bool:
        """Whether it was fetched or unpacked, not built."""
        return not self.system

    def is_sound(self) -> bool:
        """Whether names and hashes have the form that they must have: a check for records read from disk."""
        return (
            is_digest(self.drv_id)
            and is_digest(self.build_key)
            and is_object_name(self.object)
            and all(map(is_object_name, self.inputs))
        )


class Info(msgspec.Struct, frozen=True):
    """What is recorded of a store object.

    Attributes:
        size: bytes of all files. files: number of files and links.
        registered_at, last_used: Unix time, seconds; the latter is kept to the hour only.
    """

    name: str
    size: int
    files: int
    registered_at: int
    last_used: int

    def is_sound(self) -> bool:
        """Whether this can be so: a check for what a database says."""
        return (
            type(self.name) is str
            and is_object_name(self.name)
            and type(self.size) is int
            and type(self.files) is int
            and type(self.registered_at) is int
            and type(self.last_used) is int
            and self.size >= 0
            and self.files >= 0
            and 0 <= self.registered_at < _LATEST
            and 0 <= self.last_used < _LATEST
        )


class Reference(msgspec.Struct, frozen=True, gc=False):
    """What a collection has to know of a realisation.

    Attributes:
        id: grows with each registration.
        object: name of the store object. is_source: it was fetched or unpacked.
        inputs: names of the objects that it was made from.
    """

    id: int
    object: str
    is_source: bool
    inputs: tuple[str, ...]


class Root(msgspec.Struct, frozen=True):
    """Something that keeps a store object alive.

    Attributes:
        kind: `named` (made by hand), `link` (a result link elsewhere), `process` (a running one), `seed` (pinned
            by the project).
        name: the root's name, the link's path, the process in words, or the seed's name.
        object: name of the store object.
        since: Unix time, seconds.
    """

    kind: str
    name: str
    object: str
    since: int


def encode(realisation: Realisation) -> bytes:
    """A realisation as a small JSON file, for `.hermetic/realisations/`."""
    return msgspec.json.format(msgspec.json.encode(realisation, order="sorted"), indent=1) + b"\n"


def decode(data: bytes) -> Realisation | None:
    """Read such a file; None where it is damaged."""
    try:
        found = msgspec.json.decode(data, type=Realisation)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.is_sound() else None


def read(path: Path) -> Realisation | None:
    """The realisation in a record; None where there is none, it is damaged, or bears the name of another."""
    try:
        found = decode(filesystem.whole(str(path), _MOST))
    except OSError:
        return None
    return found if found is not None and path.name == f"{found.drv_id}.json" else None
