"""Packages that people use, installed by the interpreter's own pip, do on every system what they are for."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.conftest import CHECKOUT, NATIVE, environment, hermetic, index_settings, line

PACKAGES = ("django", "requests", "httpx", "pytest", "rich", "sqlalchemy")
SCRIPT = CHECKOUT / "tests" / "real" / "interpreter" / "packages.py"


@pytest.fixture(scope="module")
def installed(outputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where the pip of a native interpreter has installed the packages, which are pure Python."""

    @functools.cache
    def install(target: str) -> Path:
        directory = tmp_path_factory.mktemp("packages")
        env = environment(HOME=str(directory), **index_settings())
        python = str(outputs[target] / "bin/python3")
        subprocess.run([python, "-m", "venv", str(directory / "env")], env=env, check=True)
        done = subprocess.run(
            [str(directory / "env/bin/python"), "-m", "pip", "install", "-q", *PACKAGES],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1]
            pytest.skip(f"pip cannot install {', '.join(PACKAGES)} here: {why}")
        return directory / "env" / "lib" / f"python{line(outputs[target])}" / "site-packages"

    return install


def test_packages_do_what_they_are_for(
    target: str, installed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed(target if target in NATIVE else NATIVE[0])))
    done = hermetic("run", target, "--", str(SCRIPT), check=False)
    assert done.returncode == 0, done.stdout
