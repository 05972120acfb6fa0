"""Damaged input through the whole program: some cases of every kind, and what longer runs have found.

`python -m tests.bad_input` is the long form.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hermetic import filesystem
from hermetic.project import worktree
from tests.bad_input import report
from tests.bad_input.__main__ import run
from tests.bad_input.judge import KINDS, Result
from tests.bad_input.world import World
from tests.support.project import Project

CASES = 30  # of each kind
SEED = 20_010  # among these are a named pipe, and an archive that would lead far out of the store

pytestmark = pytest.mark.usefixtures("template")  # which skips where there is no sandbox or no seed


@pytest.fixture(scope="module")
def results() -> dict[str, list[Result]]:
    every = run([(kind, SEED + n) for kind in KINDS for n in range(CASES)], jobs=2)
    return {kind: [result for result in every if result.kind == kind] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_input_is_accepted_or_refused_in_words(kind: str, results: dict[str, list[Result]]) -> None:
    bad = report.wrong(results[kind])
    assert not bad, "\n".join(map(report.shown, bad))


@pytest.mark.parametrize("kind", KINDS)
def test_the_damage_is_real_and_not_all_of_it_is_refused_at_once(
    kind: str, results: dict[str, list[Result]]
) -> None:
    codes = {run.code for result in results[kind] for run in result.runs}
    assert 0 in codes
    assert len(codes) > 1
    assert len({result.case.what for result in results[kind]}) > 3


def test_the_same_seed_makes_the_same_case(tmp_path: Path) -> None:
    from random import Random

    world = World(tmp_path)
    for kind, module in KINDS.items():
        made = []
        for name in ("one", "two"):
            place = world.copy(tmp_path / name / "place")
            case = module.damage(Random(f"{kind} 3"), world, place)
            made.append(json.dumps([case.what, repr(case.commands)]).replace(f"/{name}/", "/"))
        assert made[0] == made[1]
        for name in ("one", "two"):
            os.rename(tmp_path / name, tmp_path / f"{kind}-{name}")  # noqa: PTH104


# -- what stands where a file is expected


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (_fifo, "is a named pipe"),
    "endless": (_endless, "is a device"),
    "folder": (_folder, "is a directory"),
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    make, words = ODD[request.param]
    make(tmp_path / "odd")
    yield tmp_path / "odd", words


def test_only_ordinary_files_are_read(odd: tuple[Path, str]) -> None:
    path, words = odd
    with pytest.raises(OSError, match=words):
        filesystem.whole(str(path), 10)


def test_a_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert filesystem.whole(str(tmp_path / "file"), 5) == b"12345"
    with pytest.raises(OSError, match="the file has 5 bytes"):
        filesystem.whole(str(tmp_path / "file"), 4)


def test_a_link_to_a_folder_in_a_project_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "flake-like.lock").touch()
    (tmp_path / "derivations").mkdir()
    (tmp_path / "derivations/round").symlink_to(".")
    with pytest.raises(OSError, match="not followed"):
        worktree.read(str(tmp_path))


@pytest.mark.parametrize("place", ["tmp", "trash", "locks", "roots"])
def test_a_folder_of_the_store_that_leads_elsewhere_is_refused(
    project: Project, tmp_path: Path, place: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/precious").write_text("x")
    folder = project.store / ".hermetic" / place
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "mine")
    ran = project.run("gc")
    assert ran.code == 1
    assert f"{folder} is a symbolic link, and should be a directory" in ran.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious"]
    folder.unlink()
    project.ok("gc")  # the folder is made anew, as the hint says


@pytest.mark.parametrize("file", ["locks/gc.lock", "db.checked", "reserve", "db.sqlite-wal"])
def test_nothing_is_written_through_a_link(project: Project, tmp_path: Path, file: str) -> None:
    (tmp_path / "mine").write_text("precious")
    path = project.store / ".hermetic" / file
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "mine")
    project.recipe("new", ': > "$out/here"')
    project.run("realize", "new")
    assert (tmp_path / "mine").read_text() == "precious"


# -- values in the database that SQLite allows


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("size", b"\xff"), ("size", "many"), ("size", -1), ("last_used", b"x"), ("registered_at", 2**60),
        ("sentinel", 1e308), ("name", "../../x"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_so_is_named(project: Project, column: str, value: object) -> None:
    with closing(sqlite3.connect(project.store / ".hermetic/db.sqlite", isolation_level=None)) as database:
        row = "(SELECT max(rowid) FROM objects)"
        database.execute(f"UPDATE objects SET {column} = ? WHERE rowid = {row}", (value,))
    for command in (["store", "path-info"], ["store", "du"], ["gc"], ["store", "verify"]):
        ran = project.run(*command)
        assert ran.code == 1
        assert "is corrupt: the row of object" in ran.err
        assert "rebuild-db" in ran.err
    project.ok("store", "rebuild-db")
    project.ok("store", "verify")


def test_a_realisation_of_an_object_that_is_not_registered_is_said(project: Project) -> None:
    with closing(sqlite3.connect(project.store / ".hermetic/db.sqlite", isolation_level=None)) as database:
        database.execute("DELETE FROM objects")
    ran = project.run("store", "path-info", "busybox")
    assert ran.code == 1
    assert "is not in the store" in ran.err


def test_rebuild_db_says_as_json_where_the_old_database_is(project: Project) -> None:
    found = project.ok("store", "rebuild-db", "--json").json()
    assert found["objects"] > 0
    assert Path(found["old"]).is_file()


# -- command lines


@pytest.mark.parametrize(
    "args", [["realize", "\udcac"], ["store", "verify", "\udce2x"], ["root", "add", "x", "\udcac"]]
)
def test_an_argument_that_is_not_utf_8_is_an_unknown_target(project: Project, args: list[str]) -> None:
    ran = project.run(*args)
    assert ran.code == 2
    assert "unknown target" in ran.err


def test_a_mistyped_project_makes_no_store(project: Project, tmp_path: Path) -> None:
    project.root.rename(tmp_path / "elsewhere")
    store = project.store.rename(tmp_path / "moved")
    assert project.run("gc").code == 2
    assert not project.store.exists()
    assert store.exists()


def test_a_store_may_be_named_from_where_one_is(project: Project, tmp_path: Path) -> None:
    project.recipe("new", ': > "$out/here"')
    project.store.rename(tmp_path / "other")
    (tmp_path / "work").mkdir()
    ran = project.ok("--store", "../other", "realize", "new", cwd=tmp_path / "work")
    assert ran.paths[0].parent == tmp_path / "other"


def test_a_message_does_not_fill_the_screen(project: Project) -> None:
    project.write("derivations/x/recipe.toml", f'name = "x"\nsource = "y"\n[version."{"y" * 100_000}!"]\n')
    ran = project.run("show", "x")
    assert ran.code == 1
    assert ran.err.startswith('hermetic: error: derivations/x/recipe.toml:3: "yyy')
    assert len(ran.err) < 3000


def test_a_log_is_not_looked_for_outside_of_the_store(project: Project, tmp_path: Path) -> None:
    (tmp_path / "mine.log").write_text("private")
    ran = project.run("log", str(tmp_path / "mine"))
    assert ran.code == 2
    assert ran.out == ""


def test_what_an_error_quotes_does_not_reach_the_terminal_raw(project: Project) -> None:
    project.write("derivations/x/recipe.toml", 'name = \x1b[31m"x"\n')
    ran = project.run("show", "x")
    assert ran.code == 1
    assert "\x1b" not in ran.err
    assert "\\x1b[31m" in ran.err


# -- builds


def nested(name: str, times: int) -> str:
    """A script that makes folders in folders."""
    return (
        f'p=; i=0; while [ $i -lt {times} ]; do p="${{p}}{name}/"; i=$((i+1)); done; busybox mkdir -p "$p"\n'
    )


def test_a_build_may_leave_folders_nested_deeper_than_python_calls(project: Project) -> None:
    project.recipe("deep", nested("d", 1200) + ': > "$out/here"', build_inputs=["busybox"])
    project.realized("deep")
    assert project.leftovers() == []


def test_an_output_nested_too_deeply_is_refused_in_words(project: Project) -> None:
    script = f'cd "$out"; {nested("d" * 200, 15)} cd "$p"; {nested("d" * 200, 15)}'
    project.recipe("deep", script, build_inputs=["busybox"])
    ran = project.run("realize", "deep")
    assert ran.code == 100
    assert "the path of this directory has over 3000 bytes" in ran.err
    assert project.leftovers() == []
