"""Runs builds in sandboxes: the client of the fork server, used by the rest of hermetic."""

from __future__ import annotations

import _socket
import contextlib
import marshal
import os
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from hermetic.errors import SandboxError
from hermetic.sandbox import identity, server, wire
from hermetic.sandbox import spec as specs
from hermetic.sandbox.spec import SandboxSpec


class Result(msgspec.Struct, frozen=True):
    """How a build ended. All its processes are dead.

    Attributes:
        exit_status: of the build's process; None if a signal, a timeout or a cancellation ended it.
        signal: the signal that ended the build's process, unless hermetic sent it.
        timed_out, cancelled: why hermetic killed the build.
        exceeded: the limit for which it was killed: `log`, `processes`, `memory` or `disk`.
        killed_for_memory: if it failed, how many processes of the machine the kernel has killed for lack of
            memory since the server was started.
        seconds: wall clock time.
    """

    exit_status: int | None
    signal: int | None
    timed_out: bool
    cancelled: bool
    seconds: float
    exceeded: str | None = None
    killed_for_memory: int = 0

    @property
    def ok(self) -> bool:
        return self.exit_status == 0


class Running:
    """A running build. Call `wait` exactly once. `cancel` may be called from any thread."""

    def __init__(self, sandbox: Sandbox, channel: _socket.socket, owned: tuple[str, ...]) -> None:
        self._sandbox = sandbox
        self._channel = channel
        self._owned = owned

    def cancel(self) -> None:
        """Kill all processes of the build. Returns at once; `wait` then returns a cancelled result."""
        with contextlib.suppress(OSError):  # the build has ended
            self._channel.shutdown(_socket.SHUT_WR)

    def wait(self) -> Result:
        """Wait for the end and return the result. An interrupt (Ctrl-C) kills the build first.

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
            self._sandbox._take_directories_back(self._owned)
        if "error" in outcome:
            from hermetic.sandbox import diagnosis

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
        exceeded=None if ended_by in ("timed_out", "cancelled") else ended_by,
        killed_for_memory=outcome.get("killed_for_memory", 0),
    )


class Sandbox:
    """Runs builds. Several threads may run one each at the same time. A context manager.

    The first build starts the server, unless it was started early. When this object is closed or its process
    dies, all builds are killed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: server.Server | None = None
        self._requests: _socket.socket | None = None
        self._identity = identity.choose()
        if server.is_early():
            self._start_server()  # while the first build is still being prepared, it does what it can for it

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
        """Set up an empty sandbox and remove it.

        Raises:
            SandboxError: this machine does not allow it; the hint says what to change.
        """
        from hermetic.sandbox import diagnosis

        diagnosis.check_machine()
        message = specs.request(SandboxSpec(argv=("/nothing",), env={}))
        message["process"]["argv"] = []
        with Path(os.devnull).open("wb") as null:
            self._send(message, (null.fileno(),), ()).wait()

    def run(self, spec: SandboxSpec, log_fd: int) -> Result:
        """`start` and `wait`."""
        return self.start(spec, log_fd).wait()

    def start(self, spec: SandboxSpec, log_fd: int) -> Running:
        """Start a build. Its standard output and error go to `log_fd`. Its standard input is empty.

        Raises:
            SandboxError: the specification is not valid, or the owner of a directory cannot be changed.
        """
        return self._start(spec, (log_fd,), interactive=False)

    def run_interactive(self, spec: SandboxSpec) -> int:
        """Run a process on this process's terminal. Returns its exit status, or 128 + n after signal n."""
        import signal  # slow to load

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
        owned = self._give_directories(spec)
        try:
            return self._send(message, streams, owned)
        except BaseException:
            self._take_directories_back(owned)
            raise

    def _send(self, message: dict[str, Any], streams: tuple[int, ...], owned: tuple[str, ...]) -> Running:
        ours, theirs = _socket.socketpair()
        with contextlib.closing(theirs):
            build = Running(self, ours, owned)
            with self._lock:
                requests = self._start_server()
                try:
                    fds = b"".join(fd.to_bytes(4, "little") for fd in (theirs.fileno(), *streams))
                    requests.sendmsg([b"b"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
                except OSError as error:
                    raise SandboxError(f"the sandbox server has died: {error}") from None
        try:
            wire.send(ours, message)
        except OSError as error:  # not to be confused with a broken pipe of our standard output
            ours.close()
            raise SandboxError(f"the sandbox server has died: {error}") from None
        return build

    def _start_server(self) -> _socket.socket:
        if self._requests is not None:
            return self._requests
        if not sys.executable:
            raise SandboxError(
                "cannot locate the Python interpreter, which the sandbox needs: sys.executable is empty"
            )
        who = self._identity
        try:
            self._server = server.take_or_start()
        except OSError as error:
            raise SandboxError(f"the sandbox server cannot be started: {error}") from None
        self._requests = self._server.requests
        with contextlib.suppress(OSError):  # it has died; who asks it for something will be told
            self._requests.send(marshal.dumps((who.uid, who.gid, who.privileged)))
        return self._requests

    # --- work directories: when hermetic runs as root, builds run as another user ---

    def _give_directories(self, spec: SandboxSpec) -> tuple[str, ...]:
        if not self._identity.privileged:
            return ()
        directories = tuple(m.source for m in spec.mounts if m.writable and identity.is_directory(m.source))
        for directory in directories:
            identity.give(directory, self._identity.uid, self._identity.gid)
        return directories

    def _take_directories_back(self, directories: tuple[str, ...]) -> None:
        for directory in directories:
            if identity.is_directory(directory):
                identity.give(directory, os.geteuid(), os.getegid())


def _take_terminal_back() -> None:
    """A shell with job control makes itself the foreground process group and leaves none when it exits."""
    try:
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            os.tcsetpgrp(terminal.fileno(), os.getpgrp())
    except OSError:
        pass  # there is no terminal
