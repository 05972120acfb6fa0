"""Fetching through proxies, with logins, past portals, and with certificates of one's own."""

from __future__ import annotations

import base64
import gzip
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermetic.errors import FetchError, HashMismatch
from hermetic.sources.fetch import Fetcher, racing
from hermetic.sources.fetch.http import Http
from hermetic.sources.fetch.machine import Machine
from hermetic.sources.fetch.mirror import Location
from tests.support.downloads import DATA, QUICK, pin_of
from tests.support.servers import (
    Server,
    Socks,
    one_after_the_other,
    ranged,
    redirect,
    serving,
    whole,
    with_headers,
)

PORTAL = b"<!DOCTYPE html><html><title>Hotel Wi-Fi</title>Please \x1b[2Jlog in</html>"


def getting(tmp_path: Path, said: list[str] | None = None, **environ: str) -> Fetcher:
    """A fetcher in an environment."""
    environ = {"HOME": str(tmp_path), **environ}
    heard = said if said is not None else []
    return Fetcher(
        tmp_path / "downloads",
        machine=Machine(QUICK, environ=environ, root=tmp_path / "root"),
        notice=lambda pin, line: heard.append(line),
    )


def refusal(tmp_path: Path, url: str, **environ: str) -> str:
    """What is said of an address that does not work."""
    with pytest.raises((FetchError, HashMismatch)) as caught:
        getting(tmp_path, None, **environ).fetch(pin_of(url))
    return "\n".join(caught.value.details)


@pytest.fixture
def socks() -> Iterator[Socks]:
    proxy = Socks()
    yield proxy
    proxy.close()


# Proxies


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_is_used(tmp_path: Path, server: Server, socks: Socks, scheme: str) -> None:
    server.routes["/f"] = whole(DATA)
    fetcher = getting(tmp_path, ALL_PROXY=f"{scheme}://127.0.0.1:{socks.port}")
    assert fetcher.fetch(pin_of(server.url("/f"))).read_bytes() == DATA
    assert [host for host, _ in socks.asked] == ["127.0.0.1"]


def test_an_http_proxy_gets_the_whole_address_and_its_login(tmp_path: Path, server: Server) -> None:
    server.routes["http://nowhere.invalid/f"] = whole(DATA)
    proxy = server.url("").replace("http://", "http://user:secret@")
    fetcher = getting(tmp_path, http_proxy=proxy)
    assert fetcher.fetch(pin_of("http://nowhere.invalid/f")).read_bytes() == DATA
    login = server.requests[0][1]["Proxy-Authorization"]
    assert base64.b64decode(login.removeprefix("Basic ")) == b"user:secret"


@pytest.mark.parametrize(
    "no_proxy", ["127.0.0.0/8", "fd00::/8,127.0.0.1", "[::1]:99, ::zz/300, 127.0.0.1", "*"]
)
def test_no_proxy_is_reached_directly(tmp_path: Path, server: Server, no_proxy: str) -> None:
    server.routes["/f"] = whole(DATA)
    fetcher = getting(tmp_path, http_proxy="http://127.0.0.1:9", no_proxy=no_proxy)
    assert fetcher.fetch(pin_of(server.url("/f"))).read_bytes() == DATA


@pytest.mark.parametrize("proxy", ["ftp://a:1", "socks4://a:1", "http://[::1", "http://a:port", "://"])
def test_a_proxy_that_is_none_is_named_with_its_variable(tmp_path: Path, proxy: str) -> None:
    assert f"all_proxy={proxy}: not" in refusal(tmp_path, "http://127.0.0.1:9/f", all_proxy=proxy)


