"""The short way of `realize`: it is quick, and it never knows better than the whole program."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermetic.cli import entry, main, plain, shown
from hermetic.project import worktree
from hermetic.store import quick
from hermetic.store.store import Store
from tests.support import project_files

SLOW_TO_LOAD = {
    "typing",
    "re",
    "pathlib",
    "contextlib",
    "msgspec",
    "click",
    "sqlite3",
    "base64",
    "subprocess",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, data in project_files.files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def add(project: Path) -> str:
    """Put an object in the store, and note it as what the target `app` is."""
    made = project.parent / "made"
    made.mkdir()
    (made / "file").write_text("content")
    with Store.open(project / "store") as store:
        name = store.add(made, "app", "1")
        store.put_answer(worktree.fingerprint(worktree.read(str(project))), "app", name)
    return name


def look(project: Path) -> list[str] | None:
    return quick.objects(str(project), str(project / "store"), ["app"])


def test_nothing_slow_is_loaded() -> None:
    # Without `site`, which itself may load some of these.
    code = "import sys; sys.path[:0] = sys.argv[1:]; import hermetic.cli.entry; print(*sys.modules)"
    paths = [str(Path(quick.__file__).parents[2]), *(p for p in sys.path if p.endswith("site-packages"))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert not SLOW_TO_LOAD & set(done.stdout.split())


def test_modules_are_loaded_without_what_hermetic_does_not_use_which_stays_importable() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from hermetic.cli import startup; startup.prepare()\n"
        "print(*sys.modules)\n"
        "import pathlib, uuid, decimal, msgspec.inspect, msgspec.toml\n"
        "print(uuid.uuid4().version, decimal.Decimal('0.5') * 2, pathlib.Path('/a b').as_uri())\n"
        "print(msgspec.inspect.type_info(int))\n"
        "import urllib.parse; print(urllib.parse.quote('c d'))"
    )
    paths = [str(Path(quick.__file__).parents[2]), *(p for p in sys.path if p.endswith("site-packages"))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *paths], capture_output=True, text=True, check=True
    )
    loaded, real, kind, quoted = done.stdout.splitlines()
    unused = {
        "uuid",
        "decimal",
        "platform",
        "inspect",
        "typing_extensions",
        "msgspec.inspect",
        "urllib.parse",
    }
    assert {"msgspec", "pathlib"} <= set(loaded.split()) and not unused & set(loaded.split())
    assert real == "4 1.0 file:///a%20b"
    assert kind.startswith("IntType") and quoted == "c%20d"


def test_what_was_noted_is_found(project: Path) -> None:
    name = add(project)
    assert look(project) == [str(project / "store" / name)]


def test_no_answer_without_a_store_or_a_note(project: Path) -> None:
    assert look(project) is None
    Store.open(project / "store").close()
    assert look(project) is None


def test_no_answer_when_a_file_of_the_project_has_changed(project: Path) -> None:
    add(project)
    with (project / "derivations/other/recipe.toml").open("a") as file:
        file.write("# a comment\n")
    assert look(project) is None


def test_no_answer_when_the_object_was_altered_or_removed(project: Path) -> None:
    path = project / "store" / add(project)
    (path / "file").chmod(0o644)
    assert look(project) is None
    path.chmod(0o755)
    path.rename(project / "elsewhere")
    assert look(project) is None


def test_no_answer_when_the_database_was_touched(project: Path) -> None:
    add(project)
    os.utime(project / "store/.hermetic/db.sqlite")
    assert look(project) is None


def test_no_answer_when_the_use_must_be_noted_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(project)
    later = time.time() + quick.USED + 10
    monkeypatch.setattr(time, "time", lambda: later)
    assert look(project) is None


def test_no_answer_from_a_damaged_note(project: Path) -> None:
    add(project)
    for note in (project / "store/.hermetic/eval").iterdir():
        note.write_bytes(note.read_bytes()[:-1] + b"?")
    assert look(project) is None


def show(project: Path, target: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the whole program prints for `show`."""
    assert main.run(["--project", str(project), "show", target]) == 0
    return capsys.readouterr().out


def test_what_show_printed_is_printed_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--project", str(project), "show", "app"]
    show(project, "app", capsys)
    assert entry.known(args) is None  # there is no store that could keep it
    Store.open(project / "store").close()
    text = show(project, "app", capsys)
    assert entry.known(args) == text
    assert entry.known([*args, "--recursive"]) is entry.known([*args, "other"]) is None


def test_show_is_not_answered_when_anything_has_changed(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ["--project", str(project), "show", "app"]
    Store.open(project / "store").close()
    text = show(project, "app", capsys)
    with monkeypatch.context() as patch:
        patch.setattr(shown, "_PRINTER", ("show.py",))  # as if the code that prints were another one
        assert entry.known(args) is None
    assert entry.known(args) == text
    with (project / "derivations/other/recipe.toml").open("a") as file:
        file.write("# a comment\n")
    assert entry.known(args) is None


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 16])
def test_files_are_read_whole_whatever_their_size(project: Path, size: int) -> None:
    (project / "derivations/other/large").write_bytes(b"x" * size)
    files = worktree.read(str(project))
    assert files["derivations/other/large"] == b"x" * size
    (project / "derivations/other/large").write_bytes(b"x" * size + b"y")
    assert worktree.fingerprint(worktree.read(str(project))) != worktree.fingerprint(files)


@pytest.mark.parametrize("args", [["realize", "nope"], ["verify", "nope"], ["verify", "app@nowhere"]])
def test_a_simple_command_line_ends_like_any_other(
    project: Path, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    code = main.run(["--project", str(project), *args])
    expected = capsys.readouterr()
    simple = entry._simple(["--project", str(project), *args])
    assert simple == (str(project), os.environ.get("HERMETIC_STORE"), args[0], args[1:])
    with pytest.raises(SystemExit) as ended:
        plain.main(*simple)
    assert (ended.value.code, capsys.readouterr()) == (code, expected)
    assert code != 0


@pytest.mark.parametrize("args", [["-v", "app"], ["app", "--keep-going"], ["--help"], ["app", "-j", "1"], []])
def test_options_are_left_to_the_parser(args: list[str]) -> None:
    assert entry._simple(["realize", *args]) is None
    assert entry._simple(["--debug", "realize", "app"]) is None
    assert entry._simple(["gc", "app"]) is None
