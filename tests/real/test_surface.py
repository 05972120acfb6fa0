"""The library contains what Debian's Python of the same version does, except what is listed with a reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.real.conftest import CHECKOUT, hermetic, line

DIRECTORY = CHECKOUT / "tests" / "real" / "interpreter"


def _expected(version: str) -> set[str]:
    """What Debian's library of a line contains: that of 3.13, and what has come (+) and gone (-) since."""
    names = set((DIRECTORY / "surface.txt").read_text().splitlines())
    if version != "3.13":
        since = DIRECTORY / f"surface-{version}.txt"
        if not since.exists():
            pytest.skip(f"nobody has listed what Debian's library of {version} contains")
        changes = since.read_text().splitlines()
        names -= {change[1:] for change in changes if change[0] == "-"}
        names |= {change[1:] for change in changes if change[0] == "+"}
    return names


def _missing(target: str, version: str) -> dict[str, str]:
    """Names that are known to be missing, with the reason."""
    recipe, _, architecture = target.rpartition("-")
    groups = tomllib.loads((DIRECTORY / "missing.toml").read_text())["missing"]
    listed = [
        (name, str(group["reason"]))
        for group in groups
        if architecture in group.get("architectures", [architecture])
        and version in group.get("lines", [version])
        and group.get("flavour", "") in recipe
        for name in group["names"]
    ]
    assert len(dict(listed)) == len(listed), "a name is listed twice"
    return dict(listed)


def test_every_name_of_debians_library_is_there_or_listed(target: str, tree: Path) -> None:
    expected = _expected(line(tree))
    present = set(hermetic("run", target, "--", "-I", str(DIRECTORY / "surface.py")).stdout.splitlines())
    missing = _missing(target, line(tree))
    assert sorted(expected - present - missing.keys()) == [], "missing"
    assert sorted(missing.keys() & present) == [], "listed as missing, but present"
    assert sorted(missing.keys() - expected) == [], "listed as missing, but not in Debian's library"
