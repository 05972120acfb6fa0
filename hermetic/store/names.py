"""Names of store objects: `<content hash>-<name>-<version>`."""

from __future__ import annotations

import re
from typing import Final

from hermetic.errors import StoreError
from hermetic.hashing import DIGEST_CHARS, is_digest

_PART: Final = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9+._~@=-]*")
_LONGEST: Final = 255  # bytes; what every Linux file system takes


def label_of(name: str, version: str) -> str:
    """What follows the content hash in an object's name.

    Raises:
        StoreError: a part holds what a file name or a shell word should not.
    """
    for part in (name, version):
        if not _PART.fullmatch(part):
            raise StoreError(
                f"{part!r} cannot be part of a store object's name",
                hint="allowed are letters, digits and + . _ ~ @ = -, the first a letter, a digit, _ or +",
            )
    label = f"{name}-{version}"
    if len(label) + DIGEST_CHARS + 1 > _LONGEST:
        raise StoreError(f"{label} is too long for a store object's name ({len(label)} bytes)")
    return label


def object_name(content_hash: str, label: str) -> str:
    """The name of an object in the store's directory."""
    return f"{content_hash}-{label}"


def is_object_name(text: str) -> bool:
    """Whether a file in the store's directory bears the name of an object."""
    fits = is_digest(text[:DIGEST_CHARS]) and text[DIGEST_CHARS : DIGEST_CHARS + 1] == "-"
    return fits and _PART.fullmatch(label_in(text)) is not None and len(text) <= _LONGEST


def content_hash_of(name: str) -> str:
    """The content hash that an object's name begins with."""
    return name[:DIGEST_CHARS]


def label_in(name: str) -> str:
    """What follows the content hash in an object's name."""
    return name[DIGEST_CHARS + 1 :]
