"""Fetching from a real server that misbehaves."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from blake3 import blake3

from hermetic.errors import FetchError, HashMismatch, StoreError
from hermetic.gc import collection
from hermetic.sources.fetch import Cancelled, Fetcher, Limits
from hermetic.sources.fetch.machine import Machine
from hermetic.store.store import Store
from tests.support.downloads import DATA, QUICK, fetcher, leftovers, pin_of
from tests.support.servers import Server, ranged, serving, whole

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


def test_a_link_in_the_place_of_a_finished_download_is_replaced(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    pin = pin_of(server.url("/f"))
    waiting = fetcher(tmp_path).fetch(pin)
    other = tmp_path / "other"
    other.write_bytes(DATA)
    os.utime(other, ns=(0, 0))
    waiting.unlink()
    waiting.symlink_to(other)
    assert fetcher(tmp_path).fetch(pin) == waiting
    assert not waiting.is_symlink() and waiting.read_bytes() == DATA
    assert other.read_bytes() == DATA and other.stat().st_mtime_ns == 0


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


def test_a_weak_mark_of_a_version_is_not_asked_for(tmp_path: Path, server: Server) -> None:
    """RFC 9110: If-Range needs a strong validator; servers answer a weak one with the whole file."""
    server.routes["/f"] = ranged(DATA, etag='W/"v1"', cuts=[100_000])
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))).read_bytes() == DATA
    _, second = server.asked("/f")
    assert second["Range"].startswith("bytes=")
    assert "If-Range" not in second


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


def test_between_two_tries_there_is_a_pause_that_grows(tmp_path: Path, server: Server) -> None:
    asked: list[float] = []

    def broken(handler: BaseHTTPRequestHandler) -> None:
        asked.append(time.monotonic())
        handler.send_error(500)

    server.routes["/f"] = broken
    patient = Machine(Limits(tries=3, backoff=0.1), environ={}, root=tmp_path)
    with pytest.raises(FetchError):
        fetcher(tmp_path, machine=patient).fetch(pin_of(server.url("/f")))
    first, second, third = asked
    assert second - first >= 0.1
    assert third - second >= 0.2


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


def test_wrong_bytes_are_kept_where_a_collection_finds_them(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(b"wrong")
    with Store.open(tmp_path / "store") as store:
        machine = Machine(QUICK, environ={"HOME": str(tmp_path)}, root=tmp_path / "root")
        with pytest.raises(HashMismatch) as caught:
            Fetcher(store.layout.downloads, machine=machine).fetch(pin_of(server.url("/f")))
        (kept,) = store.layout.rejected.iterdir()
        assert str(kept) in (caught.value.hint or "")
        collection.collect_garbage(store)
        assert not kept.exists()


def test_a_finished_download_that_is_asked_for_again_is_young(tmp_path: Path, server: Server) -> None:
    server.routes["/f"] = whole(DATA)
    path = fetcher(tmp_path).fetch(pin_of(server.url("/f")))
    os.utime(path, (0, 0))
    assert fetcher(tmp_path).fetch(pin_of(server.url("/f"))) == path
    assert path.stat().st_mtime > 0


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
    stop = threading.Event()
    running = fetcher(tmp_path, machine=slow, cancel=stop, progress=lambda *_: stop.set())
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


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path, server: Server) -> None:
    (tmp_path / "downloads").write_text("a file")
    with pytest.raises(StoreError):
        fetcher(tmp_path).fetch(pin_of(server.url("/f")))
