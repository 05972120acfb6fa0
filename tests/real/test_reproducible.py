"""Rebuilds of real derivations, perturbed in every way, are the same bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.real.conftest import hermetic

# Small ones, so that this fits into every run; `hermetic verify --closure cpython-aarch64` does all of them.
SMALL = ("userland", "clang-aarch64", "zlib-aarch64", "zlib-x86_64", "libuuid-aarch64", "bzip2-aarch64")


@pytest.mark.usefixtures("outputs")
def test_small_derivations_are_reproducible_under_all_perturbations() -> None:
    report = json.loads(hermetic("verify", "--json", *SMALL).stdout)
    assert [v["status"] for v in report["verdicts"]] == ["reproducible"] * len(SMALL)


def test_a_store_verifies(outputs: dict[str, Path]) -> None:
    assert outputs
    hermetic("store", "verify")
