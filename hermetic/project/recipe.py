"""A recipe: `derivations/NAME/recipe.toml` as a value.

Recipes are data. Every field is declared here; anything else in the file is an error that names the line.
`docs/recipes.md` explains the fields to those who write recipes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from hermetic.errors import RecipeError, did_you_mean
from hermetic.project.toml import decode_toml, parse_toml, toml_line
from hermetic.project.worktree import DIRECTORY
from hermetic.systems import SYSTEMS

NAME: Final = re.compile(r"[a-z0-9][a-z0-9+_]*(-[a-z0-9+_]+)*\Z")
ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
VERSION_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~-]*\Z")
NO_TOOLCHAIN: Final = "none"

T = TypeVar("T")


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What people want to know and no build depends on. Not hashed.

    Attributes:
        main_program: what `hermetic run` starts, relative to the output; by default `bin/<name>`.
    """

    license: str = ""
    homepage: str = ""
    description: str = ""
    main_program: str = ""


class Provides(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`[provides]`: what a toolchain gives to the builds that use it, beside its propagated inputs.

    Attributes:
        default: builds whose recipe names no toolchain use this one.
        env: for builds that have it as their toolchain (made for their host system).
        build_env: for builds that have it among their `build-inputs` (made for the build system).
    """

    default: bool = False
    env: dict[str, str] = {}
    build_env: dict[str, str] = {}


class VersionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`[version."3.14"]`: what is different for one line of a source.

    A field given here takes the place of the recipe's; `env` is joined with the recipe's, key by key.

    Attributes:
        without_patches: patches of the recipe that this line does not need.
    """

    patches: tuple[str, ...] | UnsetType = UNSET
    without_patches: tuple[str, ...] = ()
    extra_sources: dict[str, str] | UnsetType = UNSET
    build_inputs: tuple[str, ...] | UnsetType = UNSET
    host_inputs: tuple[str, ...] | UnsetType = UNSET
    propagated_build_inputs: tuple[str, ...] | UnsetType = UNSET
    propagated_host_inputs: tuple[str, ...] | UnsetType = UNSET
    systems: tuple[str, ...] | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    log_limit: int | UnsetType = UNSET
    process_limit: int | UnsetType = UNSET
    env: dict[str, str] | UnsetType = UNSET


class Extension(VersionSection, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A recipe that says only how it differs from the recipe that it `extends`.

    Its patches are applied after the other's; everything else is as in a section by version.
    """

    name: str
    extends: str
    version: dict[str, VersionSection] = {}
    meta: Meta | UnsetType = UNSET

    def for_version(self, version: str) -> Extension:
        """The extension for one version of the source."""
        section = _fitting(self.version, version)
        return self if section is None else _overlaid(self, section)


class SystemSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`[system.aarch64]`: what a recipe has more for one host system."""

    extra_files: tuple[str, ...] = ()


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The fields of `recipe.toml`; see `docs/recipes.md`.

    Attributes:
        version: the version itself where there is no source; else sections by version prefix.
        extra_sources: directory to source, unpacked. extra_files: sources that are not unpacked.
        system: sections by architecture.
        toolchain: a recipe with a `[provides]` table, `none`, or None for the default one.
        build_inputs: recipes that run while building. host_inputs: recipes that the output links or uses.
        path: where its `bin` stands on the `PATH` of builds that have it as a build input.
        timeout: seconds; not hashed. log_limit: largest log of a build, in MiB; not hashed.
        process_limit: most processes and threads of a build at the same time; not hashed.
    """

    name: str
    source: str | None = None
    version: str | dict[str, VersionSection] | None = None
    patches: tuple[str, ...] = ()
    extra_sources: dict[str, str] = {}
    extra_files: tuple[str, ...] = ()
    system: dict[str, SystemSection] = {}
    toolchain: str | None = None
    build_inputs: tuple[str, ...] = ()
    host_inputs: tuple[str, ...] = ()
    propagated_build_inputs: tuple[str, ...] = ()
    propagated_host_inputs: tuple[str, ...] = ()
    path: Literal["usual", "last", "none"] = "usual"
    systems: tuple[str, ...] = tuple(SYSTEMS)
    timeout: int = 7200
    log_limit: int = 256
    process_limit: int = 8192
    seed: bool = False
    env: dict[str, str] = {}
    provides: Provides | None = None
    meta: Meta = Meta()

    def files_for(self, arch: str) -> tuple[str, ...]:
        """The sources that a build for an architecture gets as they are."""
        section = self.system.get(arch)
        return self.extra_files if section is None else (*self.extra_files, *section.extra_files)

    def for_version(self, version: str) -> Recipe:
        """The recipe for one version of its source: the most specific section that fits is applied."""
        section = _fitting(self.version, version) if isinstance(self.version, dict) else None
        return self if section is None else _overlaid(self, section)

    def extended(self, extension: Extension) -> Recipe:
        """The recipe that an extension of this one describes."""
        patches = (*_without(self.patches, extension), *_given(extension.patches, ()))
        merged = _overlaid(self, extension)
        return msgspec.structs.replace(
            merged, name=extension.name, patches=patches, meta=_given(extension.meta, self.meta)
        )


_Overlaid = TypeVar("_Overlaid", Recipe, Extension)


def _fitting(sections: Mapping[str, VersionSection], version: str) -> VersionSection | None:
    fitting = [p for p in sections if version == p or version.startswith(f"{p}.")]
    return sections[max(fitting, key=len)] if fitting else None


def _overlaid(whole: _Overlaid, section: VersionSection) -> _Overlaid:
    """`whole` with what a section gives in the place of its own; `env` is joined."""
    fields = VersionSection.__struct_fields__
    changes: dict[str, Any] = {f: value for f in fields if (value := getattr(section, f)) is not UNSET}
    del changes["without_patches"]
    if section.without_patches:
        changes["patches"] = _without(_given(changes.get("patches", whole.patches), ()), section)
    changes["env"] = {**_given(whole.env, {}), **changes.get("env", {})}
    return msgspec.structs.replace(whole, **changes)


def _without(patches: tuple[str, ...], section: VersionSection) -> tuple[str, ...]:
    return tuple(p for p in patches if p not in section.without_patches)


def path_of(name: str) -> str:
    """Where the recipe of that name stands, relative to the project."""
    return f"{DIRECTORY}/{name}/recipe.toml"


def filled(value: str, words: Mapping[str, str]) -> str:
    """`value` with `${prefix}` and each `${WORD.WORD}` replaced. Other text stays, shell syntax included.

    Raises:
        KeyError: an unknown word, which is its argument.
    """
    return _PLACEHOLDER.sub(lambda match: words[match[1]], value)


_PLACEHOLDER: Final = re.compile(r"\$\{(prefix|[a-z]+\.[a-z0-9_-]+)\}")


def parse(data: bytes, directory: str) -> Recipe | Extension:
    """Decode the recipe in `derivations/<directory>/recipe.toml`.

    Raises:
        RecipeError: with file, line, value and, where a name is nearly right, a suggestion.
    """
    filename = path_of(directory)
    extends = b"extends" in data and "extends" in parse_toml(data, filename, RecipeError)[1]
    kind: type[Recipe] | type[Extension] = Extension if extends else Recipe
    recipe = decode_toml(data, filename, kind, RecipeError)
    text = data.decode("utf-8")
    for table, key, message, hint in _mistakes(recipe, directory):
        line = toml_line(text, table, key)
        where = f"{filename}:{line}" if line else filename
        raise RecipeError(f"{where}: {message}", hint=hint)
    return recipe


_Mistake = tuple[tuple[str, ...], str | None, str, str | None]  # table, key, message, hint


def _mistakes(recipe: Recipe | Extension, directory: str) -> Iterator[_Mistake]:
    """What is wrong with a recipe beyond the types of its fields."""
    if recipe.name != directory:
        yield (), "name", f'name is "{recipe.name}", but its directory is "{directory}"', "use one name"
    if not NAME.match(recipe.name):
        yield (), "name", f'"{recipe.name}" is not a name', "use a-z, 0-9, +, _ and, between words, -"
    if isinstance(recipe, Recipe):
        yield from _mistakes_of_origin(recipe)
    yield from _mistakes_of_fields((), recipe)
    yield from _mistakes_of_env(("env",), _given(recipe.env, {}))
    for prefix, section in (recipe.version if isinstance(recipe.version, dict) else {}).items():
        table = ("version", prefix)
        if not VERSION_PREFIX.match(prefix):
            yield table, None, f'"{prefix}" cannot be the beginning of a version', None
        patches = _given(section.patches, _given(recipe.patches, ()))
        for name in section.without_patches:
            if name not in patches:
                yield table, "without-patches", f"there is no patch {name}", did_you_mean(name, patches)
        yield from _mistakes_of_fields(table, section)
        yield from _mistakes_of_env((*table, "env"), _given(section.env, {}))


def _mistakes_of_origin(recipe: Recipe) -> Iterator[_Mistake]:
    """Of what an extension has from the recipe that it extends."""
    if recipe.source is None and recipe.version is None:
        yield (), "name", "neither source nor version is given", 'without a source, say version = "1"'
    if recipe.source is None and isinstance(recipe.version, dict):
        yield ("version",), None, "without a source there are no sections by version", 'say version = "1"'
    if recipe.source is not None and isinstance(recipe.version, str):
        yield (), "version", "the version comes from the lock when there is a source", "remove the line"
    if recipe.seed and recipe.source is None:
        yield (), "seed", "a seed needs a source", None
    for arch in recipe.system:
        if arch not in SYSTEMS:
            yield ("system", arch), None, f'unknown system "{arch}"', did_you_mean(arch, SYSTEMS)
    if recipe.provides is not None:
        yield from _mistakes_of_env(("provides", "env"), recipe.provides.env)
        yield from _mistakes_of_env(("provides", "build-env"), recipe.provides.build_env)


def _given(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if isinstance(value, UnsetType) else value


def _mistakes_of_fields(table: tuple[str, ...], given: Recipe | VersionSection) -> Iterator[_Mistake]:
    """Of those fields that a recipe and a section by version have in common."""
    for arch in _given(given.systems, ()):
        if arch not in SYSTEMS:
            yield table, "systems", f'unknown system "{arch}"', did_you_mean(arch, SYSTEMS)
    for key, limit, unit in (
        ("timeout", given.timeout, "seconds"),
        ("log-limit", given.log_limit, "MiB"),
        ("process-limit", given.process_limit, "processes and threads"),
    ):
        if _given(limit, 1) <= 0:
            yield table, key, f"{key} is {limit}, but must be above 0 ({unit})", None


def _mistakes_of_env(table: tuple[str, ...], env: Mapping[str, str]) -> Iterator[_Mistake]:
    for key in env:
        if not ENV_NAME.match(key):
            yield table, key, f'"{key}" is not a name of an environment variable', None
