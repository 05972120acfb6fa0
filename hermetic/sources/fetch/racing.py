"""Connects to a host by the address that answers: a route that swallows IPv6 costs a quarter of a second.

After RFC 8305: addresses of both kinds are tried in turn, a quarter of a second apart, and the first that
answers is kept for the host.
"""

from __future__ import annotations

import contextlib
import ipaddress
import selectors
import socket
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore

_APART: Final = 0.25  # seconds between two attempts
_REMEMBERED: Final = 300.0  # seconds

_Found = tuple[int, Any]  # family and address, as of `getaddrinfo`


class Racing(httpcore.SyncBackend):
    """The usual connections, to the address of a host that answers first."""

    def __init__(self) -> None:
        self._won: dict[tuple[str, int], tuple[str, float]] = {}

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        began = time.monotonic()
        chosen = self._choose(host, port, timeout)
        left = None if timeout is None else max(0.1, timeout - (time.monotonic() - began))
        return super().connect_tcp(chosen, port, left, local_address, socket_options)

    def _choose(self, host: str, port: int, timeout: float | None) -> str:
        """An address of the host that answers; the host itself where there is no choice, or none answers."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(host))
        known, until = self._won.get((host, port), ("", 0.0))
        if time.monotonic() < until:
            return known
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(_unresolved(host, error)) from error
        addresses = alternating([(family, address) for family, _, _, _, address in found])
        if len({family for family, _ in addresses}) < 2:
            return host
        winner = first_to_answer(addresses, timeout)
        if winner is None:
            return host
        self._won[host, port] = winner, time.monotonic() + _REMEMBERED
        return winner


def _unresolved(host: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"the name {host} cannot be resolved: {reason}"


def alternating(found: list[_Found]) -> list[_Found]:
    """Addresses of both families in turn, beginning with the family of the first."""
    if not found:
        return []
    first = [entry for entry in found if entry[0] == found[0][0]]
    other = [entry for entry in found if entry[0] != found[0][0]]
    out: list[_Found] = []
    for index in range(max(len(first), len(other))):
        out += first[index : index + 1] + other[index : index + 1]
    return out


def first_to_answer(addresses: list[_Found], timeout: float | None) -> str | None:
    """The address that accepts a connection first; None: none does in time."""
    end = time.monotonic() + (10.0 if timeout is None else timeout)
    waiting = list(addresses)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as sockets:
        start = time.monotonic()
        while True:
            now = time.monotonic()
            if waiting and now >= start:
                family, address = waiting.pop(0)
                probe = _begun(family, address)
                if probe is not None:
                    sockets.enter_context(probe)
                    selector.register(probe, selectors.EVENT_WRITE, str(address[0]))
                    start = now + _APART
            elif now >= end or (not waiting and not selector.get_map()):
                return None
            until = min(start, end) if waiting else end
            for key, _ in selector.select(max(0.0, until - time.monotonic())):
                tried = key.fileobj
                assert isinstance(tried, socket.socket)
                if tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    return str(key.data)
                selector.unregister(tried)
                start = 0.0  # refused: the next one at once


def _begun(family: int, address: Any) -> socket.socket | None:
    """A socket that is connecting; None: this machine has no such addresses or no route."""
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    probe.setblocking(False)
    try:
        probe.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        probe.close()
        return None
    return probe
