"""What a mirror is, and which kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from hermetic.errors import FetchError
from hermetic.suggest import did_you_mean

if TYPE_CHECKING:
    from hermetic.fetch.machine import Machine


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


def _web(spec: str) -> Mirror:
    from hermetic.fetch.web import Web

    return Web(spec)


def _pypi(spec: str) -> Mirror:
    from hermetic.fetch.pypi import PyPI

    return PyPI(spec)


def _debian(spec: str) -> Mirror:
    from hermetic.fetch.debian import Debian

    return Debian(spec)


KINDS: Final[dict[str, Callable[[str], Mirror]]] = {
    "https": _web,
    "http": _web,
    "pypi": _pypi,
    "debian": _debian,
}


def of(spec: str) -> Mirror:
    """The mirror that an entry of the lock names.

    Raises:
        FetchError: of no known kind, or not well-formed.
    """
    kind = spec.partition(":")[0]
    if kind not in KINDS:
        raise FetchError(f'{spec}: unknown kind of mirror "{kind}"', hint=did_you_mean(kind, KINDS))
    return KINDS[kind](spec)


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
