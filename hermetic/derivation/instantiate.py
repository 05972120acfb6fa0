"""Recipes + lock + target → a graph of derivations. Pure: a function of the project's files.

The environment that every build gets is made here (`_environment`), so all that a build can see stands in
its derivation. `docs/recipes.md` says the same from a recipe author's side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from hermetic.derivation.environment import OVERRIDABLE, Inputs, Side, logical, standard
from hermetic.derivation.step import Graph, Instance, Step, Target
from hermetic.derivation.value import Build, Fetch, Patch, Unpack, derivation_id
from hermetic.errors import RecipeError, UsageError, did_you_mean, nearest
from hermetic.project import lock as locks
from hermetic.project import recipe as recipes
from hermetic.project.files import Files
from hermetic.project.lock import Lock
from hermetic.project.pin import Pin
from hermetic.project.recipe import Extension, Provides, Recipe
from hermetic.project.toml import toml_line
from hermetic.project.worktree import DIRECTORY, LOCK_FILE, PATCH_DIRECTORY
from hermetic.systems import BUILD_SYSTEM, SYSTEMS, System

SHELL: Final = "busybox"  # the recipe behind /bin/sh in every sandbox

SOURCE_DIR: Final = "/build/source"
FILES_DIR: Final = "/build/files"
SCRIPT: Final = f"{DIRECTORY}/{{}}/build.sh"  # of the recipe of that name


class Evaluator:
    """Instantiates targets from one set of project files. Recipes are parsed when first needed."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.lock: Lock = locks.parse(files[LOCK_FILE], LOCK_FILE)
        self._lineages: dict[str, tuple[Recipe | Extension, ...]] = {}
        self._recipes: dict[tuple[str, str | None], Recipe] = {}
        self._default_toolchain: str | UnsetType | None = UNSET
        recipe_files = (f.split("/") for f in files if f.startswith(f"{DIRECTORY}/"))
        self.names = tuple(sorted(parts[1] for parts in recipe_files if parts[2:] == ["recipe.toml"]))
        self.known = frozenset(self.names)

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name, which must exist, without what is different for some versions."""
        return self._merged(name, None)

    def lineage(self, name: str) -> tuple[Recipe | Extension, ...]:
        """The file of that name, which must exist, and what it extends: the one that extends nothing last.

        Raises:
            RecipeError: it extends a recipe that does not exist, or itself.
        """
        found = self._lineages.get(name)
        if found is None:
            line = [recipes.parse(self.files[recipes.path_of(name)], name)]
            while isinstance(last := line[-1], Extension):
                if last.extends not in self.known:
                    hint = did_you_mean(last.extends, self.names)
                    message = f'extends unknown recipe "{last.extends}"'
                    raise self.error(last.name, message, "extends", hint)
                if any(before.name == last.extends for before in line):
                    ring = " → ".join([*(r.name for r in line), last.extends])
                    hint = "break it in one of these"
                    raise self.error(last.name, f"a cycle of extensions: {ring}", "extends", hint)
                line.append(recipes.parse(self.files[recipes.path_of(last.extends)], last.extends))
            found = self._lineages[name] = tuple(line)
        return found

    def _merged(self, name: str, version: str | None) -> Recipe:
        key = name, version
        merged = self._recipes.get(key)
        if merged is None:
            *extensions, origin = self.lineage(name)
            assert isinstance(origin, Recipe)
            merged = origin if version is None else origin.for_version(version)
            for extension in reversed(extensions):
                assert isinstance(extension, Extension)
                for patch in extension.without_patches:
                    if patch not in merged.patches and version is None:
                        hint = did_you_mean(patch, merged.patches)
                        raise self.error(extension.name, f"{merged.name} has no patch {patch}", patch, hint)
                merged = merged.extended(extension if version is None else extension.for_version(version))
            self._recipes[key] = merged
        return merged

    def file_of(self, name: str, place: str) -> str | None:
        """The path of a recipe's file: its own, or that of the recipe that it extends; None without any.

        Args:
            place: of the file, with `{}` for the recipe's name.
        """
        paths = (place.format(recipe.name) for recipe in self.lineage(name))
        return next((path for path in paths if path in self.files), None)

    def error(self, name: str, message: str, near: str | None = None, hint: str | None = None) -> RecipeError:
        """An error at the line of the recipe, or of one that it extends, that holds `near`.

        Args:
            near: a key, or a quoted value.
        """
        lineage = self._lineages.get(name)
        files = [recipes.path_of(recipe.name) for recipe in lineage] if lineage else [recipes.path_of(name)]
        for filename in files if near else ():
            text = self.files[filename].decode("utf-8", "replace")
            tables = ((), ("env",), ("provides", "env"), ("provides", "build-env"))
            line = next((n for table in tables if (n := toml_line(text, table, near))), None)
            line = line or next((n for n, t in enumerate(text.splitlines(), 1) if f'"{near}"' in t), None)
            if line:
                return RecipeError(f"{filename}:{line}: {message}", hint=hint)
        return RecipeError(f"{files[0]}: {message}", hint=hint)

    def version_of(self, recipe: Recipe, versions: Mapping[str, str]) -> str:
        """The version of a recipe's output. `versions`: source name to the version asked for."""
        if recipe.source is None:
            return recipe.version if isinstance(recipe.version, str) else ""
        return self.lock.pin(recipe.source, versions.get(recipe.source)).version

    def recipe_for(self, name: str, versions: Mapping[str, str]) -> Recipe:
        """The recipe of that name, which must exist, as it is for the chosen versions of sources."""
        recipe = self.recipe(name)
        if all(not isinstance(part.version, dict) for part in self.lineage(name)):
            return recipe
        return self._merged(name, self.version_of(recipe, versions))

    def toolchains(self) -> dict[str, Provides]:
        """The recipes that are toolchains, with what they provide."""
        # Only recipes whose text has the word are parsed: most projects have hundreds that do not.
        candidates = [n for n in self.names if b"provides" in self.files[recipes.path_of(n)]]
        return {n: p for n in candidates if (p := self.recipe(n).provides) is not None}

    def default_toolchain(self) -> str | None:
        """The toolchain of recipes that name none: the one whose `[provides]` table says `default = true`.

        Raises:
            RecipeError: two say so.
        """
        if self._default_toolchain is UNSET:
            found = [n for n, provides in self.toolchains().items() if provides.default]
            if len(found) > 1:
                raise RecipeError(
                    f"{recipes.path_of(found[1])}: [provides]: default = true, and so says {found[0]}",
                    hint="a project has one default toolchain; other recipes name theirs as `toolchain`",
                )
            self._default_toolchain = found[0] if found else None
        return self._default_toolchain

    def parse_target(self, text: str) -> Target:
        """Read `NAME[-VERSION][-ARCH]`.

        Raises:
            UsageError: no such recipe, version or system, with the nearest there is.
        """
        return self._checked(self.read_target(text))

    def read_target(self, text: str) -> Target:
        """The same, whether the recipe is made for the system or not."""
        rest, named = split_system(text)
        system = named or BUILD_SYSTEM
        if rest in self.known:
            return Target(text, rest, system)
        for name in sorted(self.names, key=len, reverse=True):
            if rest.startswith(f"{name}-"):
                source, version = self.recipe(name).source, rest.removeprefix(f"{name}-")
                if source and version in self.lock.sources.get(source, {}):
                    return Target(text, name, system, {source: version})
        raise self._unknown_target(text, rest)

    def _checked(self, target: Target) -> Target:
        supported = self.recipe_for(target.recipe, target.versions).systems
        if target.system.arch not in supported:
            raise UsageError(
                f"{target.recipe} is not made for {target.system.arch}",
                hint=f"its recipe supports: {', '.join(supported)}",
            )
        return target

    def _unknown_target(self, text: str, rest: str) -> UsageError:
        for name in sorted(self.names, key=len, reverse=True):
            if rest.startswith(f"{name}-"):
                source, tail = self.recipe(name).source, rest.removeprefix(f"{name}-")
                versions = self.lock.sources.get(source, {}) if source else {}
                if tail[:1].isdigit():
                    return UsageError(
                        f"no version {tail!r} of {name} is pinned in {LOCK_FILE}",
                        hint=f"pinned: {', '.join(versions)}; `hermetic lock --update {source}` pins another",
                    )
                return UsageError(f"unknown system {tail!r} in {text!r}", hint=did_you_mean(tail, SYSTEMS))
        known = [*self.names, *(f"{n}-{a}" for n in self.names for a in SYSTEMS)]
        near = nearest(text, known)
        hint = f'did you mean "{near}"?' if near else f"recipes: {', '.join(self.names)}"
        return UsageError(f"unknown target {text!r}", hint=hint)

    def instantiate(self, target: Target) -> Instance:
        """The graph of derivations behind a target.

        Raises:
            RecipeError: an unknown input, source or patch, a cycle, an unsupported system.
        """
        run = _Instantiation(self, target.versions)
        root = run.output_of(target.recipe, target.system)
        return Instance(target, Graph(root, run.steps))


