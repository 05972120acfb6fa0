"""Reads the files that evaluation depends on, from the work tree or from a git revision.

Evaluation depends only on these bytes. So their hash is the key of the evaluation cache, and a revision is
evaluated without being checked out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hermetic.errors import HermeticError, UsageError
from hermetic.project import worktree
from hermetic.project.worktree import DIRECTORY, LOCK_FILE, PATCH_DIRECTORY

Files = Mapping[str, bytes]


def find_root(start: Path) -> Path:
    """The nearest directory that holds `flake-like.lock`: the absolute path `start` or one above it.

    Raises:
        UsageError: there is no such directory.
    """
    root = worktree.root_above(str(start))
    if root is not None:
        return Path(root)
    raise UsageError(
        f"no {LOCK_FILE} in {start} or in a directory above it",
        hint="change to the directory of a hermetic project, or give it with --project DIR",
    )


def read_worktree(root: Path) -> dict[str, bytes]:
    """The files of the work tree, as `worktree.read` returns them.

    Raises:
        HermeticError: a file cannot be read.
    """
    try:
        return worktree.read(str(root))
    except OSError as error:
        raise HermeticError(f"{error.filename}: {error.strerror}") from error


def read_revision(root: Path, revision: str) -> dict[str, bytes]:
    """The files of a git revision, read without touching the work tree.

    Raises:
        UsageError: the project is not a git checkout, or the revision does not exist.
    """
    prefix = _git(root, revision, "rev-parse", "--show-prefix").decode().strip()
    tree = f"{revision}:{prefix}" if prefix else f"{revision}^{{tree}}"
    paths = (DIRECTORY, PATCH_DIRECTORY, LOCK_FILE)
    listing = _git(root, revision, "ls-tree", "--full-tree", "-r", "-z", tree, "--", *paths)
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
    import subprocess

    try:
        done = subprocess.run(["git", "-C", str(root), *args], input=stdin, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError(f"cannot read revision {revision!r}: git is not installed") from error
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UsageError(
            f"cannot read revision {revision!r}: {reason[0] if reason else 'git failed'}",
            hint="`git log --oneline` lists revisions",
        )
    return done.stdout
