"""A real HTTP server on the loopback that misbehaves as told."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Answers each path with a function; keeps a list of all requests."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()  # ends handlers that hang
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                answer = outer.routes.get(self.path)
                if answer is None:
                    self.send_error(404)
                else:
                    answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of every request for `path`."""
        return [headers for asked, headers in self.requests if asked == path]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


def whole(data: bytes, kind: str = "application/octet-stream", status: int = 200) -> Any:
    """The plain answer: all of it, no ranges."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def ranged(data: bytes, etag: str = '"v1"', cuts: list[int] | None = None) -> Any:
    """Honours Range and If-Range; closes the connection after so many bytes, once for each of `cuts`."""
    left = list(cuts or [])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        start = 0
        wanted = handler.headers.get("Range")
        if wanted and handler.headers.get("If-Range", etag) == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            handler.send_response(200)
        body = data[start:]
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", etag)
        handler.end_headers()
        if left:
            handler.wfile.write(body[: left.pop(0)])
            handler.close_connection = True
        else:
            handler.wfile.write(body)

    return answer


def redirect(to: str, status: int = 302) -> Any:
    """Sends the client elsewhere."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def one_after_the_other(*answers: Any) -> Any:
    """The first answer for the first request, and so on; the last one for all further."""
    left = list(answers)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


def with_headers(data: bytes, status: int, **headers: str) -> Any:
    """An answer with these headers; `_` in a name stands for `-`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(data)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


class Socks:
    """A SOCKS5 proxy without a login; keeps a list of the addresses that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        stream = client.makefile("rb")
        _, methods = stream.read(2)
        stream.read(methods)
        client.sendall(b"\x05\x00")
        kind = stream.read(4)[3]
        if kind == 3:
            host = stream.read(stream.read(1)[0]).decode()
        else:
            host = str(ipaddress.ip_address(stream.read(4 if kind == 1 else 16)))
        port = int.from_bytes(stream.read(2), "big")
        self.asked.append((host, port))
        server = socket.create_connection((host, port))
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        threading.Thread(target=_pump, args=(client, server), daemon=True).start()
        _pump(server, client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
