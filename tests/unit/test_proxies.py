"""Which proxy the environment means: as curl and pip read its variables."""

from __future__ import annotations

import time

import pytest

from hermetic.sources.fetch import answers
from hermetic.sources.fetch.failure import Failure, pause
from hermetic.sources.fetch.proxies import Proxy, bypassed, choose
from hermetic.sources.fetch.racing import alternating


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "expected"),
    [
        ("example.org", 443, "example.org", True),
        ("example.org.", 443, "Example.ORG", True),
        ("a.example.org", 443, "example.org", True),
        ("a.example.org", 443, ".example.org", True),
        ("example.org", 443, ".example.org", True),
        ("a.example.org", 443, "*.example.org", True),
        ("notexample.org", 443, "example.org", False),
        ("example.org", 443, "example.org:443", True),
        ("example.org", 443, "example.org:8080", False),
        ("example.org", 443, "https://example.org", True),
        ("example.org", 443, "*", True),
        ("example.org", 443, "a, b ,*", True),
        ("example.org", 443, "", False),
        ("example.org", 443, ",, .,:,[,]:1,/8,::zz/300,*.", False),
        ("10.1.2.3", 80, "10.0.0.0/8", True),
        ("11.1.2.3", 80, "10.0.0.0/8", False),
        ("10.1.2.3", 80, "10.0.0.7/8", True),
        ("10.1.2.3", 80, "10.1.2.3", True),
        ("10.1.2.3", 80, "10.1.2.3:80", True),
        ("10.1.2.3", 80, "2.3", False),
        ("fd00::1", 80, "fd00::/8", True),
        ("fe00::1", 80, "fd00::/8", False),
        ("fd00::1", 80, "[fd00::]/8", True),
        ("::1", 80, "::1", True),
        ("::1", 80, "[::1]", True),
        ("::1", 8080, "[::1]:8080", True),
        ("::1", 80, "[::1]:8080", False),
        ("0:0:0:0:0:0:0:1", 80, "::1", True),
        ("::ffff:10.1.2.3", 80, "10.0.0.0/8", True),
        ("127.0.0.1", 80, "localhost", False),
        ("example.org", 443, "fd00::/8 example.org", True),
    ],
)
def test_no_proxy(host: str, port: int, no_proxy: str, expected: bool) -> None:
    assert bypassed(host, port, no_proxy) is expected


def test_each_scheme_has_its_variable_and_all_have_one() -> None:
    environ = {"http_proxy": "one:1", "HTTPS_PROXY": "https://two:2", "ALL_PROXY": "socks5://three:3"}
    assert choose("http://example.org/", environ) == Proxy("http://one:1", "http_proxy")
    assert choose("https://example.org/", environ) == Proxy("https://two:2", "HTTPS_PROXY")
    del environ["HTTPS_PROXY"]
    assert choose("https://example.org/", environ) == Proxy("socks5://three:3", "ALL_PROXY")
    assert choose("https://example.org/", {**environ, "no_proxy": "example.org"}) is None
    assert choose("https://example.org/", {}) is None


def test_lower_case_wins_and_an_empty_one_ends_the_upper_case_one() -> None:
    assert choose("https://x/", {"https_proxy": "a", "HTTPS_PROXY": "b"}) == Proxy("http://a", "https_proxy")
    assert choose("https://x/", {"https_proxy": "", "HTTPS_PROXY": "b"}) is None


def test_what_a_client_of_a_web_server_sends_is_no_setting() -> None:
    assert choose("http://x/", {"HTTP_PROXY": "evil:1", "REQUEST_METHOD": "GET"}) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    now = time.time()
    assert answers.retry_after("7", now) == 7
    assert answers.retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480 - 90) == 90
    assert answers.retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now) == 0
    assert answers.retry_after("soon", now) is None
    assert answers.retry_after("", now) is None


def test_a_server_is_waited_for_up_to_a_limit() -> None:
    assert pause(Failure("x"), 3, 0.5, 60) == 2
    assert pause(Failure("x", wait=40), 1, 0.5, 60) == 40
    with pytest.raises(Failure, match="x; it asks to wait 3600 s, more than the 60 s that remain"):
        pause(Failure("x", wait=3600), 1, 0.5, 60)


def test_the_beginning_of_an_answer_is_printable() -> None:
    assert answers.excerpt(b"<html>\r\n\x1b]0;title\x07 hello") == "<html> ]0;title hello"
    assert answers.excerpt(b"\x1f\x8b\x08\x00" * 10) == "1f 8b 08 00 " * 3 + "1f 8b 08 00"
    assert len(answers.excerpt(b"x" * 5000)) < 110


def test_addresses_of_both_kinds_are_tried_in_turn() -> None:
    assert alternating([(10, "a"), (10, "b"), (2, "c")]) == [(10, "a"), (2, "c"), (10, "b")]
