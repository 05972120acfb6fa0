"""A recipe: `derivations/NAME/recipe.toml` as a value.

Recipes are data. Everything that a field may hold is said here; whatever else stands in the file is an
error that names the line. `docs/recipes.md` explains the fields to those who write recipes.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from hermetic.errors import RecipeError, did_you_mean
from hermetic.project.toml import decode_toml, toml_line
from hermetic.project.worktree import DIRECTORY
from hermetic.systems import SYSTEMS

NAME: Final = re.compile(r"[a-z0-9][a-z0-9+_]*(-[a-z0-9+_]+)*\Z")
ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What people want to know and no build depends on. Not hashed.

    Attributes:
        main_program: what `hermetic run` starts, relative to the output; by default `bin/<name>`.
    """

    license: str = ""
    homepage: str = ""
    description: str = ""
    main_program: str = ""


class TargetSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[target.ARCH]`: what is different for one host system."""

    env: dict[str, str] = {}


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The fields of `recipe.toml`; see `docs/recipes.md`.

    Attributes:
        build_inputs: recipes that run while building. host_inputs: recipes that the output links or uses.
        timeout: seconds; not hashed.
    """

    name: str
    source: str | None = None
    version: str | None = None
    patches: tuple[str, ...] = ()
    extra_sources: dict[str, str] = {}
    toolchain: Literal["clang", "none"] = "clang"
    build_inputs: tuple[str, ...] = ()
    host_inputs: tuple[str, ...] = ()
    propagated_build_inputs: tuple[str, ...] = ()
    propagated_host_inputs: tuple[str, ...] = ()
    systems: tuple[str, ...] = tuple(SYSTEMS)
    allow: tuple[Literal["user-namespaces"], ...] = ()
    timeout: int = 7200
    seed: bool = False
    env: dict[str, str] = {}
    target: dict[str, TargetSection] = {}
    meta: Meta = Meta()

    def env_for(self, arch: str) -> dict[str, str]:
        """The recipe's own environment for one host system."""
        section = self.target.get(arch)
        return {**self.env, **(section.env if section else {})}


def path_of(name: str) -> str:
    """Where the recipe of that name stands, relative to the project."""
    return f"{DIRECTORY}/{name}/recipe.toml"


def parse(data: bytes, folder: str) -> Recipe:
    """Decode the recipe in `derivations/<folder>/recipe.toml`.

    Raises:
        RecipeError: with file, line, value and, where a name is nearly right, a suggestion.
    """
    filename = path_of(folder)
    recipe = decode_toml(data, filename, Recipe, RecipeError)
    text = data.decode("utf-8")

    def refuse(
        key: str | None, message: str, hint: str | None = None, table: tuple[str, ...] = ()
    ) -> RecipeError:
        line = toml_line(text, table, key)
        where = f"{filename}:{line}" if line else filename
        return RecipeError(f"{where}: {message}", hint=hint)

    if recipe.name != folder:
        raise refuse("name", f"name is {recipe.name!r}, but the folder is {folder!r}", "give both one name")
    if not NAME.match(recipe.name):
        raise refuse("name", f"{recipe.name!r} is no name", "use a-z, 0-9, '+', '_', and '-' between words")
    if recipe.source is None and recipe.version is None:
        raise refuse("name", "neither source nor version is given", 'without a source, say version = "1"')
    if recipe.source is not None and recipe.version is not None:
        raise refuse("version", "the version comes from the lock when there is a source", "remove the line")
    for arch in recipe.systems:
        if arch not in SYSTEMS:
            raise refuse("systems", f"unknown system {arch!r}", did_you_mean(arch, SYSTEMS))
    for arch in recipe.target:
        if arch not in SYSTEMS:
            hint = did_you_mean(arch, SYSTEMS)
            raise refuse(None, f"[target.{arch}] is for no known system", hint, ("target", arch))
    if recipe.timeout <= 0:
        raise refuse("timeout", f"timeout is {recipe.timeout}, but must be above 0 (seconds)")
    if recipe.seed and recipe.source is None:
        raise refuse("seed", "a seed needs a source")
    sections = {("env",): recipe.env} | {("target", a, "env"): t.env for a, t in recipe.target.items()}
    for table, env in sections.items():
        for key in env:
            if not ENV_NAME.match(key):
                raise refuse(key, f"{key!r} cannot name an environment variable", table=table)
    return recipe
