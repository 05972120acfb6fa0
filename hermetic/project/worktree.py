"""The files of a project that evaluation depends on, as they lie in its folder.

Loaded before anything else (see `store.quick`), so nothing is imported that is slow to load.
"""

# ruff: noqa: PTH112, PTH113, PTH120
# Because pathlib doubles the time of these loops, and is slow to load.

from __future__ import annotations

import errno
import os

from blake3 import blake3

from hermetic import filesystem
from hermetic.hashing import EVALUATION

# What `typing.TYPE_CHECKING` stands for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK_FILE = "flake-like.lock"
DIRECTORY = "derivations"
PATCH_DIRECTORY = "patches"

MOST = 64 << 20  # bytes of one file

# Where the code lies that decides what an evaluation gives: the layers up to `derivation`.
_EVALUATOR = ("", "/project", "/derivation")


def root_above(folder: str) -> str | None:
    """The nearest folder at or above `folder`, an absolute path, that holds `flake-like.lock`."""
    while not os.path.isfile(f"{folder}/{LOCK_FILE}"):
        if folder == "/":
            return None
        folder = os.path.dirname(folder)
    return folder


def read(root: str) -> dict[str, bytes]:
    """All files of `derivations/` and `patches/`, and the lock, by path relative to the project.

    Editors' backups and hidden files are passed over.

    Raises:
        OSError: a file cannot be read, is none or too large, or a folder is a link: that could lead round
            in a ring, or through the whole disk, and git does not follow it either.
    """
    files = {LOCK_FILE: filesystem.whole(f"{root}/{LOCK_FILE}", MOST)}
    pending = [f for f in (DIRECTORY, PATCH_DIRECTORY) if os.path.isdir(f"{root}/{f}")]
    while pending:
        folder = pending.pop()
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith("~"):
                    continue
                name = f"{folder}/{entry.name}"
                if entry.is_dir():
                    if entry.is_symlink():
                        raise OSError(errno.ELOOP, "is a link to a folder, which is not followed", entry.path)
                    pending.append(name)
                else:
                    files[name] = filesystem.whole(entry.path, MOST)
    return files


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Hash of all that evaluation depends on, its own code included: the key of the evaluation cache."""
    hasher = blake3(derive_key_context=EVALUATION)
    for name in sorted(files):
        _feed(hasher, name, files[name])
    package = os.path.dirname(os.path.dirname(__file__))
    for layer in _EVALUATOR:
        for module in sorted(name for name in os.listdir(package + layer) if name.endswith(".py")):
            _feed(hasher, f"{layer}/{module}", filesystem.whole(f"{package}{layer}/{module}", MOST))
    return hasher.hexdigest()


def _feed(hasher: blake3, name: str, data: bytes) -> None:
    hasher.update(f"{len(name)}:{name}:{len(data)}:".encode("utf-8", "surrogateescape"))
    hasher.update(data)
