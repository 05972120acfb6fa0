"""Starts the fork server, also before it is known whether it will be needed.

The server is another Python, which starts while this one loads what it needs: whoever will probably build
starts it first of all (`start_early`), and `client` finds it ready. Loaded by the entry point, so nothing is
imported that is slow to load.
"""

# ruff: noqa: PTH118, PTH120
# Because pathlib is slow to load.

from __future__ import annotations

import _socket
import os
import sys

_ENTRY_POINT = os.path.join(os.path.dirname(__file__), "__main__.py")
_PLACE = 3  # the descriptor of the server's socket
_DEFAULT = (13, 25)  # SIGPIPE, SIGXFSZ: Python ignores them, and a build must not
_KILL = 9


class Server:
    """A fork server that was started.

    Attributes:
        pid: of its process. requests: the socket that it reads from; it ends when this is closed.
    """

    def __init__(self, pid: int, requests: _socket.socket) -> None:
        self.pid = pid
        self.requests = requests
        self._ended = False

    def kill(self) -> None:
        """Kill it, and all builds with it."""
        if not self._ended:
            os.kill(self.pid, _KILL)

    def wait(self) -> None:
        """Wait for its end."""
        if not self._ended:
            os.waitpid(self.pid, 0)
            self._ended = True


_early: Server | None = None


def start_early(*, rebuilds: bool = False) -> None:
    """Start a server for the first one who will need it. Where it cannot be started, that one will say so.

    Args:
        rebuilds: it will run builds under a shifted clock, and loads in time what that takes.
    """
    global _early
    try:
        _early = start(rebuilds=rebuilds)
    except OSError:
        _early = None


def is_early() -> bool:
    """Whether a server was started early and nobody has taken it."""
    return _early is not None


def take_or_start() -> Server:
    """The server that was started early, or another one.

    Raises:
        OSError: it cannot be started.
    """
    global _early
    server, _early = _early, None
    return server or start()


def start(*, rebuilds: bool = False) -> Server:
    """Start a server. The first packet that it reads must tell the builds' identity; see `host.main`.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    moved = os.dup(theirs.fileno()) if theirs.fileno() == _PLACE else None
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-X", "utf8", _ENTRY_POINT, str(_PLACE), *["rebuilds"] * rebuilds],
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs.fileno() if moved is None else moved, _PLACE),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
            setsigdef=_DEFAULT,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        if moved is not None:
            os.close(moved)
    return Server(pid, ours)
