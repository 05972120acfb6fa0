"""The test suite of a Python package with extension modules, run by pytest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hermetic.check.room import WORK, Ran, Room
from hermetic.check.suite import JUNIT, unusable

PLACE: Final = "/packages"  # where the package, pytest and what they need are; programs in `bin`
_OPTIONS: Final = (
    "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-m", "not slow",
    "-c", "/dev/null", "--rootdir", PLACE, "--junit-xml", f"{WORK}/{JUNIT}",
)  # fmt: skip
_IMPORT: Final = 120.0  # seconds


class PackageTests:
    """The files of a package that pytest takes for tests: `numpy.fft.tests.test_helper`. A `Suite`.

    Args:
        package: its name.
        tree: the directory that the sandbox has at `PLACE`.
    """

    failed, empty = 1, 5

    def __init__(self, package: str, tree: Path) -> None:
        self._package, self._tree = package, tree

    def files(self, room: Room) -> tuple[str, ...]:
        ran = room.run("import", "-c", f"import pytest, {self._package}", timeout=_IMPORT)
        if not ran.result.ok:
            raise unusable(f"{room.interpreter.target} cannot import {self._package}", ran)
        paths = (path.relative_to(self._tree) for path in (self._tree / self._package).rglob("test_*.py"))
        return tuple(sorted(".".join(path.with_suffix("").parts) for path in paths))

    def start(self, room: Room, name: str, timeout: float) -> Ran:
        file = f"{PLACE}/{name.replace('.', '/')}.py"
        return room.run(name, *_OPTIONS, file, timeout=timeout, keep=JUNIT)
