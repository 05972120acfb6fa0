"""Mirrors through the machine's settings of pip and apt, as far as no server is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.errors import FetchError
from hermetic.sources.fetch import apt, kinds, mirror, missing, pip
from tests.support.downloads import DATA, DEBIAN, PYPI, fetcher, machine, pin_of, write


def test_pypi_finds_a_file_in_a_file_index_of_pip_conf(tmp_path: Path) -> None:
    write(tmp_path / "index" / "files" / "my_thing-1.0.whl", DATA)
    write(
        tmp_path / "index" / "simple" / "my-thing" / "index.html",
        '<a href="../../files/my_thing-1.0.whl#sha256=00">my_thing-1.0.whl</a>',
    )
    conf = f"[global]\nextra-index-url = {(tmp_path / 'index' / 'simple').as_uri()}\n"
    write(tmp_path / "root" / "etc" / "pip.conf", conf)
    got = fetcher(tmp_path, machine=machine(tmp_path)).fetch(pin_of(PYPI))
    assert got.read_bytes() == DATA


def test_pypi_finds_a_file_in_a_find_links_folder(tmp_path: Path) -> None:
    write(tmp_path / "wheels" / "my_thing-1.0.whl", DATA)
    env = {"PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_NO_INDEX": "1"}
    assert fetcher(tmp_path, machine=machine(tmp_path, **env)).fetch(pin_of(PYPI)).read_bytes() == DATA


def test_hermetics_own_setting_replaces_pips_indexes(tmp_path: Path) -> None:
    environ = {"PIP_INDEX_URL": "https://a.test/", "HERMETIC_PYPI_INDEX": "https://b.test/ https://c.test/"}
    settings = pip.read(environ, tmp_path)
    assert [location.url for location in settings.indexes()] == ["https://b.test/", "https://c.test/"]


def test_pip_settings_have_pips_precedence(tmp_path: Path) -> None:
    write(
        tmp_path / "etc" / "pip.conf", "[global]\nindex-url = https://etc.test\nproxy = p.test:1\ncert = /x\n"
    )
    write(
        tmp_path / "home" / ".config" / "pip" / "pip.conf",
        "[global]\nindex_url = https://home.test\ntrusted-host = h.test\n"
        "[install]\nextra-index-url =\n https://1.test\n https://2.test\n",
    )
    environ = {"HOME": str(tmp_path / "home")}
    settings = pip.read(environ, tmp_path)
    assert settings.index_url == "https://home.test"
    assert settings.extra_index_urls == ("https://1.test", "https://2.test")
    assert settings.proxy == "http://p.test:1"
    assert not settings.location("https://h.test/x").verify
    assert settings.location("https://i.test/x").verify
    assert (
        pip.read({**environ, "PIP_INDEX_URL": "https://env.test"}, tmp_path).index_url == "https://env.test"
    )
    assert pip.read({**environ, "PIP_CONFIG_FILE": "/dev/null"}, tmp_path).index_url is None


def test_a_broken_pip_conf_is_one_failed_attempt(tmp_path: Path) -> None:
    write(tmp_path / "root" / "etc" / "pip.conf", "no section")
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path, machine=machine(tmp_path)).fetch(pin_of(PYPI))
    assert "pip's configuration cannot be read" in caught.value.details[0]


def test_debian_works_with_a_local_archive(tmp_path: Path) -> None:
    write(tmp_path / "archive" / "pool/main/t/thing/thing_1.0+x.orig.tar.gz", DATA)
    write(tmp_path / "root" / "etc" / "apt" / "sources.list", f"deb file:{tmp_path}/archive stable main\n")
    assert fetcher(tmp_path, machine=machine(tmp_path)).fetch(pin_of(DEBIAN)).read_bytes() == DATA


def test_hermetics_own_setting_replaces_apts_sources(tmp_path: Path) -> None:
    write(tmp_path / "archive" / "pool/main/t/thing/thing_1.0+x.orig.tar.gz", DATA)
    env = {"HERMETIC_DEBIAN_MIRROR": (tmp_path / "archive").as_uri()}
    assert fetcher(tmp_path, machine=machine(tmp_path, **env)).fetch(pin_of(DEBIAN)).read_bytes() == DATA


def test_apt_sources_in_both_formats(tmp_path: Path) -> None:
    mirrors = write(
        tmp_path / "mirrors.txt", "# list\nhttp://m1.test/debian\tpriority:1\nhttps://m2.test/debian\n"
    )
    write(
        tmp_path / "etc/apt/sources.list",
        "# deb http://no.test x main\n"
        "deb [arch=amd64 signed-by=/x] http://a.test/debian stable main\n"
        "deb-src http://a.test/debian stable main\n"
        "deb cdrom:[x]/ stable main\n"
        f"deb mirror+file:{mirrors} stable main\n",
    )
    write(
        tmp_path / "etc/apt/sources.list.d/b.sources",
        "Types: deb\nURIs: http://b.test/debian\n  http://c.test/debian\nSuites: x\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.test/\nSuites: x\n",
    )
    write(tmp_path / "etc/apt/sources.list.d/ignored.txt", "deb http://ignored.test x main\n")
    hosts = [uri.split("/")[2] for uri in apt.read({}, tmp_path).uris]
    assert hosts == ["a.test", "m1.test", "m2.test", "b.test", "c.test"]


def test_apts_proxy_is_used_unless_direct() -> None:
    options = {"acquire::http::proxy": "http://proxy.test:3128", "acquire::http::proxy::near.test": "DIRECT"}
    settings = apt.AptSettings((), options)
    assert settings.location("http://far.test/x").proxy == "http://proxy.test:3128"
    assert settings.location("http://near.test/x").proxy == ""
    assert settings.location("https://far.test/x").proxy is None


@pytest.mark.parametrize(
    "spec",
    [
        "debian:../../etc/passwd",
        "debian:pool/../x/y",
        "debian:main/x",
        "pypi:x",
        "pypi:x==1#../y",
        "https://",
        "x",
    ],
)
def test_malformed_mirrors_are_refused(spec: str) -> None:
    with pytest.raises(FetchError):
        kinds.of(spec)


def test_passwords_in_addresses_are_not_shown() -> None:
    assert mirror.redacted("https://user:secret@host.test/x") == "https://host.test/x"


def test_missing_names_every_source() -> None:
    error = missing([pin_of("x:y", name="b"), pin_of("x:y", name="a")])
    assert "2 sources" in error.message
    assert [line.partition(" ")[0] for line in error.details] == ["a", "b"]
