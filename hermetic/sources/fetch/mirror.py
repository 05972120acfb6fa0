"""What a mirror is, and the addresses that it gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

if TYPE_CHECKING:
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


class Mirror(Protocol):
    """Knows where a file may be found. One class, in a module of its own, for each kind."""

    def locate(self, machine: Machine) -> Iterator[Location]:
        """The addresses to try, in order; looked up one by one, as the earlier ones fail.

        Raises:
            FetchError: there is none, and why. May come after some addresses.
        """

    def siblings(self, machine: Machine) -> list[str]:
        """File names that stand beside this one: other versions may be among them.

        Raises:
            FetchError: they cannot be listed.
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
