"""Names of store objects: `<content hash>-<name>-<version>`."""

from __future__ import annotations

import re
from typing import Final

from hermetic.errors import StoreError
from hermetic.hashing import DIGEST_CHARS

_PART: Final = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9+._~@=-]*")
_OBJECT: Final = re.compile(rf"[a-z2-7]{{{DIGEST_CHARS}}}-[A-Za-z0-9_+][A-Za-z0-9+._~@=-]*")
_LONGEST: Final = 255  # bytes; what every Linux file system takes


def object_name(content_hash: str, name: str, version: str) -> str:
    """The name of an object in the store's folder.

    Raises:
        StoreError: a part holds what a file name or a shell word should not, or all is too long.
    """
    for part in (name, version):
        if not _PART.fullmatch(part):
            raise StoreError(
                f"{part!r} cannot be part of a store object's name",
                hint="allowed are letters, digits and + . _ ~ @ = -, the first a letter, a digit, _ or +",
            )
    result = f"{content_hash}-{name}-{version}"
    if len(result) > _LONGEST:
        raise StoreError(f"{result} is {len(result)} bytes long; a file name has at most {_LONGEST}")
    return result


def is_object_name(text: str) -> bool:
    """Whether a file in the store's folder bears the name of an object."""
    return _OBJECT.fullmatch(text) is not None and len(text) <= _LONGEST


def content_hash_of(name: str) -> str:
    """The content hash that an object's name begins with."""
    return name[:DIGEST_CHARS]
