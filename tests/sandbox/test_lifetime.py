"""Everything that a build has started ends with it; and a build ends with whoever wanted it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermetic.errors import SandboxError
from hermetic.sandbox import diagnosis, server, wire
from hermetic.sandbox.client import Sandbox
from hermetic.sandbox.spec import SandboxSpec
from tests.support.callers import Caller
from tests.support.processes import eventually, processes


@pytest.fixture
def marker() -> str:
    """Seconds to sleep, unlike any other process's."""
    return f"7{time.monotonic_ns() % 10**9}"


def test_no_process_survives(caller: Caller, marker: str) -> None:
    code = f"""
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 100)
            import signal
            for number in range(1, 32):
                if number not in (9, 19):
                    signal.signal(number, signal.SIG_IGN)
            os.execv("/hermetic/x86_64-linux-musl/busybox/bin/sleep", ["sleep", "{marker}"])
        os._exit(0)
import time
time.sleep(0.3)
print(json.dumps(len(os.listdir("/proc"))))
"""
    assert caller.probe(code) >= 8
    assert processes(marker) == []


def test_background_processes_do_not_hold_a_build_up(caller: Caller, marker: str) -> None:
    started = time.monotonic()
    answer = caller.run(caller.shell(f"sleep {marker} & sleep {marker} & exit 7"))
    assert answer["result"]["exit_status"] == 7
    assert time.monotonic() - started < 5
    assert processes(marker) == []


def test_timeout_kills_all(caller: Caller, marker: str) -> None:
    spec = caller.shell(f"trap '' TERM INT; setsid sleep {marker} & sleep {marker}", timeout=0.5)
    result = caller.run(spec)["result"]
    assert result["timed_out"] and not result["cancelled"]
    assert (result["exit_status"], result["signal"]) == (None, None)
    assert 0.4 < result["seconds"] < 3
    assert processes(marker) == []


def test_cancel_stops_within_a_second(caller: Caller, marker: str) -> None:
    spec = caller.shell(f"trap '' TERM INT; while :; do sleep {marker}; done")
    answer = caller.drive("cancel", specs=[spec, spec, spec])
    assert [r["cancelled"] for r in answer["results"]] == [True] * 3
    assert answer["seconds"] < 1
    assert processes(marker) == []


def _held(caller: Caller, marker: str) -> tuple[subprocess.Popen[str], int]:
    holding = caller.start("hold", {"specs": [caller.shell(f"setsid sleep {marker} & sleep {marker}")] * 3})
    assert holding.stdout is not None
    server = json.loads(holding.stdout.readline())["server"]
    assert eventually(lambda: len(processes(marker)) == 6, 10)
    return holding, server


def test_kill_9_of_client_kills_builds(caller: Caller, marker: str) -> None:
    holding, server = _held(caller, marker)
    holding.kill()
    holding.wait()
    assert eventually(lambda: not processes(marker) and not Path(f"/proc/{server}").exists(), 3)


