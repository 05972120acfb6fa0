"""A checkout gives the same derivation ids whatever git's settings and the umask made of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hermetic.derivation.instantiate import Evaluator
from hermetic.project.files import read_revision, read_worktree
from tests.support.project import REPOSITORY

SETTINGS = {
    "plain": (),
    "line ends of Windows": ("core.autocrlf=true", "core.eol=crlf"),
    "line ends on input": ("core.autocrlf=input",),
    "no modes and no links": ("core.fileMode=false", "core.symlinks=false"),
}


def git(*args: str, cwd: Path) -> None:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        **{
            f"GIT_{who}_{what}": "x@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    subprocess.run(["git", *args], cwd=cwd, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the recipes and the git attributes of this project."""
    root = tmp_path_factory.mktemp("origin")
    names = subprocess.run(
        ["git", "ls-files", "-z", ".gitattributes", "derivations", "patches", "flake-like.lock"],
        cwd=REPOSITORY, check=True, capture_output=True,
    ).stdout  # fmt: skip
    for name in filter(None, names.decode().split("\0")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((REPOSITORY / name).read_bytes())
    git("init", "-q", cwd=root)
    git("add", ".", cwd=root)
    git("commit", "-q", "-m", "all", cwd=root)
    return root


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_every_checkout_gives_the_same_derivation_ids(
    origin: Path, tmp_path: Path, settings: str, umask: int
) -> None:
    before = os.umask(umask)
    try:
        options = [word for setting in SETTINGS[settings] for word in ("-c", setting)]
        git(*options, "clone", "-q", str(origin), str(tmp_path / "clone"), cwd=tmp_path)
    finally:
        os.umask(before)
    ids = {
        _id(read_worktree(origin)),
        _id(read_revision(origin, "HEAD")),
        _id(read_worktree(tmp_path / "clone")),
        _id(read_revision(tmp_path / "clone", "HEAD")),
    }
    assert len(ids) == 1


def _id(files: dict[str, bytes]) -> str:
    evaluator = Evaluator(files)
    return evaluator.instantiate(evaluator.parse_target("cpython-aarch64")).graph.root
