"""Fetching: from a real server that misbehaves, and through the machine's settings of pip and apt."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from blake3 import blake3

from hermetic.errors import FetchError, HashMismatch, LockError, StoreError
from hermetic.project import lock
from hermetic.sources import update
from hermetic.sources.fetch import Cancelled, Fetcher, Limits, apt, kinds, links, mirror, missing, pip
from hermetic.sources.fetch.machine import Machine
from tests.support.servers import Server, ranged, serving, whole

EMPTY = lock.Lock(default={}, sources={}, expect={})

DATA = bytes(range(256)) * 1200
QUICK = Limits(connect=2.0, stall=0.4, min_rate=1024, rate_window=0.3, tries=3, backoff=0.01)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def pin_of(
    *mirrors: str, data: bytes = DATA, name: str = "thing", file: str = "thing-1.0.tar.gz"
) -> lock.Pin:
    sha256, b3 = hashlib.sha256(data).hexdigest(), blake3(data).hexdigest()
    return lock.Pin(name, "1.0", file, sha256, b3, len(data), mirrors)


def fetcher(tmp_path: Path, **settings: object) -> Fetcher:
    machine = Machine(QUICK, environ={"HOME": str(tmp_path)}, root=tmp_path / "root")
    settings.setdefault("machine", machine)
    return Fetcher(tmp_path / "downloads", **settings)  # type: ignore[arg-type]


def leftovers(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "downloads").rglob("*") if p.is_file())


# The plain way


def test_gives_the_pinned_bytes(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    path = fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    assert path.read_bytes() == DATA
    path.unlink()
    assert leftovers(tmp_path) == []


def test_a_finished_download_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    pin = pin_of(server.url("/f"))
    fetcher(tmp_path).fetch(pin)
    assert fetcher(tmp_path, offline=True).fetch(pin).read_bytes() == DATA
    assert len(server.requests) == 1


def test_a_finished_download_that_was_altered_is_fetched_again(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    pin = pin_of(server.url("/f"))
    fetcher(tmp_path).fetch(pin).write_bytes(b"altered")
    assert fetcher(tmp_path).fetch(pin).read_bytes() == DATA


def test_progress_tells_bytes_total_and_mirror(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    pin = pin_of(server.url("/f"))
    seen: list[tuple[int, int, str]] = []
    fetcher(tmp_path, progress=lambda p, done, total, m: seen.append((done, total, m))).fetch(pin)
    assert seen[-1] == (len(DATA), len(DATA), server.url("/f"))


def test_many_threads_can_fetch_at_once(tmp_path: Path, server: Server) -> None:
    pins = []
    for number in range(12):
        data = bytes([number]) * 50_000
        server.routes[f"/{number}"] = whole(data)
        pins.append(pin_of(server.url(f"/{number}"), data=data, name=f"n{number}"))
    shared = fetcher(tmp_path)
    results: list[Path] = []
    threads = [threading.Thread(target=lambda p=p: results.append(shared.fetch(p))) for p in pins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in results}) == 12


# Servers that fail


def test_a_cut_download_is_resumed_where_it_stopped(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = ranged(DATA, cuts=[100_000])
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA
    first, second = server.asked("/f")
    assert "Range" not in first
    assert 0 < int(second["Range"].removeprefix("bytes=").rstrip("-")) <= 100_000
    assert second["If-Range"] == '"v1"'


def test_a_download_is_resumed_by_the_next_run(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = ranged(DATA, cuts=[1000, 1000, 1000])
    with pytest.raises(FetchError, match="cannot fetch thing"):
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA
    assert server.asked("/f")[-1]["Range"] == "bytes=3000-"


def test_another_mirror_can_finish_what_the_first_began(tmp_path: Path, server: Server) -> None:
    server.routes["/a"] = ranged(DATA, cuts=[50_000, 0, 0])
    server.routes["/b"] = ranged(DATA)
    assert fetcher(tmp_path).fetch(pin_of(server.url("/a"), server.url("/b"))).read_bytes() == DATA
    assert server.asked("/b")[0]["Range"] == "bytes=50000-"


def test_a_server_that_ignores_range_is_started_over(tmp_path: Path, server: Server) -> None:
    server.routes["/a"] = ranged(DATA, cuts=[50_000, 0, 0])
    server.routes["/b"] = whole(DATA)
    assert fetcher(tmp_path).fetch(pin_of(server.url("/a"), server.url("/b"))).read_bytes() == DATA


def test_a_file_that_changed_between_two_runs_is_started_over(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = ranged(b"x" * len(DATA), etag='"old"', cuts=[9000, 9000, 9000])
    with pytest.raises(FetchError):
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    server.routes["/f"] = ranged(DATA, etag='"new"')
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA


def test_a_wrong_beginning_from_one_mirror_is_not_blamed_on_the_next(tmp_path: Path, server: Server) -> None:
    server.routes["/bad"] = ranged(b"x" * len(DATA), cuts=[9000, 0, 0])
    server.routes["/good"] = ranged(DATA)
    pin = pin_of(server.url("/bad"), server.url("/good"))
    assert fetcher(tmp_path).fetch(pin).read_bytes() == DATA


def test_a_range_other_than_asked_is_not_taken(tmp_path: Path, server: Server) -> None:
    def wrong_range(handler: BaseHTTPRequestHandler) -> None:
        if "Range" not in handler.headers:
            whole(DATA)(handler)
            return
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-{len(DATA) - 1}/{len(DATA)}")
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA)

    server.routes["/a"] = ranged(DATA, cuts=[50_000, 0, 0])
    server.routes["/b"] = wrong_range
    assert fetcher(tmp_path).fetch(pin_of(server.url("/a"), server.url("/b"))).read_bytes() == DATA


def test_a_truncated_answer_is_no_success(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = ranged(DATA, cuts=[500] * 3)
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    assert "(3 tries)" in caught.value.details[0]


def test_a_server_that_lies_about_the_length_is_no_success(tmp_path: Path, server: Server) -> None:
    def liar(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA) + 5))
        handler.end_headers()
        handler.wfile.write(DATA[:-7])
        handler.close_connection = True

    server.routes["/f"] = liar
    with pytest.raises(FetchError):
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))


def test_an_answer_without_a_length_that_ends_early_is_no_success(tmp_path: Path, server: Server) -> None:
    def no_length(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(DATA[:10])
        handler.close_connection = True

    server.routes["/f"] = no_length
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    assert "ended after 10 of" in caught.value.details[0]


def test_a_stall_ends_and_the_next_mirror_is_tried(tmp_path: Path, server: Server) -> None:
    def stalls(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA[:100])
        handler.wfile.flush()
        server.released.wait(20)

    server.routes["/slow"] = stalls
    server.routes["/good"] = ranged(DATA)
    lines: list[str] = []
    started = time.monotonic()
    path = fetcher(tmp_path, notice=lambda pin, line: lines.append(line)).fetch(
        pin_of(server.url("/slow"), server.url("/good"))
    )
    assert path.read_bytes() == DATA
    assert time.monotonic() - started < 5
    assert "no data for 0.4 s" in lines[0]


def test_a_trickle_is_too_slow(tmp_path: Path, server: Server) -> None:
    def trickles(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        while not server.released.wait(0.05):
            handler.wfile.write(b"x")

    server.routes["/f"] = trickles
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    assert "too slow" in caught.value.details[0]


def test_redirects_in_circles_end(tmp_path: Path, server: Server) -> None:
    def around(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/f")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.routes["/f"] = around
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    assert "more than 10 redirects" in caught.value.details[0]
    assert len(server.requests) <= 11


def test_a_redirect_is_followed(tmp_path: Path, server: Server) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(301)
        handler.send_header("Location", "/real")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.routes["/f"], server.routes["/real"] = elsewhere, whole(DATA)
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA


def test_404_fails_at_once_and_the_next_mirror_is_tried(tmp_path: Path, server: Server) -> None:
    server.routes["/good"] = whole(DATA)
    lines: list[str] = []
    pin = pin_of(server.url("/gone"), server.url("/good"))
    assert fetcher(tmp_path, notice=lambda p, line: lines.append(line)).fetch(pin).read_bytes() == DATA
    assert len(server.asked("/gone")) == 1
    assert lines == [f"{server.url('/gone')}: HTTP 404 Not Found"]


def test_500_is_tried_again(tmp_path: Path, server: Server) -> None:
    answers = [whole(b"", status=503), whole(b"", status=500), whole(DATA)]
    server.routes["/f"] = lambda handler: answers.pop(0)(handler)
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA


def test_a_host_that_cannot_be_reached_is_not_tried_again(tmp_path: Path) -> None:
    with serving() as gone:
        url = gone.url("/f")
    shared = fetcher(tmp_path)
    for expected in ("no connection", "seen before, not tried again"):
        with pytest.raises(FetchError) as caught:
            shared.fetch(pin_of(url))
        assert expected in caught.value.details[0]


def test_every_attempt_is_reported(tmp_path: Path, server: Server) -> None:
    pin = pin_of(server.url("/1"), server.url("/2"), "ftp://x/y", "pypi:nonsense", "debian:pool/main/x/x.tar")
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path).fetch(pin)
    assert [line.partition(": ")[0] for line in caught.value.details] == list(pin.mirrors)
    assert 'unknown kind of mirror "ftp"' in caught.value.details[2]
    assert "HERMETIC_DEBIAN_MIRROR" in caught.value.details[4]
    assert leftovers(tmp_path) == []


# Wrong bytes


def test_wrong_bytes_show_both_values_and_are_kept_aside(tmp_path: Path, server: Server) -> None:
    wrong = DATA[:-1] + b"!"
    server.routes["/f"] = whole(wrong)
    pin = pin_of(server.url("/f"))
    with pytest.raises(HashMismatch) as caught:
        fetcher(tmp_path).fetch(pin)
    text = "\n".join(caught.value.details)
    for value in (pin.sha256, pin.blake3, hashlib.sha256(wrong).hexdigest(), blake3(wrong).hexdigest()):
        assert value in text
    kept = tmp_path / "downloads" / "rejected" / f"{pin.file}-{hashlib.sha256(wrong).hexdigest()}"
    assert kept.read_bytes() == wrong
    assert leftovers(tmp_path) == [kept.name]
    assert caught.value.exit_code == 102


def test_after_wrong_bytes_the_next_mirror_is_tried(tmp_path: Path, server: Server) -> None:
    server.routes["/bad"], server.routes["/good"] = whole(b"<html>log in first</html>"), whole(DATA)
    pin = pin_of(server.url("/bad"), server.url("/good"))
    assert fetcher(tmp_path).fetch(pin).read_bytes() == DATA


def test_more_than_the_pinned_size_is_cut_off_at_once(tmp_path: Path, server: Server) -> None:
    sent = 0

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while not server.released.is_set():
            handler.wfile.write(DATA)
            sent += len(DATA)

    server.routes["/f"] = endless
    with pytest.raises(HashMismatch, match="did not serve the bytes"):
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    (kept,) = (tmp_path / "downloads" / "rejected").iterdir()
    assert kept.stat().st_size == len(DATA) + 1
    assert sent < 1 << 26


# Stopping, and what is not there


def test_cancel_ends_a_hanging_fetch_within_half_a_second(tmp_path: Path, server: Server) -> None:
    def hangs(handler: BaseHTTPRequestHandler) -> None:
        server.released.wait(20)

    server.routes["/f"] = hangs
    stop = threading.Event()
    slow = Machine(Limits(), environ={}, root=tmp_path)
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        fetcher(tmp_path, cancel=stop, machine=slow).fetch(pin_of(server.url("/f")))
    assert time.monotonic() - started < 0.7


def test_what_had_arrived_before_a_cancel_is_kept(tmp_path: Path, server: Server) -> None:
    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA[:100_000])
        handler.wfile.flush()
        server.released.wait(20)

    server.routes["/f"] = half
    slow = Machine(Limits(), environ={}, root=tmp_path)
    running = fetcher(tmp_path, machine=slow)
    threading.Timer(0.3, running.cancel).start()
    with pytest.raises(Cancelled):
        running.fetch(pin_of(server.url("/f")))
    server.routes["/f"] = ranged(DATA)
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA
    assert int(server.asked("/f")[-1]["Range"].removeprefix("bytes=").rstrip("-")) > 0


def test_offline_names_what_is_missing_and_asks_nobody(tmp_path: Path, server: Server) -> None:
    pin = pin_of(server.url("/f"))
    with pytest.raises(FetchError) as caught:
        fetcher(tmp_path, offline=True).fetch(pin)
    assert "offline" in caught.value.message
    assert pin.sha256 in caught.value.details[0]
    assert server.requests == []


def test_missing_names_every_source() -> None:
    error = missing([pin_of("x:y", name="b"), pin_of("x:y", name="a")])
    assert "2 sources" in error.message
    assert [line.partition(" ")[0] for line in error.details] == ["a", "b"]


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path, server: Server) -> None:
    (tmp_path / "downloads").write_text("a file")
    with pytest.raises(StoreError):
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))


# Mirrors through the machine's settings


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def machine(tmp_path: Path, **environ: str) -> Machine:
    return Machine(QUICK, environ={"HOME": str(tmp_path / "home"), **environ}, root=tmp_path / "root")


PYPI = "pypi:My_Thing==1.0#my_thing-1.0.whl"


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


def test_pip_can_be_asked_for_its_default_index() -> None:
    assert pip.default_index().startswith("https://")


DEBIAN = "debian:pool/main/t/thing/thing_1.0+x.orig.tar.gz"


def test_debian_tries_each_archive_of_apt_until_one_answers(tmp_path: Path, server: Server) -> None:
    server.routes["/two/pool/main/t/thing/thing_1.0+x.orig.tar.gz"] = whole(DATA)
    sources = tmp_path / "root" / "etc" / "apt" / "sources.list.d" / "x.sources"
    write(sources, f"Types: deb\nURIs: {server.url('/one')}\n# a comment\n {server.url('/two')}\nSuites: s\n")
    got = fetcher(tmp_path, machine=machine(tmp_path)).fetch(pin_of(DEBIAN))
    assert got.read_bytes() == DATA
    assert [path.split("/")[1] for path, _ in server.requests] == ["one", "two"]


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


# The lock


def a_lock(*pins: lock.Pin) -> lock.Lock:
    out = EMPTY
    for pin in pins:
        out = lock.set_pin(out, pin)
    return out


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


@pytest.mark.parametrize(
    ("address", "old", "new", "rewritten"),
    [
        ("debian:p/python3.13/python3.13_3.13.5.orig.tar.xz", "3.13.5", "3.14.7",
         "debian:p/python3.14/python3.14_3.14.7.orig.tar.xz"),
        ("https://x.test/3.13.5/Python-3.13.5.tar.xz", "3.13.5", "3.14.7", "https://x.test/3.14.7/Python-3.14.7.tar.xz"),
        ("https://x.test/linux/v6.1/linux-6.1.176.tar.xz", "6.1.176", "6.12.107",
         "https://x.test/linux/v6.12/linux-6.12.107.tar.xz"),
        ("https://x.test/boost_1_80/b-1.80.0.tgz", "1.80.0", "1.81.0", "https://x.test/boost_1_81/b-1.81.0.tgz"),
        ("https://x.test/10.5.8/5.80/5.8/xz-5.8.1.tgz", "5.8.1", "5.9.0", "https://x.test/10.5.8/5.80/5.9/xz-5.9.0.tgz"),
        ("https://x.test/3/a-3.1.tar", "3.1", "4.0", "https://x.test/3/a-4.0.tar"),
        ("https://x.test/py313/3.13.5.tar", "3.13.5", "3.14.7", "https://x.test/py314/3.14.7.tar"),
    ],
)  # fmt: skip
def test_an_address_may_hold_the_beginning_of_the_version_too(
    address: str, old: str, new: str, rewritten: str
) -> None:
    assert update.with_version(address, old, new) == rewritten


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


def test_update_adds_a_new_source_from_given_mirrors(tmp_path: Path, server: Server) -> None:
    server.routes["/n-1.tar"] = whole(b"new")
    with pytest.raises(LockError, match="pins no source"):
        update.update(EMPTY, "n", fetcher(tmp_path))
    new = update.update(EMPTY, "n", fetcher(tmp_path), to="1", mirrors=(server.url("/n-1.tar"),))
    assert new.pin("n").size == 3


def test_save_replaces_the_lock_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "flake-like.lock", "old")
    made = a_lock(pin_of("https://a.test/x"))
    update.save(path, made)
    assert lock.parse(path.read_bytes()) == made
    assert list(tmp_path.iterdir()) == [path]
