"""The sandbox that a finished interpreter is tried out in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from hermetic import tree
from hermetic.filesystem import translated
from hermetic.sandbox.client import Result, Sandbox
from hermetic.sandbox.spec import DEFAULT_FILES, Mount, SandboxSpec

WORK: Final = "/build"  # the home directory and the current one: writable
TREE: Final = "/python"  # the output that is tried out: read-only
_LOG_LIMIT: Final = 64 << 20  # bytes
_ENVIRONMENT: Final = {"HOME": WORK, "LANG": "C.UTF-8", "TERM": "xterm", "TMPDIR": "/tmp"}
_FILES: Final = {
    **DEFAULT_FILES,
    "/etc/services": "".join(
        f"{name} {port}/{protocol}\n"
        for name, port in (("echo", 7), ("daytime", 13), ("domain", 53), ("http", 80), ("ntp", 123))
        for protocol in ("tcp", "udp")
    ),
    "/etc/protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n",
}


class Interpreter(msgspec.Struct, frozen=True):
    """An interpreter that is to be tried out, and what the sandbox must have for it.

    Attributes:
        target: what it is called.
        tree: the path of its store object.
        command: how it is started in the sandbox, where its tree is at `TREE`.
        mounts: whatever else is mounted. links: as in `SandboxSpec`. path: `PATH`.
        formats: as in `SandboxSpec`; with one, it runs under an emulator.
        env: more variables.
    """

    target: str
    tree: Path
    arch: str
    version: str
    command: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    links: dict[str, str] = {}
    path: str = "/bin"
    formats: tuple[str, ...] = ()
    env: dict[str, str] = {}

    @property
    def emulated(self) -> bool:
        """Whether it runs under an emulator."""
        return bool(self.formats)


class Room:
    """Starts an interpreter in a sandbox with a directory of its own, which is removed at the end.

    Args:
        sandbox: it may be shared by several threads.
        space: where the directories are made.
    """

    def __init__(self, sandbox: Sandbox, space: Path, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self._sandbox = sandbox
        self._space = space
        self._cpuinfo = Path("/proc/cpuinfo").read_text(errors="replace")

    def run(
        self, name: str, *arguments: str, timeout: float, files: dict[str, str] | None = None, keep: str = ""
    ) -> Ran:
        """Run the interpreter to its end.

        Args:
            name: of the directory; unique while it runs.
            arguments: of the interpreter.
            timeout: seconds.
            files: those in the working directory, name to content.
            keep: name of a file in its working directory whose content is wanted.

        Raises:
            SandboxError: the sandbox could not be set up.
        """
        directory, log = self._space / name, self._space / f"{name}.log"
        interpreter = self.interpreter
        with translated(directory, "write"):
            directory.mkdir()
            for place, content in (files or {}).items():
                (directory / place).write_text(content, encoding="utf-8")
            output = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        spec = SandboxSpec(
            argv=(*interpreter.command, *arguments),
            env={**_ENVIRONMENT, "PATH": interpreter.path, **interpreter.env},
            cwd=WORK,
            mounts=(
                Mount(str(directory), WORK, writable=True),
                Mount(str(interpreter.tree), TREE),
                *interpreter.mounts,
            ),
            links=interpreter.links,
            files=_FILES,
            timeout=timeout,
            log_limit=_LOG_LIMIT,
            aslr=True,
            loopback=True,
            formats=interpreter.formats,
            cpuinfo=self._cpuinfo,
        )
        try:
            result = self._sandbox.run(spec, output)
            kept = _content(directory / keep) if keep else b""
            return Ran(result, kept, os.pread(output, _LOG_LIMIT, 0).decode("utf-8", "replace"))
        finally:
            os.close(output)
            tree.remove(directory)
            log.unlink(missing_ok=True)

    def stop(self) -> None:
        """Kill whatever runs. Nothing can be run any more."""
        self._sandbox.close()


class Ran(msgspec.Struct, frozen=True):
    """How it ended. `kept`: the content of the file that was wanted; empty if it is not there."""

    result: Result
    kept: bytes
    output: str


def _content(path: Path) -> bytes:
    """A file that the sandbox has left; empty if there is no such regular file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(file, "rb") as opened:
        try:
            return opened.read(_LOG_LIMIT)
        except OSError:  # a directory
            return b""