def test_a_server_that_dies_while_it_is_asked_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pipe would pass for a reader of our output who has gone. (The fault injection found it.)"""
    send = wire.send
    with Sandbox() as sandbox, Path(os.devnull).open("wb") as log:

        def late(channel: socket.socket, message: dict[str, Any]) -> None:
            assert sandbox._server is not None
            sandbox._server.kill()
            sandbox._server.wait()
            send(channel, message)

        monkeypatch.setattr(wire, "send", late)
        with pytest.raises(SandboxError, match="the sandbox server has died"):
            sandbox.run(SandboxSpec(argv=("/nothing",), env={}), log.fileno())


def test_kill_9_of_server_kills_builds_and_is_reported(caller: Caller, marker: str) -> None:
    holding, server = _held(caller, marker)
    os.kill(server, signal.SIGKILL)
    out, _ = holding.communicate(timeout=10)
    assert "server has died" in json.loads(out)["error"]
    assert eventually(lambda: not processes(marker), 3)


def test_interrupt_of_client_kills_builds(caller: Caller, marker: str) -> None:
    holding, server = _held(caller, marker)
    holding.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = holding.communicate(timeout=10)
    assert "KeyboardInterrupt" in err
    assert time.monotonic() - started < 1
    assert eventually(lambda: not processes(marker) and not Path(f"/proc/{server}").exists(), 3)


def test_many_builds_at_once(caller: Caller) -> None:
    folders = [caller.folder(f"work{n}") for n in range(16)]
    specs = [
        caller.shell(
            f"sleep 0.5; echo {n} > out; ls /proc | grep -c '^[0-9]'; exit {n}",
            mounts=[{"source": str(folder), "target": "/build", "writable": True}],
        )
        for n, folder in enumerate(folders)
    ]
    answer = caller.drive("run_at_once", specs=specs)
    assert [r["exit_status"] for r in answer["results"]] == list(range(16))
    assert [(f / "out").read_text() for f in folders] == [f"{n}\n" for n in range(16)]
    assert answer["seconds"] < 6  # and not 16 times half a second


def test_signals_and_exit_statuses_are_told_apart(caller: Caller) -> None:
    for script, expected in (
        ("exit 3", (3, None)),
        ("kill -SEGV $$", (None, 11)),
        ("kill -PIPE $$", (None, 13)),
    ):
        result = caller.run(caller.shell(script))["result"]
        assert (result["exit_status"], result["signal"]) == expected


def test_time_is_measured(caller: Caller) -> None:
    assert caller.run(caller.shell("sleep 0.2"))["result"]["seconds"] > 0.2


def test_no_core_dumps(caller: Caller) -> None:
    assert caller.output(caller.shell("ulimit -c; (ulimit -c 100) 2>/dev/null || echo fixed")).split() == [
        "0",
        "fixed",
    ]


def test_fails_closed_without_user_namespaces(caller: Caller) -> None:
    answer = caller.drive("without_user_namespaces", spec=caller.shell("echo ran > /build/ran"))
    if "skip" in answer:
        pytest.skip(answer["skip"])
    assert "user.max_user_namespaces is 0" in answer["error"]
    assert "sysctl -w user.max_user_namespaces=" in answer["hint"]
    assert not (caller.home / "build" / "ran").exists()
    assert "user.max_user_namespaces" in caller.drive("without_user_namespaces", check=True)["error"]


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user/max_net_namespaces", "0", "user.max_net_namespaces=15000"),
        ("none", "", "docker"),
    ],
)
def test_refusal_names_the_reason_and_the_remedy(
    setting: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Callable[[str], str | None] = {setting: value}.get
    monkeypatch.setattr(diagnosis, "_setting", read)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    number = 28 if "net" in setting else 1
    error = diagnosis.explain({"step": "namespaces", "errno": number, "text": "clone: refused"})
    assert isinstance(error, SandboxError)
    assert error.hint is not None and remedy in error.hint


def test_shell_by_hand_has_the_terminal(caller: Caller) -> None:
    master, slave = os.openpty()
    if caller.uid:
        os.fchown(slave, caller.uid, -1)

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    order = {"spec": caller.spec("/bin/sh", "-i")}
    shell = caller.start("interactive", order, preexec_fn=take_terminal, **streams)
    os.close(slave)
    os.write(master, b"echo $((6*7)) | cat; tty; id -u\nexit 3\n")
    seen = b""
    while True:
        try:
            more = os.read(master, 4096)
        except OSError:
            break
        if not more:
            break
        seen += more
    shell.wait()
    os.close(master)
    assert b"\n42\r" in seen and b"\n1000\r" in seen
    assert b"job control turned off" not in seen
    assert json.loads(seen.strip().splitlines()[-1]) == {"status": 3, "foreground": True}


def test_a_server_that_was_started_early_is_used_once() -> None:
    server.start_early()
    early = server._early
    with Sandbox() as first, Sandbox() as second:
        first.check()
        second.check()
        assert early is not None
        assert first._server is early
        assert second._server is not early


def test_a_server_that_nobody_needs_ends_and_holds_nothing_open() -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    started = server.start()
    os.close(theirs)
    try:
        assert os.read(ours, 1) == b""  # it has closed what it had inherited
        # What it opens while it prepares itself, it closes again.
        assert eventually(lambda: sorted(os.listdir(f"/proc/{started.pid}/fd")) == ["0", "1", "2", "3"], 10)
        assert Path(f"/proc/{started.pid}/environ").read_bytes() == b""
    finally:
        os.close(ours)
        started.requests.close()
    started.wait()
    assert not Path(f"/proc/{started.pid}").exists()
