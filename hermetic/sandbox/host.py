# ruff: noqa: SIM105
# contextlib would double the start-up time of the server.
"""The fork server: creates a process in new namespaces for each build, and makes sure that it ends.

`client` starts it once and talks to it over an inherited socket. Each packet on that socket carries the file
descriptors of one build: its *channel* (a stream socket) and its standard streams. The channel carries the
request to the server and the outcome back.
A build ends with its channel: when the client closes its end or dies, the build is killed.
The server is single-threaded, uses the standard library only, and starts fast.
"""

from __future__ import annotations

import _socket
import gc
import marshal
import os
import select
import time

from hermetic.sandbox import inside, limits, seccomp, syscalls, wire
from hermetic.sandbox.log import LOG, Log

# Instead of `typing.TYPE_CHECKING`: importing `typing` takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, NoReturn
else:
    import _signal as signal  # `signal` itself takes half as long to load as all the rest

_NAMESPACES = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWCGROUP
)
_MAX_FDS = 4
_FD_BYTES = 4


class Build:
    """A running build: its first process, its sockets and its deadline."""

    def __init__(
        self,
        channel: _socket.socket,
        control: _socket.socket,
        pid: int,
        timeout: float | None,
        cpu: int | None = None,
        log: Log | None = None,
    ) -> None:
        self.channel = channel
        self.control = control
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.started = time.monotonic()
        self.deadline = None if timeout is None else self.started + timeout
        self.ended_by: str | None = None
        self.cpu = cpu
        self.log = log

    @property
    def watched(self) -> list[int]:
        """The descriptors that tell what happens to it."""
        return [self.channel.fileno(), self.pidfd, *([self.log.end] if self.log else [])]

    def kill(self, reason: str) -> None:
        """Kill the first process, and with it everything in its pid namespace."""
        if self.ended_by is None:
            self.ended_by = reason
            os.kill(self.pid, signal.SIGKILL)


