"""`https://...` and `http://...`: an address as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from hermetic.errors import FetchError
from hermetic.sources import versions
from hermetic.sources.fetch import links
from hermetic.sources.fetch.mirror import Location, Offer

if TYPE_CHECKING:
    from hermetic.project.pin import Pin
    from hermetic.sources.fetch.machine import Machine

_MOST: Final = 5  # directories of newer versions that are looked into
_SAFE: Final = "/+~"


class Web:
    """A file on a web server. `http` is allowed: the hash decides, not the server."""

    def __init__(self, spec: str) -> None:
        try:
            host = urlsplit(spec).hostname
        except ValueError:
            host = None
        if not host:
            raise FetchError(f"{spec}: not a valid address")
        self.url = spec

    def locate(self, machine: Machine) -> Iterator[Location]:
        yield Location(self.url)

    def newest(self, machine: Machine, pin: Pin) -> Offer:
        """From the index page of a directory, where the server has one.

        A directory that has a version in its name may hold no release yet, so it is looked into.
        """
        try:
            directory, name = versions.place(self.url, pin.version)
        except ValueError as problem:
            raise FetchError(f"{self.url}: {problem}") from None
        found = versions.beside(name, pin.version, self._listed(machine, directory))
        if not found:
            raise FetchError(f"{directory}: nothing there is called like {name}")
        for version in versions.newer(pin.version, found, versions.line_of(pin))[:_MOST]:
            if directory + name == self.url:
                return Offer(pin.version, version, directory + quote(found[version], safe=_SAFE))
            url = versions.with_version(self.url, pin.version, version)
            if self._has(machine, url):
                return Offer(pin.version, version, url)
        return Offer(pin.version, pin.version, self.url)

    def _has(self, machine: Machine, url: str) -> bool:
        directory, _, file = url.rpartition("/")
        try:
            return unquote(file) in self._listed(machine, directory + "/")
        except FetchError:
            return False

    def _listed(self, machine: Machine, directory: str) -> list[str]:
        return [link.name for link in links.page(machine.http, Location(directory))]
