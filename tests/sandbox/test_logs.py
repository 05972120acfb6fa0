"""A build's log is output of other origin: it cannot act on the terminal, and it has a limit."""

from __future__ import annotations

import os
import pty
import subprocess
import threading

import pytest

from tests.support.project import Project

EVIL = r"\033[2J\033]0;title\007\033]52;c;ZXZpbA==\007"


def speaking(project: Project, end: str = "exit 1", **fields: object) -> None:
    project.recipe("app", f"printf 'before {EVIL} \\033[31mred\\033[0m after\\n'\n{end}\n", **fields)


def on_a_terminal(project: Project, *args: str) -> bytes:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    command, environment = project.command(*args), {**project.environment, "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd="/")
    os.close(theirs)
    out = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                out.extend(data)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    process.wait(120)
    reader.join()
    os.close(ours)
    return bytes(out)


def test_the_end_of_a_log_in_an_error_is_escaped(project: Project) -> None:
    speaking(project)
    done = project.run("realize", "app")
    assert done.code == 100
    assert "\x1b" not in done.err
    assert "\x07" not in done.err
    assert r"| before \x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07 red after" in done.err


@pytest.mark.parametrize("end", ["exit 1", ': > "$out/x"'])
def test_verbose_output_is_escaped(project: Project, end: str) -> None:
    speaking(project, end)
    shown = on_a_terminal(project, "realize", "--verbose", "app")
    assert rb"> before \x1b[2J\x1b]0;title\x07" in shown
    assert b"\x1b]" not in shown
    assert b"\x1b[2J" not in shown


def test_what_a_terminal_shows_of_a_failure_is_escaped(project: Project) -> None:
    speaking(project, "echo '==> phase \033]0;evil\007'; sleep 1.5; exit 1")
    shown = on_a_terminal(project, "realize", "app")
    assert b"\x1b]" not in shown
    assert rb"\x1b]0;title" in shown


def test_log_is_escaped_on_a_terminal_and_raw_elsewhere(project: Project) -> None:
    speaking(project)
    project.run("realize", "app")
    raw = subprocess.run(project.command("log", "app"), env=project.environment, capture_output=True)
    assert raw.stdout == b"before \x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07 \x1b[31mred\x1b[0m after\n"
    shown = on_a_terminal(project, "log", "app")
    assert shown == rb"before \x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07 red after" + b"\r\n"


def test_a_build_that_writes_too_much_is_stopped(project: Project) -> None:
    project.recipe("app", "echo begin; yes endless\n", log_limit=2)
    done = project.run("realize", "app")
    assert done.code == 100
    assert "its log is larger than 2 MiB, and the build was stopped" in done.err
    assert "`log-limit` (in MiB) in derivations/app/recipe.toml" in done.err
    logs = (project.store / ".hermetic" / "log").glob("*.log")
    assert max(log.stat().st_size for log in logs) == 2 << 20


def test_a_quick_build_that_writes_too_much_fails_too(project: Project) -> None:
    project.recipe("app", 'head -c 1048577 /dev/zero; : > "$out/x"\n', log_limit=1)
    assert "its log is larger than 1 MiB" in project.run("realize", "app").err


def test_the_limit_of_a_log_changes_no_hash(project: Project) -> None:
    project.recipe("app", ': > "$out/x"\n', log_limit=1)
    one = project.run("realize", "app")
    project.recipe("app", ': > "$out/x"\n', log_limit=2)
    assert project.run("realize", "app").out == one.out
    project.recipe("app", ': > "$out/x"\n', log_limit=0)
    assert "log-limit is 0, but must be above 0 (MiB)" in project.run("realize", "app").err