class Server:
    """Args: socket for requests; the filter of builds, or empty for one that is made when a build needs it;
    uid and gid of builds on the host; whether this process is privileged.
    """

    def __init__(
        self, requests: _socket.socket, program: bytes, host_uid: int, host_gid: int, privileged: bool
    ) -> None:
        self.requests = requests
        self.host_uid = host_uid
        self.host_gid = host_gid
        self.privileged = privileged
        self.filter = program  # builds under another clock have their own
        self.owners = _owners(host_uid, host_gid) if privileged else None
        self.builds: dict[int, Build] = {}  # by each of the descriptors that are watched
        self.poll = select.poll()
        self.killed_before = limits.killed_for_memory()

    def serve(self) -> None:
        """Serve requests until the client closes its end."""
        self.poll.register(self.requests.fileno(), select.POLLIN)
        while True:
            # Requests come first in the list. So no descriptor number is closed and reused within one list.
            for fd, _ in self.poll.poll(self._next_timeout()):
                build = self.builds.get(fd)
                if fd == self.requests.fileno():
                    if not self._accept():
                        self._kill_all()
                        return
                elif build is not None and fd == build.pidfd:
                    self._finish(build)
                elif build is not None and build.log is not None and fd == build.log.end:
                    self._copy_log(build, build.log)
                elif build is not None:
                    self.poll.unregister(fd)
                    build.kill("cancelled")
            now = time.monotonic()
            for build in list(self.builds.values()):
                if build.deadline is not None and build.deadline <= now:
                    build.kill("timed_out")

    def _copy_log(self, build: Build, log: Log) -> None:
        if not log.copy():
            self.poll.unregister(log.end)
        if log.exceeded:
            build.kill(LOG)

    def _next_timeout(self) -> float | None:
        """Milliseconds until the next deadline of a build, or None."""
        waiting = (b for b in self.builds.values() if b.ended_by is None)
        deadlines = [b.deadline for b in waiting if b.deadline is not None]
        return max(0.0, (min(deadlines) - time.monotonic()) * 1000 + 1) if deadlines else None

    def _accept(self) -> bool:
        """Start the build of the next request. Returns False at the end of the connection."""
        space = _socket.CMSG_SPACE(_MAX_FDS * _FD_BYTES)
        data, ancillary, _, _ = self.requests.recvmsg(16, space, _socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        raw = b"".join(content for _, _, content in ancillary)
        fds = [int.from_bytes(raw[i : i + _FD_BYTES], "little") for i in range(0, len(raw), _FD_BYTES)]
        channel = _socket.socket(fileno=fds[0])
        try:
            self._start(channel, wire.receive(channel), fds[1:])
        except inside.SetupError as error:
            _reply(channel, {"error": error.record})
        except OSError as error:
            _reply(channel, {"error": {"step": "start", "errno": error.errno, "text": str(error)}})
        finally:
            for fd in fds[1:]:
                os.close(fd)
        return True

    def _start(self, channel: _socket.socket, request: dict[str, Any], streams: list[int]) -> None:
        process, log = request["process"], None
        cpu = self._idle_cpu() if process["one_cpu"] else None
        if len(streams) == 1:
            owner = (self.host_uid, self.host_gid) if self.privileged else None
            log = Log(streams[0], process["log_limit"], owner)
            streams = [log.inner]
        try:
            pid, control = self._create(request, streams, cpu, log)
        except BaseException:
            if log is not None:
                log.close()
            raise
        build = Build(channel, control, pid, process["timeout"], cpu, log)
        for fd in build.watched:
            self.builds[fd] = build
            self.poll.register(fd, select.POLLIN)

    def _create(
        self, request: dict[str, Any], streams: list[int], cpu: int | None, log: Log | None
    ) -> tuple[int, _socket.socket]:
        """Create the first process of a build. Returns its pid, and the socket on which it will report."""
        if _is_traced(request["process"]):
            # Only rebuilds need it. It is imported here because a build's root has no modules.
            from hermetic.sandbox import clock  # noqa: F401
        elif not self.filter:
            self.filter = seccomp.program()
        control, inner = _socket.socketpair()
        sources = None
        try:
            sources = inside.open_sources(request["operations"], self.owners) if self.privileged else None
            try:
                pid = syscalls.clone(_NAMESPACES)
            except OSError as error:
                raise inside.SetupError("namespaces", error.errno or 0, str(error)) from None
            if pid == 0:
                self._child(request, sources, streams, inner, cpu)
        finally:
            inner.close()
            if log is not None:
                log.started()
            for fd in (sources or {}).values():
                os.close(fd)
        try:
            self._map_ids(pid, request["process"])
            _make_expendable(pid)
            control.send(b"!")
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            said = _said(control).get("error") or {
                "step": "identity",
                "errno": error.errno,
                "text": str(error),
            }
            raise inside.SetupError(said["step"], said["errno"], said["text"]) from None
        return pid, control

    def _idle_cpu(self) -> int:
        """The CPU that the fewest builds are bound to."""
        taken = [build.cpu for build in set(self.builds.values())]
        return min(sorted(os.sched_getaffinity(0)), key=taken.count)

    def _map_ids(self, pid: int, process: dict[str, Any]) -> None:
        if not self.privileged:
            _write(f"/proc/{pid}/setgroups", "deny")
        uid, gid = process["outer_ids"]
        _write(f"/proc/{pid}/uid_map", f"{uid} {self.host_uid} 1")
        _write(f"/proc/{pid}/gid_map", f"{gid} {self.host_gid} 1")

    def _child(
        self,
        request: dict[str, Any],
        sources: dict[str, int] | None,
        streams: list[int],
        end: _socket.socket,
        cpu: int | None,
    ) -> NoReturn:
        """The first process of the build. It never returns to the server."""
        control = end.fileno()
        outcome: dict[str, Any] = {}
        try:
            process = request["process"]
            inside.die_with_server(control)
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            _place_streams(streams)
            _close_all_but({0, 1, 2, control, *(sources or {}).values()})
            if os.read(control, 1) != b"!":
                os._exit(1)
            inside.become(*process["outer_ids"], drop_groups=self.privileged)
            inside.die_with_server(control)  # the change of identity clears this setting
            if not process["interactive"]:
                os.setsid()
            watch = inside.set_up(request, sources)
            if not process["interactive"]:
                _replace(os.open("/dev/null", os.O_RDONLY), 0)
            outcome["status"] = self._run(process, watch)
        except limits.Exceeded as error:
            outcome["ended_by"] = error.what
        except inside.SetupError as error:
            outcome["error"] = error.record
        except OSError as error:
            outcome["error"] = {"step": "set-up", "errno": error.errno or 0, "text": str(error)}
        except BaseException as error:  # nothing may return to the server's loop
            outcome["error"] = {"step": "set-up", "errno": 0, "text": repr(error)}
        try:
            end.send(marshal.dumps(outcome))
        finally:
            os._exit(0)

    def _run(self, process: dict[str, Any], watch: limits.Watch) -> int:
        """Drop all privileges that the build does not need, run it, and return its wait status."""
        if _is_traced(process):
            from hermetic.sandbox import clock

            run, program = clock.run, clock.TRACER_FILTER
        else:
            run, program = inside.run, self.filter
        inside.give_up_power(program)
        watch.start()
        status = run(process) if process["argv"] else 0
        watch.stop()
        if status != 0:
            watch.look()  # it may have failed because of a limit since the last look
        return status

    def _finish(self, build: Build) -> None:
        """Send the outcome. All processes in the namespace are dead."""
        _, status = os.waitpid(build.pid, 0)
        outcome: dict[str, Any] = {"status": status, "ended_by": build.ended_by}
        if build.ended_by is None:
            outcome.update(_said(build.control))
        if outcome["status"] != 0:
            outcome["killed_for_memory"] = limits.killed_for_memory() - self.killed_before
        outcome["seconds"] = time.monotonic() - build.started
        for fd in build.watched:
            del self.builds[fd]
            try:
                self.poll.unregister(fd)
            except KeyError:
                pass  # a cancelled build's channel, a log that has ended
        if build.log is not None:
            build.log.close()
            if build.log.exceeded:
                outcome["ended_by"] = LOG
        _reply(build.channel, outcome)
        os.close(build.pidfd)
        build.control.close()

    def _kill_all(self) -> None:
        for build in self.builds.values():
            build.kill("cancelled")
        for build in list(self.builds.values()):
            if build.pidfd in self.builds:
                self._finish(build)


def _owners(host_uid: int, host_gid: int) -> int | None:
    """A user namespace that maps root's files to the builds' user, as for a caller who is not root."""
    try:
        pid = syscalls.clone(syscalls.CLONE_NEWUSER)
    except OSError:
        return None  # the first build reports the reason
    if pid == 0:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pause()
        os._exit(0)
    try:
        _write(f"/proc/{pid}/uid_map", f"0 {host_uid} 1")
        _write(f"/proc/{pid}/gid_map", f"0 {host_gid} 1")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _reply(channel: _socket.socket, outcome: dict[str, Any]) -> None:
    try:
        wire.send(channel, outcome)
    except OSError:
        pass  # the client has gone
    channel.close()


def _said(control: _socket.socket) -> dict[str, Any]:
    """The outcome that the first process of a build has reported; empty if it did not get that far."""
    try:
        data = control.recv(65536, _socket.MSG_DONTWAIT)
    except OSError:
        data = b""
    return marshal.loads(data) if data else {}


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _is_traced(process: dict[str, Any]) -> bool:
    return bool(process["clock_offset"] or process["other_machine"])


def _make_expendable(pid: int) -> None:
    try:
        _write(f"/proc/{pid}/oom_score_adj", limits.OOM_SCORE)
    except OSError:
        pass  # where hermetic itself has a higher score, only root may lower it


def _place_streams(streams: list[int]) -> None:
    """Make one log, or three streams, the descriptors 0, 1 and 2."""
    for place, fd in enumerate(streams if len(streams) == 3 else [0, streams[0], streams[0]]):
        if fd != place:
            os.dup2(fd, place)


def _replace(fd: int, place: int) -> None:
    os.dup2(fd, place)
    os.close(fd)


def _close_all_but(kept: set[int]) -> None:
    first = 0
    for fd in sorted(kept):
        if first < fd:
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 1 << 20)


def main(fd: int, *, rebuilds: bool) -> None:
    """Serve until the client goes away.

    Args:
        fd: of the socket that requests come from.
        rebuilds: the first build will run under a shifted clock.
    """
    os.chdir("/")
    os.closerange(fd + 1, 1 << 20)  # what our caller's caller has left open is nothing to us
    # The client decides when builds end. Signals of its terminal are for the client only.
    for name in ("SIGINT", "SIGQUIT", "SIGHUP", "SIGTSTP", "SIGTTIN", "SIGTTOU"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests = _socket.socket(fileno=fd)
    # While the client is still loading: what the first build would otherwise wait for.
    limits.impose()
    syscalls.rename_process("hermetic-sandbox")  # builds see it, and are not to see where hermetic is
    if rebuilds:
        from hermetic.sandbox import clock  # noqa: F401
    program = b"" if rebuilds else seccomp.program()
    gc.collect()
    gc.freeze()
    gc.disable()
    first = requests.recv(1024)
    if first:  # else nothing was to be built
        Server(requests, program, *marshal.loads(first)).serve()
