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
_AT_ONCE = 1 << 20  # bytes, about, that are handed to the hash function together

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
                short = entry.name
                if short[0] == "." or short[-1] == "~":
                    continue
                name = f"{folder}/{short}"
                if entry.is_file(follow_symlinks=False):
                    files[name] = filesystem.listed(entry.path, MOST)
                elif not entry.is_dir():
                    files[name] = filesystem.whole(entry.path, MOST)
                elif entry.is_symlink():
                    raise OSError(errno.ELOOP, "is a link to a folder, which is not followed", entry.path)
                else:
                    pending.append(name)
    return files


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Hash of all that evaluation depends on, its own code included: the key of the evaluation cache."""
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
