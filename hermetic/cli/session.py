"""What every command starts from: the project, its evaluation (cached by content), the store."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hermetic import project
from hermetic.errors import HermeticError, StoreError, UsageError
from hermetic.worktree import fingerprint

if TYPE_CHECKING:
    from hermetic.instantiate import Evaluator, Instance
    from hermetic.store import Store


class Session:
    """One invocation of the command line. Nothing is read before it is asked for."""

    def __init__(self, project_dir: str | None, store_dir: str | None) -> None:
        self._project_dir = project_dir
        self._store_dir = store_dir
        self._root: Path | None = None
        self._store: Store | None = None
        self._evaluators: dict[str | None, Evaluator] = {}
        self.fingerprint: str | None = None  # of the work tree, once it was read

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
            self._root = project.find_root(start.resolve())
        return self._root

    @property
    def store_path(self) -> Path:
        """Where the store is, whether it exists or not."""
        return Path(self._store_dir).absolute() if self._store_dir else self.root / "store"

    @property
    def store(self) -> Store:
        """The store, opened once."""
        if self._store is None:
            from hermetic.store import Store

            self._store = Store.open(self.store_path)
        return self._store

    def evaluator(self, revision: str | None = None) -> Evaluator:
        """The project's recipes, of the work tree or of a git revision."""
        if revision not in self._evaluators:
            from hermetic.instantiate import Evaluator

            self._evaluators[revision] = Evaluator(self._files(revision))
        return self._evaluators[revision]

    def _files(self, revision: str | None) -> dict[str, bytes]:
        if revision is None:
            return project.read_worktree(self.root)
        return project.read_revision(self.root, revision)

    def instance(self, text: str) -> Instance:
        """Instantiate one target, `NAME[-VERSION][-ARCH][@REV]`, without the cache."""
        name, _, revision = text.partition("@")
        evaluator = self.evaluator(revision or None)
        target = msgspec.structs.replace(evaluator.parse_target(name), label=text)
        return evaluator.instantiate(target)

    def instances(self, targets: Iterable[str]) -> list[Instance]:
        """Instantiate targets of the work tree, through the evaluation cache of the store."""
        targets = list(dict.fromkeys(targets))
        plain = [t for t in targets if "@" not in t]
        if len(plain) < len(targets):
            return [self.instance(t) for t in targets]
        files = project.read_worktree(self.root)
        key = self.fingerprint = fingerprint(files)
        found: dict[str, Instance] = {}
        for target in plain:
            cached = self.store.get_eval(f"{key}-{target}") if "/" not in target else None
            if cached is not None:
                found[target] = _decode_instance(cached)
        missing = [t for t in plain if t not in found]
        if missing:
            from hermetic.instantiate import Evaluator

            evaluator = Evaluator(files)
            for target in missing:
                instance = found[target] = evaluator.instantiate(evaluator.parse_target(target))
                self.store.put_eval(f"{key}-{target}", msgspec.msgpack.encode(instance))
        return [found[t] for t in targets]

    def object_of(self, text: str) -> str:
        """The store object meant by the path or name of an object, or by a realized target.

        Raises:
            HermeticError: it is not in the store.
        """
        name = Path(text).name if "/" in text else text
        if self.store.info(name) is not None:
            return name
        if "/" in text:
            raise UsageError(f"{text} is not in the store", hint="`hermetic store path-info` lists what is")
        found = self.store.realisation(self.instance(text).graph.root)
        if found is None:
            raise HermeticError(f"{text} is not realized", hint=f"`hermetic realize {text}` first")
        return found.object


def _decode_instance(data: bytes) -> Instance:
    from hermetic.instantiate import Instance

    return msgspec.msgpack.decode(data, type=Instance)


def from_os_error(error: OSError) -> HermeticError:
    """An operating system's refusal that no layer below has put in words."""
    where = f"{error.filename}: " if error.filename else ""
    hints: dict[int | None, str] = {
        errno.ENOSPC: "free some space (`hermetic gc` may help); nothing half-written stays",
        errno.EDQUOT: "the quota is used up; `hermetic gc` may help",
        errno.EACCES: "check who owns it, or choose another store with --store",
        errno.EROFS: "choose another store with --store",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
    }
    return StoreError(f"{where}{error.strerror or error}", hint=hints.get(error.errno))


def write_json(value: Any) -> None:
    """Print a value as indented JSON on stdout."""
    import sys

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + os.linesep)
