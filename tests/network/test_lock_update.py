"""Checking and updating what the lock pins, against a real server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hermetic.errors import LockError
from hermetic.sources import update
from tests.support.downloads import DATA, EMPTY, a_lock, fetcher, leftovers, pin_of
from tests.support.servers import Server, whole


def test_check_reports_each_mirror(tmp_path: Path, server: Server) -> None:
    server.routes["/good"] = whole(DATA)
    server.routes["/long"] = whole(DATA + b"!")
    server.routes["/bad"] = whole(DATA[:-1] + b"!")
    pin = pin_of(*(server.url(path) for path in ("/good", "/long", "/bad", "/gone")))
    reports = list(update.check([pin], fetcher(tmp_path)))
    assert [r.problem is None for r in reports] == [True, False, False, False]
    assert [r.wrong_bytes for r in reports] == [False, True, True, False]
    assert hashlib.sha256(DATA[:-1] + b"!").hexdigest() in (reports[2].problem or "")
    assert "404" in (reports[3].problem or "")
    assert leftovers(tmp_path) == []


def test_update_pins_the_newest_version_that_is_listed(tmp_path: Path, server: Server) -> None:
    names = [
        "thing-1.0.tar.gz",
        "thing-1.9.tar.gz",
        "thing-1.10.tar.gz",
        "thing-2.0rc1.tar.gz",
        "other-9.tar.gz",
    ]
    server.routes["/d/"] = whole("".join(f'<a href="{n}">' for n in names).encode(), "text/html")
    server.routes["/d/thing-1.10.tar.gz"] = whole(b"new")
    old = a_lock(pin_of(server.url("/d/thing-1.0.tar.gz")))
    new = update.update(old, "thing", fetcher(tmp_path))
    assert new.pin("thing").version == "1.10"
    assert new.pin("thing").sha256 == hashlib.sha256(b"new").hexdigest()
    assert new.pin("thing").file == "thing-1.10.tar.gz"
    assert new.pin("thing", "1.0") == old.pin("thing")


def test_update_leaves_out_mirrors_with_other_bytes(tmp_path: Path, server: Server) -> None:
    server.routes["/a/thing-2.0.tar.gz"] = whole(b"new")
    server.routes["/b/thing-2.0.tar.gz"] = whole(b"repacked")
    old = a_lock(
        pin_of(server.url("/a/thing-1.0.tar.gz"), server.url("/b/thing-1.0.tar.gz"), server.url("/c/x"))
    )
    notes: list[str] = []
    new = update.update(old, "thing", fetcher(tmp_path), to="2.0", note=notes.append)
    assert new.pin("thing").mirrors == (server.url("/a/thing-2.0.tar.gz"),)
    assert len(notes) == 2


def test_update_keeps_upstreams_address_when_it_is_out_of_reach(tmp_path: Path, server: Server) -> None:
    server.routes["/b/thing-2.0.tar.gz"] = whole(b"new")
    old = a_lock(pin_of(server.url("/up/thing-1.0.tar.gz"), server.url("/b/thing-1.0.tar.gz")))
    new = update.update(old, "thing", fetcher(tmp_path), to="2.0")
    assert new.pin("thing").mirrors == (server.url("/up/thing-2.0.tar.gz"), server.url("/b/thing-2.0.tar.gz"))


def test_update_pins_a_version_beside_the_default(tmp_path: Path, server: Server) -> None:
    server.routes["/thing-2.0.tar.gz"] = whole(b"new")
    old = a_lock(pin_of(server.url("/thing-1.0.tar.gz")))
    new = update.update(old, "thing", fetcher(tmp_path), to="2.0", default=False)
    assert new.default_version("thing") == "1.0"
    assert new.pin("thing", "2.0").size == 3


def test_a_file_has_the_name_that_the_first_mirror_gives_it(tmp_path: Path, server: Server) -> None:
    server.routes["/b/copy_of_2.0.tar"] = whole(b"new")
    mirrors = (server.url("/up/thing-2.0.tar"), server.url("/b/copy_of_2.0.tar"))
    new = update.update(EMPTY, "thing", fetcher(tmp_path), to="2.0", mirrors=mirrors)
    assert new.pin("thing").file == "thing-2.0.tar"


def test_update_adds_a_new_source_from_given_mirrors(tmp_path: Path, server: Server) -> None:
    server.routes["/n-1.tar"] = whole(b"new")
    with pytest.raises(LockError, match="pins no source"):
        update.update(EMPTY, "n", fetcher(tmp_path))
    new = update.update(EMPTY, "n", fetcher(tmp_path), to="1", mirrors=(server.url("/n-1.tar"),))
    assert new.pin("n").size == 3
