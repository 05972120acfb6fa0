"""Mirrors that the machine's settings of pip and apt name, on a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.errors import FetchError
from hermetic.sources.fetch import links, pip
from tests.support.downloads import DATA, DEBIAN, PYPI, fetcher, machine, pin_of, write
from tests.support.servers import Server, whole


@pytest.mark.parametrize("json", [True, False])
def test_pypi_asks_the_configured_index(tmp_path: Path, server: Server, json: bool) -> None:
    if json:
        page = (
            b'{"files": [{"filename": "my_thing-1.0.whl", "url": "/files/f.whl", "hashes": {}}], "meta": {}}'
        )
        server.routes["/simple/my-thing/"] = whole(page, links.SIMPLE_JSON)
    else:
        page = b'<html><base href="/files/"><a href="my_thing-1.0.whl?x=1#sha256=1">x</a>'
        server.routes["/simple/my-thing/"] = whole(page, "text/html")
    server.routes["/files/f.whl"] = server.routes["/files/my_thing-1.0.whl?x=1"] = whole(DATA)
    env = {"PIP_INDEX_URL": server.url("/simple")}
    assert fetcher(tmp_path, machine=machine(tmp_path, **env)).fetch(pin_of(PYPI)).read_bytes() == DATA


def test_pypi_says_where_it_looked(tmp_path: Path, server: Server) -> None:
    server.routes["/simple/my-thing/"] = whole(b"<a href=other-1.0.whl>", "text/html")
    env = {"PIP_INDEX_URL": server.url("/simple/"), "PIP_EXTRA_INDEX_URL": server.url("/none")}
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path, machine=machine(tmp_path, **env)).fetch(pin_of(PYPI))
    assert "not listed there" in caught.value.details[0]
    assert "HTTP 404" in caught.value.details[0]


def test_debian_tries_each_archive_of_apt_until_one_answers(tmp_path: Path, server: Server) -> None:
    server.routes["/two/pool/main/t/thing/thing_1.0+x.orig.tar.gz"] = whole(DATA)
    sources = tmp_path / "root" / "etc" / "apt" / "sources.list.d" / "x.sources"
    write(sources, f"Types: deb\nURIs: {server.url('/one')}\n# a comment\n {server.url('/two')}\nSuites: s\n")
    got = fetcher(tmp_path, machine=machine(tmp_path)).fetch(pin_of(DEBIAN))
    assert got.read_bytes() == DATA
    assert [path.split("/")[1] for path, _ in server.requests] == ["one", "two"]


def test_pip_can_be_asked_for_its_default_index() -> None:
    assert pip.default_index().startswith("https://")
