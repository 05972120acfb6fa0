"""Servers that misbehave: really, on a real socket."""

from __future__ import annotations

import random
import re
import socket
import struct
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from tests.faults.bench import TARGETS, Bench, Case, Lost, ended_in_words, no_traceback
from tests.support.servers import whole

# Half a minute's patience in a second; the real numbers are those of `hermetic.fetch.http.Limits`.
LIMITS: Final = {
    "connect": 2.0,
    "stall": 0.5,
    "min_rate": 4096,
    "rate_window": 0.6,
    "tries": 2,
    "backoff": 0.05,
}
_WITHIN: Final = 60.0  # seconds: several sources and mirrors, each tried twice, on a busy machine

Handler = BaseHTTPRequestHandler
Answer = Callable[[Handler, bytes, random.Random], None]


def _head(handler: Handler, length: object, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def _some(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def _truncated(handler: Handler, data: bytes, dice: random.Random) -> None:
    _head(handler, len(data))
    handler.wfile.write(_some(data, dice))
    handler.close_connection = True


def _stalls(handler: Handler, data: bytes, dice: random.Random) -> None:
    _head(handler, len(data))
    handler.wfile.write(_some(data, dice))
    time.sleep(2)
    handler.close_connection = True


def _is_silent(handler: Handler, data: bytes, dice: random.Random) -> None:
    time.sleep(2)
    handler.close_connection = True


def _trickles(handler: Handler, data: bytes, dice: random.Random) -> None:
    _head(handler, len(data))
    for number in range(40):
        handler.wfile.write(data[number : number + 1])
        time.sleep(0.1)
    handler.close_connection = True


def _closes(handler: Handler, data: bytes, dice: random.Random) -> None:
    handler.close_connection = True


def _resets(handler: Handler, data: bytes, dice: random.Random) -> None:
    _head(handler, len(data))
    handler.wfile.write(_some(data, dice))
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def _says_less(handler: Handler, data: bytes, dice: random.Random) -> None:
    """Content-Length is too small, and is kept to."""
    part = _some(data, dice)
    _head(handler, len(part))
    handler.wfile.write(part)


def _says_more(handler: Handler, data: bytes, dice: random.Random) -> None:
    """Content-Length is too large."""
    _head(handler, len(data) + dice.randrange(1, 10**6))
    handler.wfile.write(data)
    handler.close_connection = True


def _says_nonsense(handler: Handler, data: bytes, dice: random.Random) -> None:
    _head(handler, dice.choice(("-5", "many", "1e3", "9" * 40)))
    handler.wfile.write(data)
    handler.close_connection = True


def _other_bytes(handler: Handler, data: bytes, dice: random.Random) -> None:
    at = dice.randrange(len(data))
    whole(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])(handler)


def _other_file(handler: Handler, data: bytes, dice: random.Random) -> None:
    whole(b"<html>please log in</html>" * dice.randrange(1, 100), kind="text/html")(handler)


def _too_much(handler: Handler, data: bytes, dice: random.Random) -> None:
    whole(data + bytes(dice.randrange(1, 10**6)))(handler)


def _redirects_in_circles(handler: Handler, data: bytes, dice: random.Random) -> None:
    handler.send_response(dice.choice((301, 302, 307, 308)))
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def _redirects_nowhere(handler: Handler, data: bytes, dice: random.Random) -> None:
    handler.send_response(302)
    handler.send_header("Location", dice.choice(("http://127.0.0.1:9/x", "ftp://x/y", "http://[", "", "//")))
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def _wrong_range(handler: Handler, data: bytes, dice: random.Random) -> None:
    """Breaks off, and then sends another part than was asked for."""
    if handler.headers.get("Range"):
        start = dice.randrange(len(data))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:])
    else:
        _truncated(handler, data, dice)


def _bad_chunks(handler: Handler, data: bytes, dice: random.Random) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"1000\r\n" + data[:0x1000] + b"\r\n" + dice.choice((b"zz\r\n", b"-1\r\n", b"")))
    handler.close_connection = True


def _no_http(handler: Handler, data: bytes, dice: random.Random) -> None:
    handler.wfile.write(dice.choice((b"SSH-2.0-OpenSSH\r\n", bytes(5000), b"HTTP/9.9 abc\r\n\r\n")))
    handler.close_connection = True


def _refuses(handler: Handler, data: bytes, dice: random.Random) -> None:
    whole(b"no", status=dice.choice((204, 304, 401, 403, 404, 410, 429, 451, 500, 502, 503)))(handler)


BEHAVIOURS: Final[dict[str, Answer]] = {
    "truncated": _truncated,
    "stalls": _stalls,
    "silent": _is_silent,
    "trickles": _trickles,
    "closes": _closes,
    "resets": _resets,
    "too-short-a-length": _says_less,
    "too-long-a-length": _says_more,
    "no-length": _says_nonsense,
    "other-bytes": _other_bytes,
    "other-file": _other_file,
    "too-much": _too_much,
    "circles": _redirects_in_circles,
    "nowhere": _redirects_nowhere,
    "wrong-range": _wrong_range,
    "bad-chunks": _bad_chunks,
    "no-http": _no_http,
    "refuses": _refuses,
}


def run(bench: Bench, case: Case) -> None:
    """A source's mirrors misbehave: all of them, and that is an error; or the first, and the second helps.

    Raises:
        Lost.
    """
    dice = random.Random(str(case))
    path = dice.choice([p for p in bench.data if not p.endswith(".deb")])
    alone = dice.random() < 0.7
    with bench.case(bench.base) as after:
        routes = bench.project.server.routes
        behaved = routes[path]
        routes[path] = _misbehaving(BEHAVIOURS[case.phase], bench.data[path], dice)
        routes["/second" + path] = routes[path] if alone else behaved
        ran = bench.run("realize", "-j4", *TARGETS, spec={"limits": LIMITS}, within=_WITHIN)
        no_traceback(ran)
        if ran.code == 0:
            # A length that is a lie does not matter when the bytes are right.
            if alone and not case.phase.endswith(("-length", "range")):
                raise Lost(f"it succeeded with a server that {case.phase}: {ran.err}")
        elif not alone:
            raise Lost(f"the second mirror was no help: {ran.err}")
        else:
            ended_in_words(ran, (1, 102))
            if not re.search(re.escape(bench.project.server.url(path)) + r"[^\n]*: \S", ran.err):
                raise Lost(f"what the mirror did is not said: {ran.err}")
        after.check(ran.err)


def _misbehaving(answer: Answer, data: bytes, dice: random.Random) -> Any:
    def handle(handler: Handler) -> None:
        answer(handler, data, dice)

    return handle
