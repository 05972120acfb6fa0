"""`debian:pool/...`: a file of Debian's archive, from wherever apt gets its packages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from hermetic.errors import FetchError
from hermetic.sources import versions
from hermetic.sources.fetch import apt, debian_index, links
from hermetic.sources.fetch.mirror import Location, Offer

if TYPE_CHECKING:
    from hermetic.project.pin import Pin
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

    def newest(self, machine: Machine, pin: Pin) -> Offer:
        directory, file = posixpath.split(self.path)
        try:
            own, found = versions.in_pool(file, self._listed(machine, directory))
        except ValueError as problem:
            raise FetchError(f"debian:{self.path}: {problem}") from None
        if not found:
            raise FetchError(f"{directory}: nothing there is called like {file}")
        for version in versions.newer(own, found, versions.line_of(pin)):
            return Offer(own, version, f"debian:{directory}/{found[version]}")
        return Offer(own, own, f"debian:{self.path}")

    def _listed(self, machine: Machine, directory: str) -> list[str]:
        """The files of a directory, from the first archive that lists it, or else from an index."""
        apt.require(machine.apt)
        problems: list[str] = []
        for base in machine.apt.uris:
            try:
                page = machine.apt.location(f"{base.rstrip('/')}/{quote(directory, safe='/+~')}/")
                return [link.name for link in links.page(machine.http, page)]
            except FetchError as problem:
                problems.append(problem.message)
        for base in machine.apt.uris:
            try:
                return debian_index.files(machine, base, self.path)
            except FetchError as problem:
                problems.append(problem.message)
        raise FetchError(f"no archive lists {directory}: {'; '.join(problems)}")
