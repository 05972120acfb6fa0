"""A process that has loaded hermetic, and becomes the program once more for every request.

Each command line is a process of its own, with the program's real entry, its real end and exit status; only
the time to load it is saved. Requests and answers are lines of JSON on stdin and stdout.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.bad_input import watch

REPOSITORY: Final = Path(__file__).resolve().parents[2]
MEMORY: Final = 4 << 30  # bytes; more is taken as a failure
FILE: Final = 1 << 30  # bytes
_LOADED: Final = (
    *("progress", "repairing", "realize", "run", "shell", "log", "show", "tree"),
    *("why_depends", "diff", "seeds", "targets", "lock", "verify", "gc", "root", "why_live", "store"),
)
# `verify` rebuilds on another file system, and removes what it made there; see `hermetic.verify.rebuild`.
_ALWAYS: Final = ("/dev/null", "/dev/tty", "/proc/self", "/dev/shm/hermetic-elsewhere-*")


class Zygote:
    """The other end: runs command lines, one after the other."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bad_input.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one command line; see `main` for what is asked and answered."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        self.process.communicate()


def main() -> bool:
    """Answer requests; True in a child, which then is to run hermetic.

    A request: `args` (hex of the bytes of each), `cwd`, `env`, `out`, `err`, `writes` (files for what it
    prints and for its writes outside), `allowed` (folders it may write to), `seconds`. An answer: `code`
    (negative: a signal), `seconds`, `hung`.
    """
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request)
            return True
        print(json.dumps(_await(child, request["seconds"])), flush=True)
    return False


def _become(request: dict[str, Any]) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    out, err, log = (
        os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        for name in ("out", "err", "writes")
    )
    for number, file in enumerate((nothing, out, err)):
        os.dup2(file, number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.register(signal.SIGUSR1, file=sys.stderr)
    sys.argv = ["hermetic", *(os.fsdecode(bytes.fromhex(arg)) for arg in request["args"])]
    watch.start([*request["allowed"], *_ALWAYS], log)


def _await(child: int, seconds: float) -> dict[str, Any]:
    begun = time.monotonic()
    handle = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([handle], [], [], seconds)
    finally:
        os.close(handle)
    if not ended:
        os.kill(child, signal.SIGUSR1)  # says where it hangs
        time.sleep(0.5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it has left running, too
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "seconds": time.monotonic() - begun, "hung": not ended}


if __name__ == "__main__":
    for module in _LOADED:
        importlib.import_module(f"hermetic.cli.{module}")
    for module in (
        "sources.fetch",
        "verify.compare",
        "verify.rebuild",
        "sources.archive.zip",
        "store.rebuilding",
        "store.integrity",
    ):
        importlib.import_module(f"hermetic.{module}")
    from hermetic.cli import entry

    gc.freeze()
    if main():
        entry.main()
