"""No surroundings give a traceback or silence: streams, directories, variables, encodings, limits."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.project import Project, Ran

OUTPUT = "cannot write to standard output"


@pytest.fixture
def app(project: Project) -> Project:
    """A project with one small target."""
    project.recipe("app", 'echo hello; echo hello > "$out/x"', systems=["x86_64"])
    return project


def shell(project: Project, line: str, *args: str, **environment: str) -> Ran:
    """Run hermetic from a line of bash in which `"$@"` stands for it."""
    done = subprocess.run(
        ["bash", "-c", line, "bash", *project.command(*args)],
        env={**project.environment, **environment},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        cwd="/",
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def built(project: Project) -> bool:
    return any(project.store.glob("*-app-1/x"))


# Streams


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-", "2>/dev/full", "2</dev/null"])
@pytest.mark.parametrize("command", [["realize", "app"], ["realize", "--verbose", "app"]])
def test_a_build_needs_neither_stdin_nor_stderr(app: Project, closed: str, command: list[str]) -> None:
    first = shell(app, f'"$@" {closed}', *command)
    assert first.code == 0
    assert first.out.endswith("-app-1\n")
    assert built(app)
    assert shell(app, f'"$@" {closed}', *command).out == first.out


@pytest.mark.parametrize("closed", [">&-", ">/dev/full", ">&- <&-", "1</dev/null"])
def test_results_that_cannot_be_written_are_an_error(app: Project, closed: str) -> None:
    for command in (["realize", "app"], ["realize", "app"], ["show", "app"], ["realize", "--json", "app"]):
        done = shell(app, f'"$@" {closed}', *command)
        assert done.code == 1
        assert done.err.count(OUTPUT) == 1
        assert built(app)


def test_all_streams_closed_still_builds(app: Project) -> None:
    assert shell(app, '"$@" <&- >&- 2>&-', "realize", "app").code == 1
    assert built(app)


def test_a_failure_without_stderr_has_its_exit_code(app: Project) -> None:
    app.recipe("bad", "exit 3")
    assert shell(app, '"$@" 2>&-', "realize", "bad").code == 100
    assert shell(app, '"$@" 2>/dev/full', "realize", "nosuch").code == 2


def test_a_command_without_results_needs_no_stdout(app: Project) -> None:
    shell(app, '"$@"', "realize", "app")
    assert shell(app, '"$@" >&-', "store", "verify").code == 0


def test_a_pipe_that_does_not_block_gets_everything(app: Project) -> None:
    """Another program may have set this on a pipe that both use."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    app.recipe("long", f"#{'x' * 400_000}\n: > $out/x\n")
    process = subprocess.Popen(app.command("show", "long"), stdout=theirs, env=app.environment, cwd="/")
    os.close(theirs)
    with os.fdopen(ours) as file:
        text = file.read()
    assert process.wait(60) == 0
    assert len(text) > 400_000
    assert text.endswith("}\n")


# The current directory


def test_a_removed_directory_is_named(app: Project, tmp_path: Path) -> None:
    line = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && "
    assert shell(app, line + '"$@"', "realize", "app").code == 0  # its paths are absolute
    for command in (["realize", "app"], ["seeds"], ["realize", "--keep-going", "app"]):
        done = shell(app, f'{line} "$1" -m hermetic {shlex.join(command)}', *command)
        assert done.code == 1
        assert "the current directory has been removed" in done.err


# Variables


def test_nothing_needs_to_be_set(app: Project) -> None:
    done = shell(app, 'env -i PYTHONPATH="$PYTHONPATH" NO_PROXY="*" "$@"', "realize", "app")
    assert done.code == 0


def test_a_temporary_directory_that_does_not_exist_is_no_harm(app: Project) -> None:
    assert shell(app, '"$@"', "realize", "app", TMPDIR="/nonexistent").code == 0


