"""`debian:pool/...`: a file of Debian's archive, from wherever apt gets its packages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from hermetic.errors import FetchError
from hermetic.sources.fetch import apt, links
from hermetic.sources.fetch.mirror import Location

if TYPE_CHECKING:
    from hermetic.sources.fetch.machine import Machine


class Debian:
    """A file below `pool/`. Most `.orig.tar.*` there are upstream's own, byte for byte."""

    def __init__(self, spec: str) -> None:
        self.path = spec.removeprefix("debian:")
        parts = self.path.split("/")
        if parts[0] != "pool" or len(parts) < 3 or {"", ".", ".."} & set(parts) or re.search(r"[?#]", spec):
            raise FetchError(f"{spec}: not of the form debian:pool/...")

    def locate(self, machine: Machine) -> Iterator[Location]:
        apt.require(machine.apt)
        for base in machine.apt.uris:
            yield machine.apt.location(f"{base.rstrip('/')}/{quote(self.path, safe='/+~')}")

    def siblings(self, machine: Machine) -> list[str]:
        apt.require(machine.apt)
        directory = posixpath.dirname(self.path)
        problems: list[str] = []
        for base in machine.apt.uris:
            try:
                page = machine.apt.location(f"{base.rstrip('/')}/{quote(directory, safe='/+~')}/")
                return [link.name for link in links.page(machine.http, page)]
            except FetchError as problem:
                problems.append(problem.message)
        raise FetchError(f"no archive lists {directory}: {'; '.join(problems)}")
