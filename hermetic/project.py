"""Reads a project: the files that evaluation depends on, from the work tree or from a git revision.

Evaluation is a function of these bytes and of nothing else, so their hash is the key of the evaluation
cache, and a revision is evaluated without being checked out.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from blake3 import blake3

from hermetic import hashing
from hermetic.errors import HermeticError, UsageError
from hermetic.recipe import DIRECTORY, PATCH_DIRECTORY

LOCK_FILE: Final = "flake-like.lock"

# The modules whose code decides what an evaluation gives.
_EVALUATOR: Final = ("derivation.py", "hashing.py", "instantiate.py", "lock.py", "recipe.py", "systems.py")

Files = Mapping[str, bytes]


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` that holds `flake-like.lock`.

    Raises:
        UsageError: there is none.
    """
    for folder in (start, *start.parents):
        if (folder / LOCK_FILE).is_file():
            return folder
    raise UsageError(
        f"no {LOCK_FILE} in {start} or above it",
        hint="change to a checkout of a hermetic project, or give its folder with --project",
    )


def read_worktree(root: Path) -> dict[str, bytes]:
    """All files of `derivations/` and `patches/`, and the lock, by path relative to the project.

    Editors' backups and hidden files are passed over.

    Raises:
        HermeticError: a file cannot be read.
    """
    files: dict[str, bytes] = {}
    pending = [DIRECTORY, PATCH_DIRECTORY]
    base = str(root)
    try:
        with open(f"{base}/{LOCK_FILE}", "rb") as lock:  # noqa: PTH123  (pathlib doubles the time of this loop)
            files[LOCK_FILE] = lock.read()
        while pending:
            folder = pending.pop()
            if not os.path.isdir(f"{base}/{folder}"):  # noqa: PTH112
                continue
            for entry in os.scandir(f"{base}/{folder}"):
                if entry.name.startswith(".") or entry.name.endswith("~"):
                    continue
                name = f"{folder}/{entry.name}"
                if entry.is_dir():
                    pending.append(name)
                else:
                    with open(entry.path, "rb") as file:  # noqa: PTH123
                        files[name] = file.read()
    except OSError as error:
        raise HermeticError(f"{error.filename}: {error.strerror}") from error
    return files


def read_revision(root: Path, revision: str) -> dict[str, bytes]:
    """The same from a git revision, without touching the work tree.

    Raises:
        UsageError: not a git checkout, or no such revision.
    """
    prefix = _git(root, revision, "rev-parse", "--show-prefix").decode().strip()
    tree = f"{revision}:{prefix}" if prefix else f"{revision}^{{tree}}"
    listing = _git(root, revision, "ls-tree", "-r", "-z", tree, "--", DIRECTORY, PATCH_DIRECTORY, LOCK_FILE)
    blobs: dict[str, str] = {}
    for line in listing.split(b"\0"):
        if line:
            meta, _, path = line.partition(b"\t")
            blobs[path.decode("utf-8", "surrogateescape")] = meta.split()[2].decode()
    request = "".join(f"{blob}\n" for blob in blobs.values()).encode()
    answer = _git(root, revision, "cat-file", "--batch", stdin=request)
    files: dict[str, bytes] = {}
    at = 0
    for name in blobs:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split()[2])
        files[name] = answer[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    if LOCK_FILE not in files:
        raise UsageError(f"revision {revision!r} has no {LOCK_FILE}")
    return files


def _git(root: Path, revision: str, *args: str, stdin: bytes | None = None) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *args], input=stdin, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git is needed to look at a revision, and is not installed") from error
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UsageError(
            f"cannot read revision {revision!r}: {reason[0] if reason else 'git failed'}",
            hint="`git log --oneline` lists revisions",
        )
    return done.stdout


def fingerprint(files: Files) -> str:
    """Hash of all that evaluation depends on, its own code included: the key of the evaluation cache."""
    hasher = blake3(derive_key_context=hashing.EVALUATION)
    for name in sorted(files):
        _feed(hasher, name, files[name])
    for module in _EVALUATOR:
        _feed(hasher, module, (Path(__file__).parent / module).read_bytes())
    return hashing.encode_base32(hasher.digest())


def _feed(hasher: blake3, name: str, data: bytes) -> None:
    hasher.update(f"{len(name)}:{name}:{len(data)}:".encode("utf-8", "surrogateescape"))
    hasher.update(data)
