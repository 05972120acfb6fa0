"""`https://...` and `http://...`: an address as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hermetic.errors import FetchError
from hermetic.sources.fetch import links
from hermetic.sources.fetch.mirror import Location

if TYPE_CHECKING:
    from hermetic.sources.fetch.machine import Machine


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

    def siblings(self, machine: Machine) -> list[str]:
        """What the index page of the directory lists, where the server has one."""
        directory = Location(self.url.rpartition("/")[0] + "/")
        return [link.name for link in links.page(machine.http, directory)]
