"""Messages between the fork server and its client: built-in types, with their length before them.

Standard library only, and quick to load.
"""

from __future__ import annotations

import errno
import marshal

# What `typing.TYPE_CHECKING` stands for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any


def send(channel: _socket.socket, message: dict[str, Any]) -> None:
    """Send a message of built-in types, with its length before it."""
    data = marshal.dumps(message)
    channel.sendall(len(data).to_bytes(4, "little") + data)


def receive(channel: _socket.socket) -> Any:
    """The next message of a channel. Raises OSError (ECONNRESET) when the other end is closed."""
    size = int.from_bytes(_receive_exactly(channel, 4), "little")
    return marshal.loads(_receive_exactly(channel, size))


def _receive_exactly(channel: _socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            raise OSError(errno.ECONNRESET, "the other end is closed")
        data += more
    return data
