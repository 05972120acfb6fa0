"""The interpreter finds itself, however it is started and wherever it lies."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.real.conftest import environment, library, line, own_copy

WHERE = "import sys; print(sys.executable, sys.prefix, sys.base_prefix, sep='|')"


@pytest.fixture(scope="module")
def home(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the native interpreter that may be linked to, moved and changed."""
    return own_copy(native, tmp_path_factory.mktemp("placement") / "python")


def where(program: Path | str, argv0: str | None = None, cwd: Path | None = None, **env: str) -> list[str]:
    """What an interpreter says of itself: executable, prefix and base prefix."""
    done = subprocess.run(
        [str(program) if argv0 is None else argv0, "-c", WHERE],
        executable=str(program),
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.rstrip("\n").split("|")


def make_venv(program: Path | str, directory: Path, *options: str) -> Path:
    subprocess.run(
        [str(program), "-m", "venv", "--without-pip", *options, str(directory)], env=environment(), check=True
    )
    return directory


def another_library(directory: Path) -> None:
    """What looks like the library of another Python, and ends the interpreter that takes it."""
    (directory / "lib-dynload").mkdir(parents=True)
    (directory / "os.py").write_text("raise SystemExit('the library of another Python')\n")


@pytest.fixture
def link(home: Path, tmp_path: Path) -> Path:
    """A symlink to a symlink to the interpreter; the first is relative."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "interpreter").symlink_to(home / "bin/python3")
    (tmp_path / "b" / "python3").symlink_to("../a/interpreter")
    return tmp_path / "b" / "python3"


@pytest.mark.parametrize(
    "argv0", ["x", "-python3", "python3", "python", "/usr/bin/python3", "./python3", "a/b", ""]
)
def test_argv0_is_what_the_caller_likes(home: Path, argv0: str) -> None:
    program = home / "bin/python3"
    assert where(program, argv0) == [str(program), str(home), str(home)]


def test_another_python_of_the_same_line_in_path_is_not_taken(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    shutil.copy(home / "bin" / f"python{line(home)}", other / "bin/python3")
    another_library(other / library(home).relative_to(home))
    assert where(home / "bin/python3", "python3", PATH=f"{other}/bin")[1] == str(home)


def test_it_is_found_through_path_relative_paths_and_symlinks(home: Path, link: Path) -> None:
    assert where(link) == [str(link), str(home), str(home)]
    shell = ["/bin/sh", "-c", f'python3 -c "{WHERE}"']
    for path, cwd in ((str(link.parent), None), ("bin", home), ("", home / "bin")):
        done = subprocess.run(
            shell, cwd=cwd, env=environment(PATH=path), capture_output=True, text=True, check=True
        )
        assert done.stdout.split("|")[1] == str(home), path
    assert where("bin/python3", cwd=home)[:2] == [str(home / "bin/python3"), str(home)]


def test_a_second_name_in_its_directory_is_as_good(home: Path) -> None:
    other = home / "bin" / "another-name"
    other.hardlink_to(home / "bin" / f"python{line(home)}")
    try:
        assert where(other) == [str(other), str(home), str(home)]
    finally:
        other.unlink()


def test_a_hard_link_elsewhere_is_refused_in_words(home: Path, tmp_path: Path) -> None:
    (tmp_path / "python3").hardlink_to(home / "bin" / f"python{line(home)}")
    done = subprocess.run(
        [str(tmp_path / "python3"), "-c", ""], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"There is no lib/python{line(home)} in a directory above {tmp_path}" in done.stderr
    assert "PYTHONHOME" in done.stderr


def test_it_is_found_when_executed_through_a_descriptor(home: Path) -> None:
    program = home / "bin" / f"python{line(home)}"
    child = f"import os; os.execve(os.open({str(program)!r}, os.O_RDONLY), ['x', '-c', {WHERE!r}], {{}})"
    done = subprocess.run([str(program), "-c", child], capture_output=True, text=True, check=True)
    assert done.stdout.split("|")[:2] == [str(program), str(home)]


def test_a_program_that_may_be_executed_but_not_read_is_found(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: a file that others may execute but not read")
    # Directories of pytest may be entered by their owner only.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        tree = Path(directory, "python")
        shutil.copytree(home, tree, symlinks=True)
        program = tree / "bin" / f"python{line(tree)}"
        program.chmod(0o711)
        done = subprocess.run(
            ["x", "-c", WHERE],
            executable=str(program),
            user=65534,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split("|")[1] == str(tree)


def test_it_needs_no_proc(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    again = f"import os; os.execv('/bin/python3', ['x', '-c', {WHERE!r}])"
    for code in (WHERE, again):
        done = subprocess.run(
            ["chroot", str(home), "/bin/python3", "-c", code],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split("|") == ["/bin/python3", "/", "/\n"]


def test_a_venv_made_through_a_symlink_works(home: Path, link: Path, tmp_path: Path) -> None:
    venv = make_venv(link, tmp_path / "venv")
    assert where(venv / "bin/python") == [str(venv / "bin/python"), str(venv), str(home)]
    assert where(venv / "bin/python", "x") == [str(venv / "bin/python"), str(venv), str(home)]


def test_a_venv_of_copies_works(home: Path, link: Path, tmp_path: Path) -> None:
    venv = make_venv(link, tmp_path / "venv", "--copies")
    assert not (venv / "bin/python").is_symlink()
    assert where(venv / "bin/python") == [str(venv / "bin/python"), str(venv), str(home)]


def test_a_venv_of_a_venv_works(home: Path, tmp_path: Path) -> None:
    first = make_venv(home / "bin/python3", tmp_path / "first")
    second = make_venv(first / "bin/python3", tmp_path / "second")
    assert where(second / "bin/python3")[1:] == [str(second), str(home)]


def test_a_venv_takes_its_library_from_where_the_program_is(home: Path, tmp_path: Path) -> None:
    # As when /usr/bin holds a symlink to this interpreter and /usr/lib the library of the system's.
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    another_library(tmp_path / "usr" / library(home).relative_to(home))
    link = tmp_path / "usr" / "bin" / "python-of-hermetic"
    link.symlink_to(home / "bin/python3")
    venv = make_venv(link, tmp_path / "venv")
    assert where(venv / "bin/python")[1:] == [str(venv), str(home)]


def test_scripts_of_a_venv_know_their_venv(home: Path, tmp_path: Path) -> None:
    venv = make_venv(home / "bin/python3", tmp_path / "venv")
    script = venv / "bin" / "tool"
    script.write_text(f"#!{venv}/bin/python3\n{WHERE}\n")
    script.chmod(0o755)
    for argv0 in (str(script), "x"):
        done = subprocess.run(
            [argv0], executable=str(script), env=environment(), capture_output=True, text=True, check=True
        )
        assert done.stdout.rstrip("\n").split("|") == [f"{venv}/bin/python3", str(venv), str(home)]


def test_the_tree_may_move_between_two_uses(home: Path, tmp_path: Path) -> None:
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "current"
    shutil.copytree(home, first, symlinks=True)
    link.symlink_to(first)
    venv = make_venv(link / "bin/python3", tmp_path / "venv")
    first.rename(second)
    link.unlink()
    link.symlink_to(second)
    assert where(venv / "bin/python")[1:] == [str(venv), str(link)]


def test_a_venv_whose_python_is_gone_says_so(home: Path, tmp_path: Path) -> None:
    moved = tmp_path / "python"
    shutil.copytree(home, moved, symlinks=True)
    venv = make_venv(moved / "bin/python3", tmp_path / "venv", "--copies")
    moved.rename(tmp_path / "elsewhere")
    done = subprocess.run(
        [str(venv / "bin/python"), "-c", ""], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"This venv was made with the Python in {moved}/bin, which is not there any more" in done.stderr


def test_a_read_only_tree_works(home: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mounted = f"mount --bind {home} {home} && mount -o remount,bind,ro {home}"
    script = f"{mounted} && exec {home}/bin/python3 -O -c 'import asyncio, sys; print(sys.prefix)'"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert (done.stdout, done.stderr) == (f"{home}\n", "")
