"""What a mirror is, and the addresses that it gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

if TYPE_CHECKING:
    from hermetic.project.pin import Pin
    from hermetic.sources.fetch.machine import Machine


class Location(msgspec.Struct, frozen=True):
    """One address that may serve a file, and how to reach it.

    Attributes:
        url: `https:`, `http:` or `file:`.
        proxy: address of a proxy; None: as the environment says; empty: none.
        ca_file: certificates to trust instead of the system's.
        verify: whether the server must prove who it is. The bytes are checked by hash in any case.
    """

    url: str
    proxy: str | None = None
    ca_file: str | None = None
    verify: bool = True

    def at(self, url: str) -> Location:
        """Another address that is reached in the same way."""
        return msgspec.structs.replace(self, url=url)


class Offer(msgspec.Struct, frozen=True):
    """The newest version that a mirror lists.

    Attributes:
        own: what the mirror calls the version that is pinned; others may write it otherwise than the lock.
        version: the newest one; `own` where there is no newer one.
        spec: its address, as an entry of the lock.
    """

    own: str
    version: str
    spec: str


class Mirror(Protocol):
    """Knows where a file may be found. One class, in a module of its own, for each kind."""

    def locate(self, machine: Machine) -> Iterator[Location]:
        """The addresses to try, in order; looked up one by one, as the earlier ones fail.

        Raises:
            FetchError: there is none, and why. May come after some addresses.
        """

    def newest(self, machine: Machine, pin: Pin) -> Offer:
        """The newest version of the file that is listed where this one stands, of the line of `pin`.

        Raises:
            FetchError: other versions cannot be listed.
        """


def local_path(url: str) -> Path:
    """The path that a `file:` address names."""
    return Path(unquote(urlsplit(url).path))


def redacted(url: str) -> str:
    """An address without the user name and password that may stand in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
