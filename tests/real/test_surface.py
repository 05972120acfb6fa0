"""The library contains what Debian's Python of the same version does, except what is listed with a reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.real.conftest import CHECKOUT, hermetic

DIRECTORY = CHECKOUT / "tests" / "real" / "interpreter"


def _missing(architecture: str) -> dict[str, str]:
    """Names that are known to be missing, with the reason."""
    groups = tomllib.loads((DIRECTORY / "missing.toml").read_text())["missing"]
    listed = [
        (name, str(group["reason"]))
        for group in groups
        if architecture in group.get("architectures", [architecture])
        for name in group["names"]
    ]
    assert len(dict(listed)) == len(listed), "a name is listed twice"
    return dict(listed)


def test_every_name_of_debians_library_is_there_or_listed(target: str, outputs: dict[str, Path]) -> None:
    expected = set((DIRECTORY / "surface.txt").read_text().splitlines())
    present = set(hermetic("run", target, "--", "-I", str(DIRECTORY / "surface.py")).stdout.splitlines())
    missing = _missing(target.rsplit("-", 1)[1])
    assert sorted(expected - present - missing.keys()) == [], "missing"
    assert sorted(missing.keys() & present) == [], "listed as missing, but present"
    assert sorted(missing.keys() - expected) == [], "listed as missing, but not in Debian's library"
