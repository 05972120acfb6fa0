"""`pypi:NAME==VERSION#FILE`: a file of a Python package, looked up as pip would (PEP 503, PEP 691)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hermetic.errors import FetchError
from hermetic.sources import versions
from hermetic.sources.fetch import links
from hermetic.sources.fetch.mirror import Location, Offer

if TYPE_CHECKING:
    from hermetic.project.pin import Pin
    from hermetic.sources.fetch.machine import Machine

_SPEC: Final = re.compile(r"pypi:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)#([^/]+)")


class PyPI:
    """A wheel or source archive of one version of a package."""

    def __init__(self, spec: str) -> None:
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise FetchError(f"{spec}: not of the form pypi:NAME==VERSION#FILE")
        self.name, self.version, self.file = match.groups()

    def locate(self, machine: Machine) -> Iterator[Location]:
        found = False
        asked: list[str] = []
        for page in self._pages(machine):
            try:
                offered = links.page(machine.http, page)
            except FetchError as problem:
                asked.append(problem.message)
                continue
            for link in offered:
                if link.name == self.file:
                    found = True
                    yield machine.pip.location(link.url)
                    break
            else:
                asked.append(f"{page.url}: not listed there")
        if not found:
            where = "; ".join(asked) or "pip is told to use no index and no links"
            raise FetchError(f"no package index offers {self.file}: {where}")

    def newest(self, machine: Machine, pin: Pin) -> Offer:
        try:
            own, found = versions.in_index(self.file, self._listed(machine))
        except ValueError as problem:
            raise FetchError(f"{self.file}: {problem}") from None
        if not found:
            raise FetchError(f"no package index lists another file like {self.file}")
        for version in versions.newer(own, found, versions.line_of(pin)):
            return Offer(own, version, f"pypi:{self.name}=={version}#{found[version]}")
        return Offer(own, own, f"pypi:{self.name}=={self.version}#{self.file}")

    def _listed(self, machine: Machine) -> list[str]:
        """The files of the project, without those that were taken back (PEP 592)."""
        names: list[str] = []
        problems: list[str] = []
        for page in self._pages(machine):
            try:
                names += [link.name for link in links.page(machine.http, page) if not link.yanked]
            except FetchError as problem:
                problems.append(problem.message)
        if not names:
            raise FetchError(f"no package index lists {self.name}: {'; '.join(problems)}")
        return names

    def _pages(self, machine: Machine) -> Iterator[Location]:
        yield from machine.pip.pages()
        project = re.sub(r"[-_.]+", "-", self.name).lower()
        for index in machine.pip.indexes():
            yield index.at(f"{index.url.rstrip('/')}/{project}/")
