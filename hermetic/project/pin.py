"""The pin: what the lock says of one source in one version."""

from __future__ import annotations

import msgspec


class Pin(msgspec.Struct, frozen=True):
    """One source in one version.

    Attributes:
        file: the name it is shown and kept under before it is in the store; not part of its identity.
        sha256: hex, as upstream publishes it. blake3: hex. size: bytes.
        mirrors: where to get it, in the order in which they are tried.
    """

    name: str
    version: str
    file: str
    sha256: str
    blake3: str
    size: int
    mirrors: tuple[str, ...]
