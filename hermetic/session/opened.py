"""An opened project and store: where they are, what the recipes say, what a name means."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hermetic.errors import HermeticError, UsageError
from hermetic.project import files, worktree
from hermetic.store import cache
from hermetic.store.layout import Layout

if TYPE_CHECKING:
    from typing import Self

    from hermetic.derivation.instantiate import Evaluator
    from hermetic.derivation.step import Instance
    from hermetic.project.files import Files
    from hermetic.store.store import Store


class Opened:
    """A project and a store. Nothing is read before it is needed, and the project's files are read only once.

    Args:
        project: its directory, or one below it; None: the current one.
        store: the store's directory, made when it is first needed; None: `store` in the project.
    """

    def __init__(
        self, project: str | os.PathLike[str] | None = None, store: str | os.PathLike[str] | None = None
    ) -> None:
        self._project_dir = os.fspath(project) if project else None
        self._store_dir = os.fspath(store) if store else None
        self._root: Path | None = None
        self._store: Store | None = None
        self._evaluators: dict[str | None, Evaluator] = {}
        self._files: dict[str | None, Files] = {}
        self._fingerprints: dict[str | None, str] = {}
        self._instances: dict[str, Instance] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store. What this session kept from collection is kept no longer."""
        if self._store is not None:
            self._store.close()
            self._store = None

    # -- where things are

    @property
    def root(self) -> Path:
        """The project's directory.

        Raises:
            UsageError: there is none.
        """
        if self._root is None:
            start = Path(self._project_dir) if self._project_dir else Path.cwd()
            if not start.is_dir():
                raise UsageError(f"project {start}: no such directory")
            self._root = files.find_root(start.resolve())
        return self._root

    @property
    def store_path(self) -> Path:
        """Where the store is, whether it exists or not."""
        if not self._store_dir:
            return self.root / "store"
        path = Path(self._store_dir)
        # Links stay, so that a store is shown as it was named; but what is mounted must not have `..` in it.
        return path.resolve() if ".." in path.parts else path.absolute()

    @property
    def store(self) -> Store:
        """The store, opened once. It is made if it does not exist."""
        if self._store is None:
            if self._project_dir:
                self.root  # noqa: B018 - where the project is mistyped, no store is to be made
            from hermetic.store.store import Store

            self._store = Store.open(self.store_path)
        return self._store

    @property
    def existing_store(self) -> Store:
        """The store, for what makes no sense without one.

        Raises:
            UsageError: there is none. A mistyped name does not make one.
        """
        from hermetic.store.layout import Layout

        if not Layout(self.store_path).exists():
            raise UsageError(
                f"there is no store at {self.store_path}",
                hint="`hermetic realize` makes one; --store or HERMETIC_STORE names another",
            )
        return self.store

    def object_of(self, text: str) -> str:
        """The name of the store object that is meant by `text`.

        Args:
            text: the name of an object, a path to or into one (`result/bin/python3`, where `result` is a
                link), or a target that is realized. A target wins over a link of the same name.

        Raises:
            UsageError: there is nothing of that name. HermeticError: it is not in the store.
        """
        if self.existing_store.info(text) is not None:
            return text
        at_path = self._object_at(text)
        if at_path is not None and "/" in text:
            return at_path
        if "/" in text:
            raise UsageError(
                f"{text} is not in the store {self.store_path}",
                hint="`hermetic store path-info` lists all objects",
            )
        try:
            root = self.instantiate(text).graph.root
        except UsageError:
            if at_path is not None:
                return at_path
            raise
        made = self.store.realisation(root)
        if made is None:
            raise HermeticError(f"{text} is not realized", hint=f"run `hermetic realize {text}` first")
        if self.store.info(made.object) is None:
            raise HermeticError(
                f"{text}: its output {made.object} is not in the store",
                hint=f"run `hermetic realize {text}` first",
            )
        return made.object

    def _object_at(self, text: str) -> str | None:
        """The object that a path leads to or into."""
        path = Path(text).absolute()
        store = os.path.realpath(self.store_path)
        # From the far end: a file in an object may be a link that leads elsewhere.
        for place in (path, *path.parents):
            inside = os.path.relpath(os.path.realpath(place), store).split("/")
            if self.existing_store.info(inside[0]) is not None:
                # An object that has been lost may be named, but not a file in it that does not exist.
                return inside[0] if len(inside) == 1 or os.path.lexists(path) else None
        return self._object_at_other_path(path)

    def _object_at_other_path(self, path: Path) -> str | None:
        """The same where the store is mounted at another path, too."""
        from hermetic.store.identity import Identity

        try:
            name = Identity(self.existing_store.layout).object_at(os.fspath(path))
        except OSError:
            return None
        return name if name and os.path.lexists(path) and self.existing_store.info(name) is not None else None

    # -- evaluation

    def evaluator(self, revision: str | None = None) -> Evaluator:
        """The project's recipes, of the work tree or of a git revision."""
        if revision not in self._evaluators:
            from hermetic.derivation.instantiate import Evaluator

            self._evaluators[revision] = Evaluator(self._files_of(revision))
        return self._evaluators[revision]

    def _files_of(self, revision: str | None) -> Files:
        if revision not in self._files:
            self._files[revision] = (
                files.read_worktree(self.root)
                if revision is None
                else files.read_revision(self.root, revision)
            )
        return self._files[revision]

    def fingerprint(self, revision: str | None = None) -> str:
        """Hash of what evaluation depends on."""
        if revision not in self._fingerprints:
            self._fingerprints[revision] = worktree.fingerprint(self._files_of(revision))
        return self._fingerprints[revision]

    def instantiate(self, target: str) -> Instance:
        """The graph of derivations of a target, from the evaluation cache if it is there.

        Args:
            target: `NAME[-VERSION][-ARCH][@REV]`.

        Raises:
            UsageError: no such recipe, version, system or revision.
            RecipeError, LockError: the project's files are not valid.
        """
        if target not in self._instances:
            name, _, revision = target.partition("@")
            key = f"{self.fingerprint(revision or None)}-{name}"
            cached = cache.read(Layout(self.store_path).eval, key)
            if cached is not None:
                instance = _decode_instance(cached)
            else:
                evaluator = self.evaluator(revision or None)
                instance = evaluator.instantiate(evaluator.parse_target(name))
                self._keep(key, instance)
            shown = msgspec.structs.replace(instance.target, label=target)
            self._instances[target] = msgspec.structs.replace(instance, target=shown)
        return self._instances[target]

    def _keep(self, key: str, instance: Instance) -> None:
        """Cache an evaluation, if there is a store already: to look at a recipe shall not make one."""
        cache.write(Layout(self.store_path).eval, key, msgspec.msgpack.encode(instance))

    def instances(self, targets: Iterable[str]) -> list[Instance]:
        """Instantiate targets, each once."""
        return [self.instantiate(target) for target in dict.fromkeys(targets)]

    def pinned_seeds(self) -> dict[str, str]:
        """The store objects of the project's seeds, as far as they are there, with their labels.

        Raises:
            HermeticError: the recipes cannot be evaluated.
        """
        try:
            evaluator = self.evaluator()
        except UsageError:
            if self._project_dir:
                raise
            return {}
        seeds = [name for name in evaluator.names if evaluator.recipe(name).seed]
        found = [self.existing_store.realisation(self.instantiate(name).graph.root) for name in seeds]
        return {made.object: f"{made.name}-{made.version}" for made in found if made is not None}


def _decode_instance(data: bytes) -> Instance:
    from hermetic.derivation.step import Instance

    return msgspec.msgpack.decode(data, type=Instance)
