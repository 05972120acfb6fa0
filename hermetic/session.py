"""What every command starts from: the project, its evaluation (cached by content), the store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hermetic.errors import HermeticError, UsageError
from hermetic.project import files, worktree
from hermetic.store import quick

if TYPE_CHECKING:
    from hermetic.derivation.instantiate import Evaluator, Instance
    from hermetic.project.files import Files
    from hermetic.store.store import Store


class Session:
    """One invocation of the command line. Nothing is read before it is asked for."""

    def __init__(self, project_dir: str | None, store_dir: str | None) -> None:
        self._project_dir = project_dir
        self._store_dir = store_dir
        self._root: Path | None = None
        self._store: Store | None = None
        self._evaluators: dict[str | None, Evaluator] = {}
        self._files: dict[str | None, Files] = {}

    @property
    def root(self) -> Path:
        """The project's folder.

        Raises:
            UsageError: there is none.
        """
        if self._root is None:
            start = Path(self._project_dir) if self._project_dir else Path.cwd()
            if not start.is_dir():
                raise UsageError(f"--project {start}: no such folder")
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
        """The store, opened once."""
        if self._store is None:
            if self._project_dir:
                self.root  # noqa: B018 - where the project is mistyped, no store is to be made
            from hermetic.store.store import Store

            self._store = Store.open(self.store_path)
        return self._store

    @property
    def existing_store(self) -> Store:
        """The store, for commands that have nothing to do where there is none.

        Raises:
            UsageError: there is none. A mistyped name shall not become one.
        """
        from hermetic.store.layout import Layout

        if not Layout(self.store_path).exists():
            raise UsageError(
                f"there is no store at {self.store_path}",
                hint="`hermetic realize` makes one; --store or HERMETIC_STORE names another",
            )
        return self.store

    def close(self) -> None:
        """Let go of the store, and of what was kept from collection for this command."""
        if self._store is not None:
            self._store.close()
            self._store = None

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
        return worktree.fingerprint(self._files_of(revision))

    def instance(self, text: str) -> Instance:
        """Instantiate one target, `NAME[-VERSION][-ARCH][@REV]`, through the evaluation cache."""
        name, _, revision = text.partition("@")
        key = f"{self.fingerprint(revision or None)}-{name}"
        cached = quick.cached(f"{self.store_path}/.hermetic/eval", key)
        if cached is not None:
            instance = _decode_instance(cached)
        else:
            evaluator = self.evaluator(revision or None)
            instance = evaluator.instantiate(evaluator.parse_target(name))
            self._keep(key, instance)
        return msgspec.structs.replace(instance, target=msgspec.structs.replace(instance.target, label=text))

    def _keep(self, key: str, instance: Instance) -> None:
        """Cache an evaluation, if there is a store already: to look at a recipe shall not make one."""
        from hermetic.store import caches
        from hermetic.store.layout import Layout

        caches.put_evaluation(Layout(self.store_path), key, msgspec.msgpack.encode(instance))

    def instances(self, targets: Iterable[str]) -> list[Instance]:
        """Instantiate targets, each once."""
        return [self.instance(target) for target in dict.fromkeys(targets)]

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
        found = [self.existing_store.realisation(self.instance(name).graph.root) for name in seeds]
        return {made.object: f"{made.name}-{made.version}" for made in found if made is not None}

    def object_of(self, text: str) -> str:
        """The store object meant by the path or name of an object, or by a realized target.

        Raises:
            HermeticError: it is not in the store.
        """
        name = Path(text).name if "/" in text else text
        if self.existing_store.info(name) is not None:
            return name
        if "/" in text:
            raise UsageError(f"{text} is not in the store", hint="`hermetic store path-info` lists what is")
        found = self.store.realisation(self.instance(text).graph.root)
        if found is None:
            raise HermeticError(f"{text} is not realized", hint=f"`hermetic realize {text}` first")
        if self.store.info(found.object) is None:
            raise HermeticError(
                f"{text} was {found.object}, which is not in the store",
                hint=f"`hermetic realize {text}` first",
            )
        return found.object


def _decode_instance(data: bytes) -> Instance:
    from hermetic.derivation.instantiate import Instance

    return msgspec.msgpack.decode(data, type=Instance)
