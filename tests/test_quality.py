"""The code is clean under the tools that it says it is clean under."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def _clean(*command: str) -> None:
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    _clean(sys.executable, "-m", "ruff", "check", "--no-cache", ".")
    _clean(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".")


def test_mypy_strict_finds_nothing() -> None:
    _clean(sys.executable, "-m", "mypy")


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian: apt install shellcheck)")
    _clean("shellcheck", ".ci/run")
    _clean("shellcheck", "-s", "sh", *map(str, sorted(CHECKOUT.glob("derivations/*/build.sh"))))
