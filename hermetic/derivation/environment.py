"""The environment of a build, but for what depends on the size of the machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from hermetic.derivation.value import PREFIX
from hermetic.project.recipe import Recipe
from hermetic.systems import BUILD_SYSTEM, System

CONSTANT: Final = {
    "HOME": "/build",
    "LC_ALL": "C",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "315532800",  # 1980-01-01: the oldest date that zip archives can hold
    "TERM": "dumb",
    "TMPDIR": "/tmp",
    "TZ": "UTC",
}
# What a recipe's own environment may set although every build has it.
OVERRIDABLE: Final = frozenset({"CPPFLAGS", "LDFLAGS"})

Side = tuple[str, System]  # a recipe, and the system that its output is for


class Inputs(msgspec.Struct, frozen=True):
    """All inputs of one recipe for one host system. They are sets: sorted, however a recipe orders them.

    Attributes:
        linked: names of those on the host side that the output links or uses, which the toolchain is not.
        toolchain: name of the recipe that compiles, or None.
    """

    build: tuple[Side, ...]
    host: tuple[Side, ...]
    linked: tuple[str, ...]
    toolchain: str | None


def logical(system: System, name: str) -> str:
    """The path at which builds see the output of a recipe."""
    return f"{PREFIX}/{system.name}/{name}"


def standard(
    recipe: Recipe, version: str, system: System, inputs: Inputs, brought: Mapping[str, Recipe]
) -> dict[str, str]:
    """What every build has, whatever its recipe's own `[env]` says.

    Args:
        brought: the recipes behind the inputs, by name.
    """
    libraries = [logical(system, n) for n in inputs.linked]
    env = {
        **CONSTANT,
        "PATH": ":".join(f"{p}/bin" for p in _search_path(system, inputs, brought)),
        "out": logical(system, recipe.name),
        "name": recipe.name,
        "version": version,
        "arch": system.arch,
        "system": system.name,
        "triple": system.triple,
        "build_system": BUILD_SYSTEM.name,
        "build_triple": BUILD_SYSTEM.triple,
        "CPPFLAGS": " ".join(f"-I{p}/include" for p in libraries),
        "LDFLAGS": " ".join(f"-L{p}/lib" for p in libraries),
        "PKG_CONFIG_LIBDIR": ":".join(f"{p}/lib/pkgconfig" for p in libraries) or "/none",
    }
    on_host = {n for n, _ in inputs.host}
    for name, side in inputs.build:
        env[_variable(name) + ("_for_build" if name in on_host else "")] = logical(side, name)
    for name, side in inputs.host:
        env[_variable(name)] = logical(side, name)
    return env


def _search_path(system: System, inputs: Inputs, brought: Mapping[str, Recipe]) -> list[str]:
    """The toolchain's programs first, then those of the build inputs; `path = "last"` after the others."""
    first = [(inputs.toolchain, system)] if inputs.toolchain else []

    def tools(place: str) -> Iterable[Side]:
        return ((n, s) for n, s in inputs.build if brought[n].path == place)

    return [logical(s, n) for n, s in dict.fromkeys((*first, *tools("usual"), *tools("last")))]


def _variable(name: str) -> str:
    return name.replace("-", "_").replace("+", "_")