def test_a_proxy_that_is_down_is_named_without_its_password(tmp_path: Path) -> None:
    said = refusal(tmp_path, "https://example.invalid/f", https_proxy="http://u:secret@127.0.0.1:9")
    assert "no connection to the proxy http://127.0.0.1:9 (https_proxy)" in said
    assert "secret" not in said


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_demands_a_login_says_so(tmp_path: Path, server: Server, scheme: str) -> None:
    url = f"{scheme}://example.invalid/f"
    server.routes[url] = with_headers(b"", 407, Proxy_Authenticate="Basic")
    handler = server._server.RequestHandlerClass
    handler.do_CONNECT = lambda self: self.send_error(407)  # type: ignore[attr-defined]
    said = refusal(tmp_path, url, all_proxy=server.url(""))
    assert "407 Proxy Authentication Required" in said
    assert "http://USER:PASSWORD@HOST:PORT" in said


# Logins


def netrc(tmp_path: Path, text: str, name: str = ".netrc") -> Path:
    path = tmp_path / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def sent(server: Server, path: str) -> str | None:
    """The login of the request for a path."""
    login = server.asked(path)[0].get("Authorization")
    return base64.b64decode(login.removeprefix("Basic ")).decode() if login else None


def test_the_login_of_netrc_is_sent_to_its_host(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    netrc(tmp_path, "machine other login a password b\nmachine 127.0.0.1 login me password s#1\n")
    getting(tmp_path).fetch(pin_of(server.url("/f")))
    assert sent(server, "/f") == "me:s#1"


def test_the_variable_netrc_names_another_file(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    netrc(tmp_path, "machine 127.0.0.1 login wrong password x\n")
    mine = netrc(tmp_path, "default login right password y\n", "mine")
    getting(tmp_path, NETRC=str(mine)).fetch(pin_of(server.url("/f")))
    assert sent(server, "/f") == "right:y"


@pytest.mark.parametrize("entry", ["machine 127.0.0.1", "default"])
def test_a_login_does_not_follow_a_redirect_to_another_server(
    tmp_path: Path, server: Server, entry: str
) -> None:
    netrc(tmp_path, f"{entry} login me password secret\n")
    with serving() as other:
        for number, host in enumerate(("localhost", "127.0.0.1")):  # another name, and another port
            target = other.url(f"/{number}").replace("127.0.0.1", host)
            server.routes[f"/{number}"] = redirect(target)
            other.routes[f"/{number}"] = whole(DATA)
            path = getting(tmp_path).fetch(pin_of(server.url(f"/{number}")))
            path.unlink()
            assert sent(server, f"/{number}") == "me:secret"
            assert sent(other, f"/{number}") is None


def test_a_login_stays_on_its_server_and_another_server_gets_its_own(tmp_path: Path, server: Server) -> None:
    netrc(tmp_path, "machine 127.0.0.1 login a password b\nmachine localhost login c password d\n")
    here = server.url("").replace("127.0.0.1", "localhost")
    server.routes.update({"/1": redirect("/2"), "/2": redirect(f"{here}/3"), "/3": whole(DATA)})
    getting(tmp_path).fetch(pin_of(server.url("/1")))
    assert [sent(server, path) for path in ("/1", "/2", "/3")] == ["a:b", "a:b", "c:d"]


def test_a_login_in_the_address_wins(tmp_path: Path, server: Server) -> None:
    netrc(tmp_path, "machine 127.0.0.1 login a password b\n")
    server.routes.update({"/1": redirect(server.url("/2")), "/2": whole(DATA)})
    getting(tmp_path).fetch(pin_of(server.url("/1").replace("//", "//u:p@")))
    assert [sent(server, path) for path in ("/1", "/2")] == ["u:p", "u:p"]


def test_a_netrc_that_cannot_be_read_is_told_where_a_login_is_missing(tmp_path: Path, server: Server) -> None:
    path = netrc(tmp_path, "machine 127.0.0.1 nonsense\n")
    server.routes["/f"] = with_headers(b"who are you?", 401)
    assert f"no login was sent, because {path}:" in refusal(tmp_path, server.url("/f"))
    server.routes["/g"] = whole(DATA)
    assert getting(tmp_path).fetch(pin_of(server.url("/g"))).read_bytes() == DATA


# Servers that ask for time


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_wait_is_waited_for(tmp_path: Path, server: Server, status: int) -> None:
    server.routes["/f"] = one_after_the_other(with_headers(b"", status, Retry_After="1"), whole(DATA))
    said: list[str] = []
    began = time.monotonic()
    assert getting(tmp_path, said).fetch(pin_of(server.url("/f"))).read_bytes() == DATA
    assert time.monotonic() - began >= 1
    assert len(said) == 1
    assert f"HTTP {status}" in said[0]
    assert "waiting 1 s, as it asks" in said[0]


def test_a_server_that_asks_for_too_much_is_left(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = with_headers(b"", 429, Retry_After="86400")
    assert "asks to wait 86400 s, more than the 300 s" in refusal(tmp_path, server.url("/f"))
    assert len(server.asked("/f")) == 1


def test_an_index_that_asks_to_wait_is_waited_for(tmp_path: Path, server: Server) -> None:
    server.routes["/"] = one_after_the_other(with_headers(b"", 503, Retry_After="1"), whole(b"page"))
    began = time.monotonic()
    assert Http(QUICK, {}).get(Location(server.url("/")), "*/*")[0] == b"page"
    assert time.monotonic() - began >= 1


# What came instead


def test_a_page_of_a_portal_is_no_file_and_costs_no_beginning(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = one_after_the_other(
        ranged(DATA, cuts=[100_000]), whole(PORTAL, "text/html; charset=utf-8"), ranged(DATA)
    )
    said = refusal(tmp_path, server.url("/f"))
    assert "sent a page instead of the file: HTTP 200 OK, text/html; charset=utf-8, 71 bytes" in said
    assert "begins: <!DOCTYPE html><html><title>Hotel Wi-Fi</title>Please [2Jlog in</html>" in said
    assert getting(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA
    assert server.asked("/f")[-1]["Range"] == "bytes=100000-"


def test_the_report_names_where_a_redirect_led(tmp_path: Path, server: Server) -> None:
    server.routes.update({"/f": redirect("/login"), "/login": whole(PORTAL, "text/html")})
    assert f"from {server.url('/login')}" in refusal(tmp_path, server.url("/f"))


def test_a_page_that_is_pinned_is_a_file(tmp_path: Path, server: Server) -> None:
    server.routes["/f.html"] = whole(PORTAL, "text/html")
    pin = pin_of(server.url("/f.html"), data=PORTAL, file="f.html")
    assert getting(tmp_path).fetch(pin).read_bytes() == PORTAL


def test_an_archive_that_is_called_a_page_is_a_file(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA, "text/html")
    assert getting(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA


def test_an_error_says_what_came_with_it(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(b'{"error": "quota\x1b[2J exceeded"}', "application/json", 403)
    said = refusal(tmp_path, server.url("/f"))
    assert 'HTTP 403 Forbidden (application/json, 31 bytes, which begins: {"error": "quota [2J exc' in said


def test_other_bytes_are_described(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(b"moved to the attic", "text/plain")
    assert "text/plain, 18 bytes, which begins: moved to the attic" in refusal(tmp_path, server.url("/f"))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/f"])
def test_a_redirect_to_no_web_server_is_not_followed(tmp_path: Path, server: Server, target: str) -> None:
    server.routes["/f"] = redirect(target)
    said = refusal(tmp_path, server.url("/f"))
    assert target in said
    assert "HTTP 302 Found to" in said


def test_a_redirect_to_an_invalid_address_is_not_tried_again(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = redirect("http://[::1")
    assert "redirected to an invalid address" in refusal(tmp_path, server.url("/f"))
    assert len(server.asked("/f")) == 1


# Compression on the way


@pytest.mark.parametrize("content", [DATA, bytes(300_000), gzip.compress(DATA)], ids=["data", "zeros", "gz"])
def test_a_compression_that_nobody_asked_for_is_undone(
    tmp_path: Path, server: Server, content: bytes
) -> None:
    server.routes["/f"] = with_headers(gzip.compress(content), 200, Content_Encoding="gzip")
    pin = pin_of(server.url("/f"), data=content)
    assert getting(tmp_path).fetch(pin).read_bytes() == content


def test_an_archive_that_is_called_compressed_stays_as_it_is(tmp_path: Path, server: Server) -> None:
    stored = gzip.compress(DATA)
    server.routes["/f"] = with_headers(stored, 200, Content_Encoding="x-gzip")
    assert getting(tmp_path).fetch(pin_of(server.url("/f"), data=stored)).read_bytes() == stored


def test_a_bomb_is_not_unpacked(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = with_headers(gzip.compress(bytes(50 << 20)), 200, Content_Encoding="gzip")
    assert "encoded with gzip" in refusal(tmp_path, server.url("/f"))
    assert max(p.stat().st_size for p in tmp_path.rglob("*")) < 1 << 20


# Certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    extension = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*made, *extension, "-keyout", f"{path}.key", "-out", f"{path}.crt"], check=True, capture_output=True
    )
    path.write_bytes(Path(f"{path}.key").read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def secure(server: Server, certificate: Path) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server.routes["/f"] = whole(DATA)
    return server


def test_a_certificate_that_is_not_trusted_says_what_helps(tmp_path: Path, secure: Server) -> None:
    said = refusal(tmp_path, secure.url("/f").replace("http:", "https:"))
    assert "certificate is not trusted: self" in said
    assert "SSL_CERT_FILE names" in said


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_of_ones_own_is_trusted(
    tmp_path: Path, secure: Server, certificate: Path, variable: str
) -> None:
    fetcher = getting(tmp_path, None, **{variable: f"{certificate}.crt"})
    assert fetcher.fetch(pin_of(secure.url("/f").replace("http:", "https:"))).read_bytes() == DATA


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"nonsense", "holds no certificates")]
)
def test_a_bundle_that_is_none_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    said = refusal(tmp_path, "https://127.0.0.1:9/f", SSL_CERT_FILE=str(bundle))
    assert f"SSL_CERT_FILE={bundle}: {reason}" in said


# Names and routes


def test_a_name_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "the name nowhere.invalid cannot be resolved" in refusal(tmp_path, "http://nowhere.invalid/f")


def test_a_route_that_swallows_one_kind_of_address_costs_little(
    server: Server,
) -> None:
    """A full backlog stands for the black hole: its connections are never accepted."""
    hole = socket.create_server(("127.0.0.2", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(hole.getsockname())
    time.sleep(0.1)
    port = server._server.server_address[1]
    began = time.monotonic()
    addresses: list[tuple[int, Any]] = [
        (socket.AF_INET, hole.getsockname()),
        (socket.AF_INET, ("127.0.0.1", port)),
    ]
    assert racing.first_to_answer(addresses, 10) == "127.0.0.1"
    assert 0.2 < time.monotonic() - began < 5
    for filler in (*fillers, hole):
        filler.close()


def test_no_address_that_answers_is_no_answer() -> None:
    assert racing.first_to_answer([(socket.AF_INET, ("127.0.0.1", 9))], 1) is None


def test_connections_are_made_by_the_race(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx has no setting for it: this fails if another version takes no notice."""
    asked: list[str] = []
    choose = racing.Racing._choose

    def noted(self: racing.Racing, host: str, port: int, timeout: float | None) -> str:
        asked.append(host)
        return choose(self, host, port, timeout)

    monkeypatch.setattr(racing.Racing, "_choose", noted)
    server.routes["/f"] = whole(DATA)
    getting(tmp_path).fetch(pin_of(server.url("/f")))
    assert asked == ["127.0.0.1"]
