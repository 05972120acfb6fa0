"""Using an interpreter never changes its tree, whoever uses it and however."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.real.conftest import environment, hermetic, library, line


def contents(tree: Path) -> dict[str, str]:
    """Every name in the tree with what it stands for."""
    found = {}
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "directory" if path.is_dir() else hashlib.blake2b(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def writable(native: Path, tmp_path: Path) -> Path:
    """A copy of the native interpreter that whoever runs this may write to."""
    copy = tmp_path / "python"
    shutil.copytree(native, copy, symlinks=True)
    for path in [copy, *copy.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755)
    return copy


def python(tree: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tree / "bin/python3"), *args],
        cwd=tree.parent,  # which is where modules are looked for first
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
    )


IMPORT_ALL = """
import pkgutil, importlib, sys, warnings
warnings.simplefilter("ignore")
for module in pkgutil.walk_packages():
    if module.name not in ("antigravity", "this") and not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError:
            pass
"""


@pytest.mark.parametrize("options", [[], ["-O"], ["-OO"], ["-OO", "-I"], ["-X", "importtime"]], ids=" ".join)
def test_importing_the_whole_library_writes_nothing(writable: Path, options: list[str]) -> None:
    before = contents(writable)
    assert python(writable, *options, "-c", IMPORT_ALL).returncode == 0
    assert contents(writable) == before


def test_byte_code_is_cached_where_the_user_says(writable: Path, tmp_path: Path) -> None:
    before = contents(writable)
    cache = tmp_path / "cache"
    assert python(writable, "-O", "-c", "import json", PYTHONPYCACHEPREFIX=str(cache)).returncode == 0
    assert contents(writable) == before
    assert any(p.name.startswith("decoder.") and p.name.endswith(".opt-1.pyc") for p in cache.rglob("*"))


def test_byte_code_of_the_users_modules_is_cached(writable: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    packages = library(writable) / "site-packages"
    (packages / "theirs.py").write_text("")
    assert python(writable, "-c", "import mine, theirs", PYTHONPATH=str(tmp_path)).returncode == 0
    tag = f"cpython-{line(writable).replace('.', '')}"
    assert [p.name for p in (tmp_path / "__pycache__").iterdir()] == [f"mine.{tag}.pyc"]
    assert [p.name for p in (packages / "__pycache__").iterdir()] == [f"theirs.{tag}.pyc"]


def test_installers_are_sent_to_a_venv(writable: Path, tmp_path: Path) -> None:
    before = contents(writable)
    done = python(writable, "-m", "ensurepip")
    assert done.returncode != 0
    assert "externally-managed-environment" in done.stderr + done.stdout
    assert "python3 -m venv" in done.stderr + done.stdout
    assert python(writable, "-m", "venv", str(tmp_path / "venv")).returncode == 0
    done = subprocess.run(
        [str(tmp_path / "venv/bin/pip"), "list"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip" in done.stdout
    assert contents(writable) == before


def test_the_store_is_intact_after_use(native: Path) -> None:
    for options in (["-O"], ["-OO"]):
        assert python(native, *options, "-c", "import asyncio, http.server, sqlite3, xml.dom").returncode == 0
    python(native, "-m", "ensurepip")
    hermetic("store", "verify", str(native))
