"""Every promise of the sandbox is tested for root and for an ordinary user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import ORDINARY_UID, Caller, share_package


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """What every caller reads: code and a busybox."""
    folder = Path(tempfile.mkdtemp(prefix="hermetic-shared-"))
    try:
        share_package(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session", params=["root", "ordinary"])
def account(request: pytest.FixtureRequest, shared: Path) -> Caller:
    """Root, then an ordinary user; only the latter where the tests do not run as root."""
    am_root = os.geteuid() == 0
    if request.param == "root" and not am_root:
        pytest.skip("the tests do not run as root")
    uid = 0 if request.param == "root" else (ORDINARY_UID if am_root else os.geteuid())
    made = Caller(request.param, uid, shared)
    with made.at_home():
        refused = made.drive("check")
    # A broken sandbox must not look like a machine that permits none.
    if refused and not made.may_have_namespaces():
        pytest.skip(f"no sandbox for {made.name} on this machine: {refused}")
    assert not refused
    return made


@pytest.fixture
def caller(account: Caller) -> Iterator[Caller]:
    """Each of them, with an empty home."""
    with account.at_home():
        yield account
