"""Updating the lock, as far as no server is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.project import lock
from hermetic.sources import update, versions
from tests.support.downloads import a_lock, pin_of, write


@pytest.mark.parametrize(
    ("address", "old", "new", "rewritten"),
    [
        ("debian:p/python3.13/python3.13_3.13.15.orig.tar.xz", "3.13.15", "3.14.7",
         "debian:p/python3.14/python3.14_3.14.7.orig.tar.xz"),
        ("https://x.test/3.13.15/Python-3.13.15.tar.xz", "3.13.15", "3.14.7", "https://x.test/3.14.7/Python-3.14.7.tar.xz"),
        ("https://x.test/linux/v6.1/linux-6.1.176.tar.xz", "6.1.176", "6.12.107",
         "https://x.test/linux/v6.12/linux-6.12.107.tar.xz"),
        ("https://x.test/boost_1_80/b-1.80.0.tgz", "1.80.0", "1.81.0", "https://x.test/boost_1_81/b-1.81.0.tgz"),
        ("https://x.test/10.5.8/5.80/5.8/xz-5.8.1.tgz", "5.8.1", "5.9.0", "https://x.test/10.5.8/5.80/5.9/xz-5.9.0.tgz"),
        ("https://x.test/3/a-3.1.tar", "3.1", "4.0", "https://x.test/3/a-4.0.tar"),
        ("https://x.test/py313/3.13.15.tar", "3.13.15", "3.14.7", "https://x.test/py314/3.14.7.tar"),
    ],
)  # fmt: skip
def test_an_address_may_hold_the_beginning_of_the_version_too(
    address: str, old: str, new: str, rewritten: str
) -> None:
    assert versions.with_version(address, old, new) == rewritten


def test_save_replaces_the_lock_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "flake-like.lock", "old")
    made = a_lock(pin_of("https://a.test/x"))
    update.save(path, made)
    assert lock.parse(path.read_bytes()) == made
    assert list(tmp_path.iterdir()) == [path]
