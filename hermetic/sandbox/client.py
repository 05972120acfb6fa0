"""Runs builds in sandboxes: the fork server's other end, and what the rest of hermetic uses."""

from __future__ import annotations

import _socket
import array
import contextlib
import marshal
import os
import signal
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from hermetic.errors import SandboxError
from hermetic.sandbox import diagnosis, identity, server, wire
from hermetic.sandbox import spec as specs
from hermetic.sandbox.spec import SandboxSpec


class Result(msgspec.Struct, frozen=True):
    """How a build ended. Everything it had started is dead.

    Attributes:
        exit_status: of the build's process; None if a signal, a timeout or a cancellation ended it.
        signal: the signal that ended the build's process by itself.
        timed_out, cancelled: it was killed, and why.
        seconds: wall clock.
    """

    exit_status: int | None
    signal: int | None
    timed_out: bool
    cancelled: bool
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit_status == 0


class Running:
    """A build that was started. `wait` must be called, once; `cancel` may be, from any thread."""

    def __init__(self, sandbox: Sandbox, channel: _socket.socket, owned: tuple[str, ...]) -> None:
        self._sandbox = sandbox
        self._channel = channel
        self._owned = owned

    def cancel(self) -> None:
        """Kill everything that the build has started. Returns at once; `wait` then tells of it."""
        with contextlib.suppress(OSError):  # it has ended already
            self._channel.shutdown(_socket.SHUT_WR)

    def wait(self) -> Result:
        """Wait for the end. If this is interrupted (Ctrl-C), the build is killed first.

        Raises:
            SandboxError: the sandbox could not be set up.
        """
        try:
            try:
                outcome = wire.receive(self._channel)
            except BaseException as error:
                self.cancel()
                if isinstance(error, OSError):
                    raise SandboxError("the sandbox server has died") from None
                self._channel.settimeout(5)
                with contextlib.suppress(OSError):
                    wire.receive(self._channel)
                raise
        finally:
            self._channel.close()
            self._sandbox._take_folders_back(self._owned)
        if "error" in outcome:
            raise diagnosis.explain(outcome["error"])
        return _result(outcome)


def _result(outcome: dict[str, Any]) -> Result:
    status, ended_by = outcome["status"], outcome["ended_by"]
    by_itself = ended_by is None
    return Result(
        exit_status=os.WEXITSTATUS(status) if by_itself and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if by_itself and os.WIFSIGNALED(status) else None,
        timed_out=ended_by == "timed_out",
        cancelled=ended_by == "cancelled",
        seconds=outcome["seconds"],
    )


class Sandbox:
    """Runs builds, several at once if asked from several threads. A context manager.

    The server is started with the first build. When this object is closed, or its process dies in whatever
    way, all builds are killed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: server.Server | None = None
        self._requests: _socket.socket | None = None
        self._identity = identity.choose()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all builds and stop the server."""
        with self._lock:
            running, self._server = self._server, None
            if self._requests is not None:
                self._requests.close()
                self._requests = None
        if running is not None:
            running.wait()

    def check(self) -> None:
        """Set up an empty sandbox and take it down again.

        Raises:
            SandboxError: this machine does not let us; the hint says what to change.
        """
        diagnosis.check_machine()
        message = specs.request(SandboxSpec(argv=("/nothing",), env={}))
        message["process"]["argv"] = []
        with Path(os.devnull).open("wb") as null:
            self._send(message, (null.fileno(),), ()).wait()

    def run(self, spec: SandboxSpec, log_fd: int) -> Result:
        """`start` and `wait`."""
        return self.start(spec, log_fd).wait()

    def start(self, spec: SandboxSpec, log_fd: int) -> Running:
        """Start a build. Its standard output and error go to `log_fd`, its standard input is empty.

        Raises:
            SandboxError: the specification is not valid, or a folder cannot be given to the build's user.
        """
        return self._start(spec, (log_fd,), interactive=False)

    def run_interactive(self, spec: SandboxSpec) -> int:
        """Run a process on this process's terminal. Returns its exit status; 128 + n after signal n."""
        previous = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            result = self._start(spec, (0, 1, 2), interactive=True).wait()
        finally:
            _take_terminal_back()
            signal.signal(signal.SIGTTOU, previous)
        if result.exit_status is None:
            return 128 + (result.signal or signal.SIGKILL)
        return result.exit_status

    def _start(self, spec: SandboxSpec, streams: tuple[int, ...], *, interactive: bool) -> Running:
        message = specs.request(spec, interactive=interactive)
        owned = self._give_folders(spec)
        try:
            return self._send(message, streams, owned)
        except BaseException:
            self._take_folders_back(owned)
            raise

    def _send(self, message: dict[str, Any], streams: tuple[int, ...], owned: tuple[str, ...]) -> Running:
        ours, theirs = _socket.socketpair()
        with contextlib.closing(theirs):
            build = Running(self, ours, owned)
            with self._lock:
                requests = self._start_server()
                try:
                    fds = array.array("i", [theirs.fileno(), *streams])
                    requests.sendmsg([b"b"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
                except OSError as error:
                    raise SandboxError(f"the sandbox server has died: {error}") from None
        try:
            wire.send(ours, message)
        except OSError as error:  # a broken pipe here has nothing to do with our standard output
            ours.close()
            raise SandboxError(f"the sandbox server has died: {error}") from None
        return build

    def _start_server(self) -> _socket.socket:
        if self._requests is not None:
            return self._requests
        if not sys.executable:
            raise SandboxError("where the Python interpreter is, is not known: the sandbox needs it")
        who = self._identity
        try:
            self._server = server.take_or_start()
        except OSError as error:
            raise SandboxError(f"the sandbox server cannot be started: {error}") from None
        self._requests = self._server.requests
        with contextlib.suppress(OSError):  # it has died; who asks it for something will be told
            self._requests.send(marshal.dumps((who.uid, who.gid, who.privileged)))
        return self._requests

    # --- work folders: for root, builds are somebody else ---

    def _give_folders(self, spec: SandboxSpec) -> tuple[str, ...]:
        if not self._identity.privileged:
            return ()
        folders = tuple(m.source for m in spec.mounts if m.writable and identity.is_folder(m.source))
        for folder in folders:
            identity.give(folder, self._identity.uid, self._identity.gid)
        return folders

    def _take_folders_back(self, folders: tuple[str, ...]) -> None:
        for folder in folders:
            if identity.is_folder(folder):
                identity.give(folder, os.geteuid(), os.getegid())


def _take_terminal_back() -> None:
    """A shell with job control makes itself the terminal's foreground; when it has gone, that is nobody."""
    try:
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            os.tcsetpgrp(terminal.fileno(), os.getpgrp())
    except OSError:
        pass  # there is no terminal