@pytest.fixture
def foreign(app: Project, tmp_path: Path) -> dict[str, str]:
    """What git sets for a hook of another repository, which has a project, too."""
    app.commit()
    other = tmp_path / "other"
    shutil.copytree(app.root, other, ignore=shutil.ignore_patterns(".git"))
    (other / "derivations/app/build.sh").write_text("exit 7\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(other)]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "other"]):
        subprocess.run([*git, *command], check=True, env=app.environment)
    return {
        "GIT_DIR": f"{other}/.git",
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": f"{other}/.git/index",
        "GIT_PREFIX": "derivations/",
        "GIT_OBJECT_DIRECTORY": f"{other}/.git/objects",
        "GIT_COMMON_DIR": f"{other}/.git",
        "GIT_NAMESPACE": "other",
        "GIT_TRACE": "1",
    }


def test_a_hooks_variables_do_not_lead_to_another_repository(app: Project, foreign: dict[str, str]) -> None:
    plain = app.run("show", "app@HEAD")
    assert plain.code == 0
    assert shell(app, '"$@"', "show", "app@HEAD", **foreign).out == plain.out
    for name, value in foreign.items():
        assert shell(app, '"$@"', "show", "app@HEAD", **{name: value}).out == plain.out


def test_a_checkout_of_another_user_says_what_to_do(app: Project) -> None:
    if os.geteuid():
        pytest.skip("needs root to give a directory to another user")
    app.commit()
    for path in (app.root, *app.root.rglob("*")):
        os.lchown(path, pwd.getpwnam("nobody").pw_uid, -1)
    done = shell(app, '"$@"', "show", "app@HEAD")
    assert done.code == 2
    assert "belongs to another user" in done.err
    assert f"hint: if you trust its owner: git config --global --add safe.directory {app.root}" in done.err
    trusted = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    assert shell(app, '"$@"', "show", "app@HEAD", **trusted).code == 0


def test_a_project_without_git_and_an_odd_revision_are_told_apart(app: Project) -> None:
    environment = {"GIT_CEILING_DIRECTORIES": str(app.root.parent)}
    assert "is not in a git repository" in shell(app, '"$@"', "show", "app@HEAD", **environment).err
    app.commit()
    assert "`git log --oneline` lists revisions" in app.run("show", "app@nosuch").err
    assert "'--help' is not a git revision" in app.run("show", "app@--help").err


# Encodings


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "utf-16"},
        {"LC_ALL": "nosuch_XX.UTF-8"},
    ],
    ids=str,
)
def test_a_path_is_printed_as_the_bytes_that_it_is(
    app: Project, tmp_path: Path, environment: dict[str, str]
) -> None:
    for name in (b"st\xc3\xb6re", b"st\xf6re"):
        place = os.fsencode(tmp_path) + b"/" + name
        command: list[str | bytes] = [
            *app.command()[:3],
            "--project",
            str(app.root),
            "--store",
            place,
            "realize",
            "app",
        ]
        for _ in range(2):
            done = subprocess.run(command, env={**app.environment, **environment}, capture_output=True)
            assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith(place + b"/")


def test_names_that_are_not_utf8_are_shown(app: Project) -> None:
    done = shell(app, '"$@" "$(printf "a\\377")"', "realize")
    assert done.code == 2
    assert r"a\udcff" in done.err


# Limits


@pytest.mark.parametrize(
    "limit",
    [f"-n {n}" for n in (8, 12, 16, 24, 32, 64, 256)]
    + [f"-v {n}" for n in (30_000, 60_000, 100_000, 150_000, 200_000, 400_000)]
    + [f"-f {n}" for n in (0, 1, 16, 100, 1000)]
    + [f"-s {n}" for n in (256, 100_000)],
)
def test_a_limit_is_enough_or_an_error(app: Project, limit: str) -> None:
    done = shell(app, f'ulimit {limit} && "$@"', "realize", "app")
    if done.code == 0:
        assert built(app)
    else:
        # Python itself cannot start with the least: its words, and ours from there on.
        assert "error" in done.err.lower(), done
        assert done.code in (1, 100, 127, 134), done
    assert app.run("realize", "app").code == 0  # nothing is left in the way


def test_too_few_open_files_are_named(app: Project) -> None:
    done = shell(app, 'ulimit -n 12 && "$@"', "realize", "app")
    assert done.code == 0 or "ulimit -n" in done.err


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_limit_of_processes_is_enough_or_an_error(app: Project, count: int) -> None:
    """Root has no such limit, so that it runs as another user, with another user's number of processes."""
    if os.geteuid():
        pytest.skip("needs root to run as another user")
    uid = 54_300 + count
    app.store.mkdir(exist_ok=True)
    for path in (app.store, *app.store.rglob("*")):
        os.lchown(path, uid, uid)
    for parent in app.store.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    capabilities = "-all,+dac_override,+fowner"  # to read Python, wherever it is, and nothing of limits
    become = f"setpriv --reuid {uid} --clear-groups --inh-caps {capabilities} --ambient-caps {capabilities}"
    done = shell(
        app, f"""{become} -- bash -c 'ulimit -u {count} && exec "$@"' bash "$@" """, "realize", "app"
    )
    assert "permission" not in done.err
    assert done.code == 0 or "error:" in done.err, done.err
