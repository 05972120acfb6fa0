"""Applies a patch to the files below a directory: all of it, or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from hermetic.errors import PatchError
from hermetic.sources.patching.applying import apply
from hermetic.sources.patching.model import Change


class Tree:
    """The files below a directory. Symbolic links are never followed, at no level."""

    def __init__(self, root: Path, patch_name: str) -> None:
        self.root = root
        self.patch_name = patch_name

    def read(self, path: str) -> bytes | None:
        """Content of a file, or None when there is none.

        Raises:
            PatchError: it is no ordinary file, or a symbolic link is on the way to it.
        """
        place = self.root
        for part in _name(path).split("/"):
            place = place / part
            try:
                mode = place.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as problem:
                raise PatchError(f"{self.patch_name}: {path}: {problem.strerror}") from None
            if stat.S_ISLNK(mode):
                shown = place.relative_to(self.root)
                raise PatchError(f"{self.patch_name}: {path}: {shown} is a symbolic link")
        if not stat.S_ISREG(mode):
            raise PatchError(f"{self.patch_name}: {path} is no ordinary file")
        try:
            return place.read_bytes()
        except OSError as problem:
            raise PatchError(f"{self.patch_name}: cannot read {path}: {problem.strerror}") from None


def apply_to_tree(
    root: Path, patch_name: str, patch: bytes | str, tell: Callable[[str], None] = lambda note: None
) -> tuple[str, ...]:
    """Apply a patch to the files below `root`: all of it, or nothing.

    Files that change get the epoch as their time, so that no build tool thinks one of them newer than what
    was made from it. Directories that a removal leaves empty are removed, as git and GNU patch do.

    Args:
        patch: its bytes; text stands for its UTF-8.
        tell: called with a note for each file in which hunks stand at other lines than they say.

    Returns:
        The paths that changed, sorted.

    Raises:
        PatchError: it does not apply, or cannot be written. The tree is as it was.
    """
    notes: list[str] = []
    changes = apply(patch_name, patch, Tree(root, patch_name), notes.append)
    undo: list[_Undo] = []
    try:
        modes = {path: _mode(root, path, changes[path]) for path in changes}
        # removals first: a file may become a directory
        for path in sorted(changes, key=lambda path: (changes[path].content is not None, path)):
            undo.append(_write(root / _name(path), changes[path], modes[path]))
    except OSError as problem:
        for step in reversed(undo):
            step.run()
        where = f" {problem.filename}" if problem.filename else ""
        raise PatchError(f"{patch_name}: cannot write{where}: {problem.strerror}") from problem
    for step in undo:
        step.forget()
    for path in sorted(changes):
        if changes[path].content is None:
            _remove_empty_parents(root, root / _name(path))
    for note in notes:
        tell(note)
    return tuple(sorted(changes))


def _name(path: str) -> str:
    """A path as the functions of `os` take it, whatever the locale: in a patch its bytes are UTF-8."""
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


def _mode(root: Path, path: str, change: Change) -> int:
    """The permissions of a file after the patch."""
    before = root / _name(change.mode_of or path)
    mode = stat.S_IMODE(before.stat().st_mode) if before.exists() and not change.fresh else 0o644
    if change.executable is None:
        return mode
    return mode | 0o111 if change.executable else mode & ~0o111


def _remove_empty_parents(root: Path, path: Path) -> None:
    with contextlib.suppress(OSError):  # not empty
        for directory in path.parents:
            if directory == root:
                break
            directory.rmdir()


class _Undo(msgspec.Struct):
    """How to take back the change of one file: the old file waits under another name until all is done."""

    path: Path
    kept: Path | None
    made_directories: list[Path]

    def run(self) -> None:
        if self.kept is not None:
            self.kept.replace(self.path)
        else:
            self.path.unlink(missing_ok=True)
        for directory in reversed(self.made_directories):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def forget(self) -> None:
        if self.kept is not None:
            self.kept.unlink()


def _write(path: Path, change: Change, mode: int) -> _Undo:
    made_directories = [directory for directory in reversed(path.parents) if not directory.exists()]
    # Before there is an undo: if the old file cannot be kept, nothing has been changed yet.
    kept = _keep(path) if path.exists() else None
    undo = _Undo(path, kept, made_directories)
    try:
        if change.content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, change.content, mode)
    except OSError:
        undo.run()
        raise
    return undo


def _keep(path: Path) -> Path:
    """Give a file a second name, or a copy where a file cannot have two. Returns its path."""
    kept = _spare_name(path)
    try:
        os.link(path, kept)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        import shutil

        shutil.copy2(path, kept)
    return kept


def _replace(path: Path, content: bytes, mode: int) -> None:
    import tempfile

    handle, name = tempfile.mkstemp(prefix=".hermetic-patch-", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.utime(file.fileno(), ns=(0, 0))
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _spare_name(path: Path) -> Path:
    for number in range(1000):
        spare = path.with_name(f".hermetic-patch-{number}-kept")
        if not spare.exists():
            return spare
    raise FileExistsError(17, "no free name for the old file", str(path))
