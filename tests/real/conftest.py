"""Real builds: what hermetic exists for, realized once for all tests in the store of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermetic.session import machine
from hermetic.systems import SYSTEMS, running_on
from tests.support.settings import TAKEN

CHECKOUT = Path(__file__).resolve().parents[2]
# The interpreters that are tried, and those of them that run on this machine as they are.
TARGETS = tuple(
    os.environ.get(
        "HERMETIC_TEST_TARGETS", "cpython-x86_64 cpython-aarch64 cpython-i386 cpython-sealed-x86_64"
    ).split()
)
NATIVE = tuple(t for t in TARGETS if SYSTEMS[t.rpartition("-")[2]] in running_on(machine.this()))
# Prints whether an interpreter loads extension modules.
LOADS_EXTENSIONS = "import _imp; print(hasattr(_imp, 'create_dynamic'))"


def hermetic(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in the checkout; its stderr goes to ours, so that long builds show progress."""
    done = subprocess.run(
        [sys.executable, "-m", "hermetic", *args],
        cwd=CHECKOUT,
        env={**os.environ, **TAKEN},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(f"hermetic {' '.join(args)}: exit code {done.returncode}\n{done.stdout}")
    return done


def realize_beside_our_recipes(project: Path, *targets: str) -> dict[str, Path]:
    """Realize targets of a directory that has recipes of its own. Ours are copied there, the store is ours.

    Returns the store path of each target.
    """
    for name in ("derivations", "patches"):
        shutil.copytree(CHECKOUT / name, project / name, dirs_exist_ok=True)
    shutil.copy(CHECKOUT / "flake-like.lock", project)
    store = TAKEN.get("HERMETIC_STORE", str(CHECKOUT / "store"))
    done = hermetic("--project", str(project), "--store", store, "realize", "--json", *targets)
    return {r["target"]: Path(r["path"]) for r in json.loads(done.stdout)}


@pytest.fixture(scope="session")
def outputs() -> dict[str, Path]:
    """The interpreters: target to store path."""
    records = json.loads(hermetic("realize", "--json", *TARGETS).stdout)
    return {r["target"]: Path(r["path"]) for r in records}


@pytest.fixture(scope="session", params=NATIVE)
def native(request: pytest.FixtureRequest, outputs: dict[str, Path]) -> Path:
    """The tree of each interpreter for this machine."""
    return outputs[request.param]


def line(tree: Path) -> str:
    """The release line of the interpreter in a tree, such as `3.14`."""
    (library,) = tree.glob("lib/python*")
    return library.name.removeprefix("python")


def library(tree: Path) -> Path:
    """Where the standard library is."""
    return tree / "lib" / f"python{line(tree)}"


def own_copy(tree: Path, copy: Path) -> Path:
    """Copy a tree; whoever runs this may add to the copy."""
    shutil.copytree(tree, copy, symlinks=True)
    for directory in [copy, *(p for p in copy.rglob("*") if p.is_dir() and not p.is_symlink())]:
        directory.chmod(0o755)
    return copy


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """Each interpreter in turn."""
    return str(request.param)


@pytest.fixture
def tree(target: str, outputs: dict[str, Path]) -> Path:
    """The output of the target at hand."""
    return outputs[target]


def environment(**changes: str) -> dict[str, str]:
    """A neutral environment for programs under test."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/"), **changes}


def index_settings() -> dict[str, str]:
    """What the environment says of package indexes, proxies and their certificates."""
    return {
        k: v
        for k, v in os.environ.items()
        if k.startswith(("PIP_", "UV_", "SSL_CERT_", "REQUESTS_")) or k.lower().endswith("_proxy")
    }
