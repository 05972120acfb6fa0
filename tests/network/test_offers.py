"""What mirrors offer beside what is pinned, from a real server."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import encode
from msgspec.structs import replace

from hermetic.errors import FetchError
from hermetic.project.pin import Pin
from hermetic.sources import offers, update
from hermetic.sources.fetch import links
from hermetic.sources.offers import Survey
from tests.support.downloads import a_lock, fetcher, leftovers, machine, pin_of
from tests.support.servers import Server, whole


def page(*names: str) -> Any:
    """A directory as web servers list it: with links to sort it, and to the directory above."""
    hrefs = ("?C=N;O=D", "?C=M;O=A", "/", *(name.replace("+", "%2B") for name in names))
    return whole("".join(f'<a href="{href}">x</a>\n' for href in hrefs).encode(), "text/html;charset=UTF-8")


def pinned(version: str, *mirrors: str) -> Pin:
    return replace(pin_of(*mirrors), version=version)


def survey(tmp_path: Path, pin: Pin, **environ: str) -> Survey:
    return offers.survey(pin, fetcher(tmp_path, machine=machine(tmp_path, **environ)))


def newer(found: Survey) -> dict[str, str]:
    assert found.problems == {}
    return {offer.spec: offer.version for offer in found.newer}


def test_the_newest_file_of_a_directory_is_named_by_its_address(tmp_path: Path, server: Server) -> None:
    server.routes["/d/"] = page(
        "a-1.0.tgz", "a-1.9.tgz", "a-1.10.tgz", "a-2.0rc1.tgz", "b-9.tgz", "a-1.10.tgz.asc"
    )
    assert newer(survey(tmp_path, pinned("1.0", server.url("/d/a-1.0.tgz")))) == {
        server.url("/d/a-1.10.tgz"): "1.10"
    }
    assert newer(survey(tmp_path, pinned("1.10", server.url("/d/a-1.10.tgz")))) == {}
    assert leftovers(tmp_path) == []


def test_of_directories_with_versions_the_newest_that_holds_the_file_counts(
    tmp_path: Path, server: Server
) -> None:
    server.routes["/py/"] = page("3.13.5/", "3.13.9/", "3.13.15/", "3.14.0/", "3.14.1/", "3.13/", "src/")
    server.routes["/py/3.13.15/"] = page("Python-3.13.15rc1.tar.xz")
    server.routes["/py/3.13.9/"] = page("Python-3.13.9.tar.xz", "Python-3.13.9rc1.tar.xz")
    server.routes["/py/3.14.0/"] = page("Python-3.14.0.tar.xz")  # and 3.14.1 is not there
    address = server.url("/py/3.13.5/Python-3.13.5.tar.xz")
    assert newer(survey(tmp_path, pinned("3.13.5", address))) == {
        server.url("/py/3.14.0/Python-3.14.0.tar.xz"): "3.14.0"
    }
    # A pin of a line: of another mirror's address.
    server.routes["/debian/pool/main/p/python3.13/"] = page("python3.13_3.13.5.orig.tar.xz")
    lined = pinned("3.13.5", address, "debian:pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz")
    found = survey(tmp_path, lined, HERMETIC_DEBIAN_MIRROR=server.url("/debian"))
    assert newer(found) == {server.url("/py/3.13.9/Python-3.13.9.tar.xz"): "3.13.9"}


ZLIB = "debian:pool/main/z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz"
NEW_ZLIB = "debian:pool/main/z/zlib/zlib_1.3.dfsg+really1.3.2.orig.tar.gz"


def test_debians_pool_is_listed_by_the_first_archive_that_can(tmp_path: Path, server: Server) -> None:
    server.routes["/two/pool/main/z/zlib/"] = page(
        "zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
        "zlib_1.3.dfsg+really1.3.2.orig.tar.gz",
        "zlib_1.2.13.dfsg.orig.tar.bz2",
    )
    archives = f"{server.url('/one')} {server.url('/two/')}"
    found = survey(tmp_path, pinned("1.3.1", ZLIB), HERMETIC_DEBIAN_MIRROR=archives)
    assert newer(found) == {NEW_ZLIB: "1.3.2"}


def test_an_archive_that_lists_no_directories_has_indexes(tmp_path: Path, server: Server) -> None:
    text = (
        "Package: zlib\nFiles:\n 00 1 zlib_1.3.dfsg+really1.3.2.orig.tar.gz\nDirectory: pool/main/z/zlib\n\n"
        "Package: lib\nFiles:\n 00 1 lib_2.0.orig.tar.gz\nDirectory: pool/main/l/lib\n"
    )
    server.routes["/dists/unstable/main/source/Sources.xz"] = whole(lzma.compress(text.encode()))
    packages = "Package: b\nFilename: pool/main/b/b/b_2.0+ds-1+b1_amd64.deb\n"
    server.routes["/dists/unstable/main/binary-amd64/Packages.xz"] = whole(lzma.compress(packages.encode()))
    get = fetcher(tmp_path, machine=machine(tmp_path, HERMETIC_DEBIAN_MIRROR=server.url("")))
    assert newer(offers.survey(pinned("1.3.1", ZLIB), get)) == {NEW_ZLIB: "1.3.2"}
    lib = pinned("1.0", "debian:pool/main/l/lib/lib_1.0.orig.tar.gz")
    assert newer(offers.survey(lib, get)) == {"debian:pool/main/l/lib/lib_2.0.orig.tar.gz": "2.0"}
    deb = pinned("1.0", "debian:pool/main/b/b/b_1.0-1_amd64.deb")
    assert newer(offers.survey(deb, get)) == {"debian:pool/main/b/b/b_2.0+ds-1+b1_amd64.deb": "2.0"}
    assert len(server.asked("/dists/unstable/main/source/Sources.xz")) == 1
    gone = offers.survey(pinned("1.0", "debian:pool/main/g/gone/gone_1.0.orig.tar.gz"), get)
    (problem,) = gone.problems.values()
    assert "HTTP 404" in problem
    assert "Sources.xz: names no file in pool/main/g/gone" in problem


def test_a_damaged_index_is_a_reason(tmp_path: Path, server: Server) -> None:
    server.routes["/dists/unstable/main/source/Sources.xz"] = whole(b"not compressed")
    found = survey(tmp_path, pinned("1.3.1", ZLIB), HERMETIC_DEBIAN_MIRROR=server.url(""))
    assert "Sources.xz: " in found.problems[ZLIB]


@pytest.mark.parametrize("json", [True, False])
def test_what_an_index_has_taken_back_is_not_offered(tmp_path: Path, server: Server, json: bool) -> None:
    names = {
        "my_thing-1.0.whl": False,
        "my_thing-1.1-py3-none-any.whl": False,
        "my_thing-1.2-py3-none-any.whl": True,
    }
    if json:
        files = [
            {"filename": n, "url": f"/f/{n}", "yanked": "broken" if y else False} for n, y in names.items()
        ]
        server.routes["/simple/my-thing/"] = whole(encode({"files": files}), links.SIMPLE_JSON)
    else:
        html = "".join(f'<a href="/f/{n}"{" data-yanked" if y else ""}>x</a>' for n, y in names.items())
        server.routes["/simple/my-thing/"] = whole(html.encode(), "text/html")
    spec = "pypi:My_Thing==1.0#my_thing-1.0-py3-none-any.whl"
    found = survey(tmp_path, pinned("1.0", spec), PIP_INDEX_URL=server.url("/simple"))
    assert newer(found) == {"pypi:My_Thing==1.1#my_thing-1.1-py3-none-any.whl": "1.1"}


def test_mirrors_that_list_nothing_are_named_with_the_reason(tmp_path: Path, server: Server) -> None:
    server.routes["/portal/"] = whole(b"<html><a href='/login'>log in</a>", "text/html")
    mirrors = [server.url("/none/a-1.0.tgz"), server.url("/portal/a-1.0.tgz"), server.url("/latest.tgz")]
    mirrors += ["debian:pool/main/a/a/a_1.0-1.dsc", "pypi:a==1.0#a.exe", "gopher:x"]
    settings = {"HERMETIC_DEBIAN_MIRROR": server.url(""), "PIP_NO_INDEX": "1"}
    found = survey(tmp_path, pinned("1.0", *mirrors), **settings)
    assert found.newer == []
    assert list(found.problems) == mirrors
    reasons = (
        "HTTP 404",
        "nothing there is called like a-1.0.tgz",
        "the version 1.0 does not stand in it",
        "no archive lists pool/main/a/a",
        "no package index lists a",
        'unknown kind of mirror "gopher"',
    )
    for problem, words in zip(found.problems.values(), reasons, strict=True):
        assert words in problem


def test_update_takes_the_address_that_was_listed(tmp_path: Path, server: Server) -> None:
    """Where the lock's own address, with the version replaced, would lead nowhere."""
    names = ("thing_1.0+dfsg.orig.tar.gz", "thing_1.1+dfsg2.orig.tar.xz")
    server.routes["/pool/main/t/thing/"] = page(*names)
    server.routes["/pool/main/t/thing/thing_1.1+dfsg2.orig.tar.xz"] = whole(b"new")
    get = fetcher(tmp_path, machine=machine(tmp_path, HERMETIC_DEBIAN_MIRROR=server.url("")))
    old = a_lock(pinned("1.0", f"debian:pool/main/t/thing/{names[0]}"))
    new = update.update(old, "thing", get).pin("thing")
    assert (new.version, new.mirrors) == ("1.1", (f"debian:pool/main/t/thing/{names[1]}",))


def test_update_does_not_take_a_version_that_is_written_otherwise(tmp_path: Path, server: Server) -> None:
    server.routes["/pool/main/l/lib/"] = page("lib_3.1-2025.orig.tar.gz", "lib_3.1-2026.orig.tar.gz")
    get = fetcher(tmp_path, machine=machine(tmp_path, HERMETIC_DEBIAN_MIRROR=server.url("")))
    old = a_lock(pinned("2025-3.1", "debian:pool/main/l/lib/lib_3.1-2025.orig.tar.gz"))
    with pytest.raises(FetchError) as caught:
        update.update(old, "thing", get)
    assert "the version 2025-3.1 is called 3.1-2025 there" in caught.value.details[0]
