"""Reads the files of a project that evaluation depends on from its directory.

This module is loaded first (see `store.quick`), so it imports nothing that is slow to load.
"""

# ruff: noqa: PTH112, PTH113, PTH120
# pathlib doubles the time of these loops, and is slow to load.

from __future__ import annotations

import errno
import os

from blake3 import blake3

from hermetic import filesystem
from hermetic.hashing import EVALUATION

# Instead of `typing.TYPE_CHECKING`: importing `typing` is slow.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK_FILE = "flake-like.lock"
DIRECTORY = "derivations"
PATCH_DIRECTORY = "patches"

MOST = 64 << 20  # largest file, in bytes
LINKED = "is a symbolic link to a directory, which is not followed"
_AT_ONCE = 1 << 20  # bytes, approximately, that are handed to the hash function together

# The code that determines the result of an evaluation: the layers up to `derivation`.
_EVALUATOR = ("", "/project", "/derivation")


def root_above(directory: str) -> str | None:
    """The nearest directory that holds `flake-like.lock`: the absolute path `directory` or one above it."""
    while not os.path.isfile(f"{directory}/{LOCK_FILE}"):
        if directory == "/":
            return None
        directory = os.path.dirname(directory)
    return directory


def read(root: str) -> dict[str, bytes]:
    """The lock and all files of `derivations/` and `patches/`, by path relative to the project.

    Hidden files and editors' backups are skipped.

    Raises:
        OSError: a file cannot be read, is not a regular file or is too large; or a directory is a symbolic
            link. Such a link could form a cycle or lead outside, and git does not follow it either.
    """
    files = {LOCK_FILE: filesystem.whole(f"{root}/{LOCK_FILE}", MOST)}
    pending = [f for f in (DIRECTORY, PATCH_DIRECTORY) if os.path.isdir(f"{root}/{f}")]
    while pending:
        directory = pending.pop()
        with os.scandir(f"{root}/{directory}") as entries:
            for entry in entries:
                short = entry.name
                if short[0] == "." or short[-1] == "~":
                    continue
                name = f"{directory}/{short}"
                if entry.is_file(follow_symlinks=False):
                    files[name] = filesystem.listed(entry.path, MOST)
                elif not entry.is_dir():
                    files[name] = filesystem.whole(entry.path, MOST)
                elif entry.is_symlink():
                    raise OSError(errno.ELOOP, LINKED, entry.path)
                else:
                    pending.append(name)
    return files


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Hash of everything that evaluation depends on, including its code: the key of the evaluation cache."""
    hasher = blake3(derive_key_context=EVALUATION)
    parts: list[bytes] = []
    waiting = 0
    for name in sorted(files):
        data = files[name]
        parts += (_head(name, data), data)
        waiting += len(data)
        if waiting > _AT_ONCE:
            hasher.update(b"".join(parts))
            parts.clear()
            waiting = 0
    package = os.path.dirname(os.path.dirname(__file__))
    for layer in _EVALUATOR:
        for module in sorted(name for name in os.listdir(package + layer) if name.endswith(".py")):
            data = filesystem.whole(f"{package}{layer}/{module}", MOST)
            parts += (_head(f"{layer}/{module}", data), data)
    hasher.update(b"".join(parts))
    return hasher.hexdigest()


def _head(name: str, data: bytes) -> bytes:
    return f"{len(name)}:{name}:{len(data)}:".encode("utf-8", "surrogateescape")
