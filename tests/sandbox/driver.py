"""Runs sandboxes as one caller, in a process of its own. A command on argv, JSON on stdin, JSON on stdout."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from hermetic.errors import SandboxError
from hermetic.sandbox import seccomp, syscalls
from hermetic.sandbox.client import Result, Sandbox
from hermetic.sandbox.spec import SandboxSpec

_CLONE_NEWUSER = 0x10000000


def run(order: dict[str, Any]) -> dict[str, Any]:
    """One build; its result, and what it wrote."""
    log = Path(order["log"])
    with Sandbox() as sandbox, log.open("wb") as file:
        result = sandbox.run(_spec(order["spec"]), file.fileno())
    return {"result": _plain(result), "log": log.read_text(errors="backslashreplace")}


def run_at_once(order: dict[str, Any]) -> dict[str, Any]:
    """Several builds from as many threads."""
    results: dict[int, Any] = {}
    with Sandbox() as sandbox, Path(os.devnull).open("wb") as null:

        def one(number: int, spec: SandboxSpec) -> None:
            results[number] = _plain(sandbox.run(spec, null.fileno()))

        threads = [threading.Thread(target=one, args=(n, _spec(s))) for n, s in enumerate(order["specs"])]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - started
    return {"results": [results.get(n) for n in range(len(threads))], "seconds": seconds}


def cancel(order: dict[str, Any]) -> dict[str, Any]:
    """Builds that are cancelled after half a second."""
    with Sandbox() as sandbox, Path(os.devnull).open("wb") as null:
        running = [sandbox.start(_spec(s), null.fileno()) for s in order["specs"]]
        time.sleep(0.5)
        started = time.monotonic()
        for build in running:
            build.cancel()
        results = [_plain(build.wait()) for build in running]
        return {"results": results, "seconds": time.monotonic() - started}


def hold(order: dict[str, Any]) -> dict[str, Any]:
    """Builds that are started and waited for. Says first, on a line of its own, who serves them."""
    with Sandbox() as sandbox, Path(os.devnull).open("wb") as null:
        running = [sandbox.start(_spec(s), null.fileno()) for s in order["specs"]]
        server = sandbox._server
        print(json.dumps({"server": server.pid if server else None, "client": os.getpid()}), flush=True)
        return {"results": [_plain(build.wait()) for build in running]}


def interactive(order: dict[str, Any]) -> dict[str, Any]:
    """A process on this process's terminal."""
    with Sandbox() as sandbox:
        status = sandbox.run_interactive(_spec(order["spec"]))
    foreground = os.tcgetpgrp(0) == os.getpgrp()
    return {"status": status, "foreground": foreground}


def mounts(order: dict[str, Any]) -> dict[str, Any]:
    """This process's mounts before, during and after a build that takes a second."""
    table = Path("/proc/self/mountinfo")
    before = table.read_text()
    with Sandbox() as sandbox, Path(os.devnull).open("wb") as null:
        running = sandbox.start(_spec(order["spec"]), null.fileno())
        time.sleep(0.3)
        during = table.read_text()
        running.wait()
    return {"before": before, "during": during, "after": table.read_text()}


def without_user_namespaces(order: dict[str, Any]) -> dict[str, Any]:
    """The same as `run` (or `check`), where the kernel's limit of user namespaces is 0."""
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(_CLONE_NEWUSER):
        return {"skip": "this machine forbids user namespaces"}
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    if order.get("check"):
        Sandbox().check()
        return {}
    return run(order)


def without_ptrace(order: dict[str, Any]) -> dict[str, Any]:
    """The same as `run`, where nobody may trace: as in some containers."""
    forbid_tracing()
    return run(order)


def forbid_tracing() -> None:
    """To this process and all that it will start."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.install_seccomp(seccomp.assembled((seccomp.Rule("ptrace", seccomp.EPERM),)))


def check(order: dict[str, Any]) -> dict[str, Any]:
    with Sandbox() as sandbox:
        sandbox.check()
    return {}


def _spec(record: dict[str, Any]) -> SandboxSpec:
    return msgspec.convert(record, SandboxSpec)


def _plain(result: Result) -> Any:
    return msgspec.to_builtins(result)


def main() -> None:
    forbidding = (without_user_namespaces, without_ptrace)
    commands = (run, run_at_once, cancel, hold, interactive, mounts, check, *forbidding)
    command = next(c for c in commands if c.__name__ == sys.argv[1])
    order = json.loads(Path(sys.argv[2]).read_bytes())
    try:
        answer = command(order)
    except SandboxError as error:
        answer = {"error": error.message, "hint": error.hint, "details": list(error.details)}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
