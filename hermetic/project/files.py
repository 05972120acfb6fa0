"""Reads the files that evaluation depends on, from the work tree or from a git revision.

Evaluation depends only on these bytes. So their hash is the key of the evaluation cache, and a revision is
evaluated without being checked out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

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
    if revision.startswith("-"):
        raise UsageError(f"{revision!r} is not a git revision", hint="`git log --oneline` lists revisions")
    prefix = os.fsdecode(_git(root, revision, "rev-parse", "--show-prefix").rstrip(b"\n"))
    tree = f"{revision}:{prefix}" if prefix else f"{revision}^{{tree}}"
    paths = (DIRECTORY, PATCH_DIRECTORY, LOCK_FILE)
    listing = _git(root, revision, "ls-tree", "--full-tree", "-r", "-z", tree, "--", *paths)
    blobs: dict[str, str] = {}
    for line in listing.split(b"\0"):
        meta, _, path = line.partition(b"\t")
        if path and meta.split()[1] == b"blob":
            blobs[os.fsdecode(path)] = meta.split()[2].decode()
    request = "".join(f"{blob}\n" for blob in blobs.values()).encode()
    files = dict(
        zip(blobs, _contents(_git(root, revision, "cat-file", "--batch", stdin=request)), strict=False)
    )
    absent = next((name for name in blobs if name not in files), None)
    if absent is not None:
        raise UsageError(
            f"cannot read revision {revision!r}: its file {absent} is not in this git repository",
            hint="`git fetch --refetch --no-filter` completes a partial clone",
        )
    if LOCK_FILE not in files:
        raise UsageError(f"revision {revision!r} has no {LOCK_FILE}")
    return files


def _contents(answer: bytes) -> Iterator[bytes]:
    """The blobs in an answer of `git cat-file --batch`, up to the first that is missing."""
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        if answer[at:end].endswith(b" missing"):
            return
        size = int(answer[at:end].split()[2])
        yield answer[end + 1 : end + 1 + size]
        at = end + 1 + size + 1


# Of git's variables, those that say how it is configured. Others name a repository, and a hook sets them.
_KEPT: Final = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH")


def _environment() -> dict[str, str]:
    """The environment of git: it reads the repository of the project, what that holds, and speaks English."""
    kept = {name: value for name, value in os.environ.items() if _is_kept(name)}
    return {**kept, "LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_TERMINAL_PROMPT": "0"}


def _is_kept(name: str) -> bool:
    return not name.startswith("GIT_") or name.startswith(_KEPT)


def _git(root: Path, revision: str, *args: str, stdin: bytes | None = None) -> bytes:
    import subprocess

    command = ["git", "-C", str(root), *args]
    try:
        # From a directory that exists: git refuses to start in one that has been removed.
        done = subprocess.run(
            command, input=stdin, capture_output=True, check=False, env=_environment(), cwd="/"
        )
    except FileNotFoundError as error:
        raise UsageError(f"cannot read revision {revision!r}: git is not installed") from error
    if done.returncode:
        raise _refused(root, revision, done.stderr.decode("utf-8", "replace").strip(), done.returncode)
    return done.stdout


def _refused(root: Path, revision: str, said: str, status: int) -> UsageError:
    """What git's refusal means for the user."""
    foreign = re.search(r"dubious ownership in repository at '(.*)'", said)
    if foreign:
        import shlex

        place = shlex.quote(foreign[1])
        return UsageError(
            f"cannot read revision {revision!r}: the checkout {foreign[1]} belongs to another user,"
            " and git does not read it",
            hint=f"if you trust its owner: git config --global --add safe.directory {place}",
        )
    if "not a git repository" in said:
        return UsageError(f"cannot read revision {revision!r}: {root} is not in a git repository")
    how = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
    reason = (said.splitlines() or [f"git failed ({how})"])[0]
    known = re.search(
        r"not a valid object name|not a tree object|bad revision|Needed a single|ambiguous", said, re.I
    )
    return UsageError(
        f"cannot read revision {revision!r}: {reason}",
        hint="`git log --oneline` lists revisions" if known else None,
    )