def split_system(text: str) -> tuple[str, System | None]:
    """`NAME[-VERSION][-ARCH]` as what stands before the system, and the system; None where it names none."""
    name, _, arch = text.rpartition("-")
    return (name, SYSTEMS[arch]) if name and arch in SYSTEMS else (text, None)


class _Instantiation:
    """The state of one instantiation: each (recipe, system) gives one derivation."""

    def __init__(self, evaluator: Evaluator, versions: Mapping[str, str]) -> None:
        self.evaluator = evaluator
        self.versions = versions
        self.steps: dict[str, Step] = {}
        self._recipes: dict[str, Recipe] = {}  # as they are for these versions
        self._done: dict[tuple[str, str], str] = {}  # (recipe, arch) to derivation id
        self._sources: dict[tuple[str, tuple[Patch, ...]], str] = {}

    def output_of(self, name: str, system: System) -> str:
        """Derivation id of a recipe for a host system.

        A depth-first walk on a stack of its own: graphs may be deeper than Python's. What lies on the
        stack is the way from the root to what is at hand; meeting one of those again is a cycle.
        """
        way: list[tuple[Recipe, System, Inputs, Iterator[Side]]] = [self._enter(name, system)]
        on_way = {(name, system.arch)}
        while True:
            recipe, host, inputs, rest = way[-1]
            for child, side in rest:
                key = (child, side.arch)
                if key in on_way:
                    names = [r.name for r, *_ in way]
                    ring = " → ".join([*names[names.index(child) :], child])
                    raise self._error(recipe, f"a cycle of inputs: {ring}", child, "break it in one of these")
                if key not in self._done:
                    self._check_supported(recipe, child, side)
                    way.append(self._enter(child, side))
                    on_way.add(key)
                    break
            else:
                key = (recipe.name, host.arch)
                self._done[key] = self._instantiate(recipe, host, inputs)
                way.pop()
                on_way.discard(key)
                if not way:
                    return self._done[key]

    def _enter(self, name: str, system: System) -> tuple[Recipe, System, Inputs, Iterator[Side]]:
        recipe = self._recipe(name)
        inputs = self._inputs(recipe, system)
        return recipe, system, inputs, iter((*inputs.build, *inputs.host))

    def _recipe(self, name: str) -> Recipe:
        found = self._recipes.get(name)
        if found is None:
            found = self._recipes[name] = self.evaluator.recipe_for(name, self.versions)
        return found

    def _check_supported(self, parent: Recipe, name: str, system: System) -> None:
        if system.arch not in self._recipe(name).systems:
            hint = "a tool that runs while building belongs under build-inputs"
            raise self._error(parent, f"input {name!r} is not made for {system.arch}", name, hint)

    def _instantiate(self, recipe: Recipe, system: System, inputs: Inputs) -> str:
        script_file = self.evaluator.file_of(recipe.name, SCRIPT)
        if script_file is None:
            if recipe.source is None:
                raise self._error(recipe, "there is neither a source nor a build.sh", "name")
            drv_id = self._unpacked(recipe, recipe.source, self._patches(recipe, recipe.source))
            if recipe.seed:
                self.steps[drv_id] = msgspec.structs.replace(self.steps[drv_id], seed=True)
            return drv_id
        if recipe.seed:
            hint = f"remove {script_file}, or the line"
            raise self._error(recipe, "a seed is prebuilt and has no build.sh", "seed", hint)
        sources = {**self._source_trees(recipe), **self._source_files(recipe, system)}
        build = Build(
            name=recipe.name,
            version=self._version(recipe),
            system=system.name,
            cpu=system.cpu,
            out=logical(system, recipe.name),
            sources=sources,
            inputs={logical(s, n): self._done[n, s.arch] for n, s in (*inputs.build, *inputs.host)},
            links=dict.fromkeys(("/bin/sh", "/usr/bin/env"), f"{logical(BUILD_SYSTEM, SHELL)}/bin/busybox"),
            env=self._environment(recipe, system, inputs),
            script=self._text(script_file, self.evaluator.files[script_file]),
        )
        expected = self.evaluator.lock.expect.get(build.system, {}).get(f"{build.name}-{build.version}", "")
        step = Step(
            derivation_id(build),
            build,
            timeout=recipe.timeout,
            expected=expected,
            log_limit=recipe.log_limit << 20,  # MiB to bytes
            process_limit=recipe.process_limit,
        )
        return self._add(step)

    def _source_trees(self, recipe: Recipe) -> dict[str, str]:
        sources = {}
        if recipe.source is not None:
            sources[SOURCE_DIR] = self._unpacked(recipe, recipe.source, self._patches(recipe, recipe.source))
        elif recipe.patches:
            raise self._error(recipe, "patches need a source to apply to", "patches")
        for directory, source in recipe.extra_sources.items():
            sources[f"/build/{directory}"] = self._unpacked(recipe, source, ())
        return sources

    def _source_files(self, recipe: Recipe, system: System) -> dict[str, str]:
        """Sources that are not unpacked: each under the name of its file in the lock."""
        files: dict[str, str] = {}
        for source in recipe.files_for(system.arch):
            pin = self._pin(recipe, source)
            path = f"{FILES_DIR}/{pin.file}"
            if path in files:
                message = f'two of extra-files are called "{pin.file}"'
                raise self._error(recipe, message, source, "each source may stand there once")
            files[path] = self._fetched(pin)
        return files

    def _inputs(self, recipe: Recipe, system: System) -> Inputs:
        """The inputs that a recipe names, those that every build has, and what all of them propagate."""
        build: dict[str, None] = {}
        linked: dict[str, None] = {}
        tools: dict[str, None] = {}
        toolchain = None
        queue = [(n, build) for n in recipe.build_inputs] + [(n, linked) for n in recipe.host_inputs]
        if self.evaluator.file_of(recipe.name, SCRIPT) is not None:
            queue.append((SHELL, build))
            toolchain = self._toolchain(recipe)
            if toolchain is not None:
                queue.append((toolchain, tools))
        for name, side in queue:  # grows while it is walked
            if name in side:
                continue
            if name not in self.evaluator.known:
                hint = did_you_mean(name, self.evaluator.names)
                raise self._error(recipe, f"unknown input {name!r}", name, hint)
            side[name] = None
            brought = self._recipe(name)
            queue += [(n, side) for n in brought.propagated_host_inputs]
            queue += [(n, build) for n in brought.propagated_build_inputs]
        return Inputs(
            build=tuple((n, BUILD_SYSTEM) for n in sorted(build)),
            host=tuple((n, system) for n in sorted({**tools, **linked})),
            linked=tuple(sorted(linked)),
            toolchain=toolchain,
        )

    def _toolchain(self, recipe: Recipe) -> str | None:
        """Name of the recipe that compiles this one."""
        name = recipe.toolchain
        if name is None:
            return self.evaluator.default_toolchain()
        if name == recipes.NO_TOOLCHAIN:
            return None
        if name not in self.evaluator.known:
            hint = did_you_mean(name, [*self.evaluator.toolchains(), recipes.NO_TOOLCHAIN])
            raise self._error(recipe, f'unknown toolchain "{name}"', "toolchain", hint)
        if self._recipe(name).provides is None:
            hint = "a toolchain says in a [provides] table what it gives to builds"
            raise self._error(recipe, f'"{name}" is not a toolchain', "toolchain", hint)
        return name

    def _environment(self, recipe: Recipe, system: System, inputs: Inputs) -> dict[str, str]:
        """The whole environment of the build, but for what depends on the machine's size."""
        brought = {n: self._recipe(n) for n, _ in (*inputs.build, *inputs.host)}
        env = standard(recipe, self._version(recipe), system, inputs, brought)
        if inputs.toolchain is not None:
            provides = brought[inputs.toolchain].provides
            assert provides is not None
            env |= self._filled(brought[inputs.toolchain], provides.env, system)
        for name in recipe.build_inputs:
            if (provides := brought[name].provides) is not None:
                env |= self._filled(brought[name], provides.build_env, BUILD_SYSTEM)
        for key in recipe.env:
            if key in env and key not in OVERRIDABLE:
                message = f'"{key}" is set by hermetic for every build'
                raise self._error(recipe, message, key, "set it in build.sh")
        return env | self._filled(recipe, recipe.env, system)

    def _filled(self, recipe: Recipe, env: Mapping[str, str], system: System) -> dict[str, str]:
        """An `[env]` of a recipe with its placeholders filled in for one system."""
        if not any("${" in value for value in env.values()):
            return dict(env)
        words = {"prefix": logical(system, recipe.name)}
        words |= {f"system.{word}": text for word, text in system.spellings().items()}
        filled = {}
        for key, value in env.items():
            try:
                filled[key] = recipes.filled(value, words)
            except KeyError as error:
                hint = did_you_mean(error.args[0], words)
                message = f"{key}: unknown placeholder ${{{error.args[0]}}}"
                raise self._error(recipe, message, key, hint) from None
        return filled

    def _unpacked(self, recipe: Recipe, source: str, patches: tuple[Patch, ...]) -> str:
        if (source, patches) not in self._sources:
            pin = self._pin(recipe, source)
            unpack = Unpack(pin.name, pin.version, self._fetched(pin), patches)
            self._sources[source, patches] = self._add(Step(derivation_id(unpack), unpack))
        return self._sources[source, patches]

    def _fetched(self, pin: Pin) -> str:
        fetch = Fetch(pin.name, pin.version, pin.sha256, pin.blake3, pin.size)
        return self._add(Step(derivation_id(fetch), fetch, pin=pin))

    def _pin(self, recipe: Recipe, source: str) -> Pin:
        if source not in self.evaluator.lock.sources:
            hint = did_you_mean(source, self.evaluator.lock.sources)
            raise self._error(recipe, f"unknown source {source!r}: not in {LOCK_FILE}", source, hint)
        return self.evaluator.lock.pin(source, self.versions.get(source))

    def _patches(self, recipe: Recipe, source: str) -> tuple[Patch, ...]:
        """The patches of a recipe. One in a directory named like the line comes before the general one."""
        parts = self._pin(recipe, source).version.split(".")
        lines = [".".join(parts[:length]) + "/" for length in range(len(parts), 0, -1)]
        patches = []
        for number, name in enumerate(recipe.patches):
            if name in recipe.patches[:number]:
                hint = (
                    "a recipe and the one that it extends have patches of other names: give it another name"
                )
                raise self._error(recipe, f'the patch "{name}" is listed twice', name, hint)
            places = (f"{PATCH_DIRECTORY}/{{}}/{line}{name}" for line in (*lines, ""))
            found = next((f for p in places if (f := self.evaluator.file_of(recipe.name, p))), None)
            if found is None:
                raise self._no_patch(recipe, name)
            patches.append(Patch.of(name, self.evaluator.files[found]))
        return tuple(patches)

    def _no_patch(self, recipe: Recipe, name: str) -> RecipeError:
        directories = [f"{PATCH_DIRECTORY}/{r.name}/" for r in self.evaluator.lineage(recipe.name)]
        there = [f.removeprefix(d) for f in self.evaluator.files for d in directories if f.startswith(d)]
        return self._error(recipe, f"no patch {directories[0]}{name}", name, did_you_mean(name, there))

    def _version(self, recipe: Recipe) -> str:
        return self.evaluator.version_of(recipe, self.versions)

    def _add(self, step: Step) -> str:
        self.steps.setdefault(step.drv_id, step)
        return step.drv_id

    def _text(self, filename: str, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise RecipeError(f"{filename}:{line}: not UTF-8 (byte {data[error.start]:#04x})") from error

    def _error(
        self, recipe: Recipe, message: str, near: str | None = None, hint: str | None = None
    ) -> RecipeError:
        return self.evaluator.error(recipe.name, message, near, hint)
