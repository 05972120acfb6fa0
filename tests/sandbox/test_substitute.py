"""`--substitute`: outputs come from another store if it has them, and never without being checked."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermetic.gc import collection
from hermetic.store.store import Store
from tests.support.processes import eventually
from tests.support.project import Project, Ran
from tests.support.servers import serving

COPY = 'cp "$lib/text" "$out/text"\n'


class Two:
    """A project, the store in which all of it is realized, and an empty store of the same project.

    Attributes:
        other: the store that has everything. made: what `realize app` printed there.
    """

    def __init__(self, project: Project, realized: Path) -> None:
        describe(project)
        self.project = project
        self.other = project.store.with_name("other")
        shutil.copytree(realized, self.other, symlinks=True)
        self.made = self.object("app-1")
        project.store = project.store.with_name("new")

    def object(self, label: str) -> Path:
        """The object of that name in the other store."""
        (found,) = self.other.glob(f"*-{label}")
        return found

    def realize(self, *args: str, target: str = "app") -> Ran:
        return self.project.run("realize", *args, "--substitute", str(self.other), target)

    def downloads(self) -> int:
        """How many requests the server has had since."""
        return len(self.project.server.requests)

    def substitute_from(self, *stores: Path) -> Ran:
        """Realize `app`, which must succeed."""
        options = [word for store in stores for word in ("--substitute", str(store))]
        return self.project.ok("realize", *options, "app")


def describe(project: Project) -> None:
    """Recipes of two: `app` is made with `lib`, and `lib` from a source."""
    script = COPY + 'echo "#!/bin/sh" > "$out/run"; chmod 755 "$out/run"'
    project.source("lib", {"text": "hello\n", "more/words": "and more\n"})
    project.recipe("lib", 'cp -r . "$out"', source="lib")
    project.recipe("app", script, host_inputs=["lib"])


@pytest.fixture(scope="module")
def realized(tmp_path_factory: pytest.TempPathFactory, template: Any) -> Path:
    """A store in which all of it is realized; each test has a copy."""
    store, *seed = template
    with serving() as server:
        project = Project(tmp_path_factory.mktemp("realized"), server, *seed)
        shutil.copytree(store, project.store, symlinks=True)
        describe(project)
        project.realized("app")
    return project.store


@pytest.fixture
def two(empty: Project, realized: Path) -> Two:
    return Two(empty, realized)


def everything(store: Path) -> dict[str, tuple[int, ...]]:
    """The status of all files of a store, without the times of access."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(store.rglob("*")):
        s = path.lstat()
        found[str(path.relative_to(store))] = (s.st_mode, s.st_ino, s.st_nlink, s.st_mtime_ns, s.st_ctime_ns)
    return found


def test_what_another_store_has_is_copied_and_its_inputs_are_not_looked_at(two: Two) -> None:
    before = everything(two.other)
    ran = two.realize()
    assert ran.code == 0, ran.err
    (path,) = ran.paths
    assert path == two.project.store / two.made.name
    assert (path / "text").read_text() == "hello\n"
    assert two.downloads() == 0
    assert two.project.objects() == ["app-1"]
    assert "at most 1 step: 0 builds, 1 to substitute" in ran.err
    assert f"substituted app-1 (x86_64) from {two.other} in " in ran.err
    assert "building" not in ran.err
    assert everything(two.other) == before
    assert two.project.ok("realize", "app") == (0, ran.out, "")
    two.project.ok("store", "verify")
    assert two.project.leftovers() == []


def test_json_says_where_an_output_came_from(two: Two) -> None:
    (output,) = two.realize("--json").json()
    assert output["substituted_from"] == str(two.other)
    (output,) = two.realize("--json").json()
    assert output["substituted_from"] is None


def test_dry_run_says_what_would_be_substituted_and_changes_nothing(two: Two) -> None:
    two.project.edit("derivations/app/build.sh", "$out/run", "$out/walk")
    ran = two.realize("--dry-run")
    told = [line for line in ran.err.splitlines() if line.startswith("would")]
    assert f"would substitute lib-1.0 (x86_64) from {two.other}" in told
    assert "would build app-1 (x86_64)" in told
    assert not [line for line in told if "fetch" in line or "unpack lib" in line]
    assert two.project.objects() == []


def test_the_setting_names_several_stores_that_are_asked_in_order(two: Two, tmp_path: Path) -> None:
    first = tmp_path / "first"
    Store.open(first).close()
    two.project.environment["HERMETIC_SUBSTITUTE"] = f"{first}:{two.other}"
    ran = two.project.ok("realize", "app")
    assert f"substituted app-1 (x86_64) from {two.other}" in ran.err
    other = two.project.store = two.project.store.with_name("third")
    shutil.copytree(two.other, tmp_path / "copy", symlinks=True)
    ran = two.substitute_from(tmp_path / "copy", two.other)
    assert f"substituted app-1 (x86_64) from {tmp_path / 'copy'}" in ran.err
    assert ran.paths[0].parent == other


def test_a_source_is_substituted_too_which_helps_offline(two: Two) -> None:
    shutil.rmtree(two.object("app-1"))
    (two.other / ".hermetic/realisations" / f"{two.project.ok('show', 'app').json()['id']}.json").unlink()
    two.project.edit("derivations/lib/build.sh", "cp -r", "echo another; cp -r")
    ran = two.realize("--offline")
    assert ran.code == 0, ran.err
    assert "substituted lib-1.0 (unpacked)" in ran.err
    assert "built lib-1.0 (x86_64)" in ran.err
    assert two.downloads() == 0
    # Of an archive that is needed: only what nobody has is missing.
    two.project.source("more", {"x": "x"})
    two.project.recipe("more", source="more")
    two.project.recipe("both", ': > "$out/x"', host_inputs=["lib", "more"])
    two.project.store = two.project.store.with_name("third")
    ran = two.realize("--offline", target="both")
    assert ran.code == 1
    assert "offline, and 1 source is not in the store" in ran.err
    assert "more 1.0" in ran.err
    assert "lib 1.0" not in ran.err


def test_another_derivation_with_the_same_build_key_is_found_once_the_key_is_known(two: Two) -> None:
    two.project.edit("derivations/lib/build.sh", "cp -r", "# a comment\ncp -r")
    ran = two.realize()
    assert ran.code == 0, ran.err
    assert "built lib-1.0 (x86_64)" in ran.err
    assert f"substituted app-1 (x86_64) from {two.other}" in ran.err
    assert "building app-1" not in ran.err
    assert ran.paths[0].name == two.made.name


def test_what_is_realized_for_other_commands_is_substituted_too(two: Two) -> None:
    source = ("--substitute", str(two.other))
    ran = two.project.ok("shell", *source, "-c", 'cat "$lib/text"', "app")
    assert ran.out == "hello\n"
    assert f"substituted lib-1.0 (x86_64) from {two.other}" in ran.err
    ran = two.project.ok("run", *source, "--program", "run", "app")
    assert f"substituted app-1 (x86_64) from {two.other}" in ran.err
    two.project.store = two.project.store.with_name("third")
    ran = two.project.ok("verify", *source, "app")
    assert "app-1 (x86_64): the same bytes" in ran.out
    assert two.downloads() == 0


def test_a_substituted_object_outlives_a_collection_like_any_other(two: Two) -> None:
    path = two.realize("-o", str(two.project.root / "result")).paths[0]
    two.project.ok("gc")
    assert path.is_dir()
    (two.project.root / "result").unlink()
    two.project.ok("gc")
    assert not path.exists()


# -- what is wrong with the other store


def flip(path: Path) -> None:
    """Another byte of the same length and time."""
    status = path.lstat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 2)


def remove(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()


def add(path: Path) -> None:
    path.parent.chmod(0o755)
    path.with_name("extra").write_text("")


def make_executable(path: Path) -> None:
    path.chmod(0o555)


def make_fifo(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def lose(path: Path) -> None:
    shutil.rmtree(path.parent)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "bit flip": (flip, "content hash"),
    "truncated": (cut, "content hash"),
    "missing file": (remove, "content hash"),
    "extra file": (add, "content hash"),
    "wrong mode": (make_executable, "content hash"),
    "named pipe": (make_fifo, "fifo"),
    "missing object": (lose, "is not in that store"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_object_is_named_and_built_instead_with_inputs_wanted_only_then(
    two: Two, damage: str
) -> None:
    spoil, words = DAMAGE[damage]
    spoil(two.object("app-1") / "text")
    ran = two.realize()
    assert ran.code == 0, ran.err
    (line,) = [line for line in ran.err.splitlines() if "not substituted" in line]
    assert f"app-1 (x86_64): not substituted from {two.other}: " in line
    assert words in line
    assert "built app-1 (x86_64)" in ran.err
    assert "substituted lib-1.0 (x86_64)" in ran.err
    assert two.project.objects() == ["app-1", "busybox-1.35.0", "lib-1.0"]
    assert ran.paths[0].name == two.made.name
    assert (ran.paths[0] / "text").read_text() == "hello\n"
    assert "1 to substitute" in ran.err
    two.project.ok("store", "verify")
    assert two.project.leftovers() == []


def test_modes_and_times_that_do_not_count_are_put_right(two: Two) -> None:
    path = two.object("app-1") / "text"
    path.chmod(0o640)
    os.utime(path, (1, 1))
    ran = two.realize()
    assert "substituted app-1" in ran.err
    status = (ran.paths[0] / "text").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime, status.st_nlink) == (0o444, 0, 1)


def test_where_the_first_store_is_damaged_the_next_is_asked(two: Two, tmp_path: Path) -> None:
    shutil.copytree(two.other, tmp_path / "copy", symlinks=True)
    flip(two.object("app-1") / "text")
    ran = two.substitute_from(two.other, tmp_path / "copy")
    assert f"not substituted from {two.other}: " in ran.err
    assert f"substituted app-1 (x86_64) from {tmp_path / 'copy'}" in ran.err
    assert two.project.objects() == ["app-1"]


def test_damage_all_the_way_down_ends_with_a_build_from_the_sources(two: Two) -> None:
    for label in ("app-1", "lib-1.0"):
        for path in two.other.glob(f"*-{label}"):
            flip(path if path.is_file() else path / "text")
    ran = two.realize()
    assert ran.code == 0, ran.err
    assert ran.paths[0].name == two.made.name
    assert two.downloads() == 1
    assert "built lib-1.0" in ran.err
    assert ran.err.count("not substituted") == 4  # app, lib, lib unpacked, its archive


def test_damage_is_found_offline_too_and_what_is_missing_then_is_named(two: Two) -> None:
    for label in ("app-1", "lib-1.0"):
        for path in two.other.glob(f"*-{label}"):
            flip(path if path.is_file() else path / "text")
    for options in ((), ("--keep-going",)):
        ran = two.realize("--offline", *options)
        assert ran.code == 1
        assert "offline, and 1 source is not in the store" in ran.err
        assert "lib 1.0" in ran.err
        assert two.downloads() == 0
        assert "app-1" not in two.project.objects()


def test_what_the_lock_expects_is_not_taken_from_a_store_that_has_something_else(two: Two) -> None:
    expected = "a" * 52
    two.project.write(
        "flake-like.lock",
        (two.project.root / "flake-like.lock").read_text()
        + f'\n[expect.x86_64-linux-musl]\n"app-1" = "{expected}"\n',
    )
    ran = two.realize()
    assert ran.code == 0, ran.err
    assert f"not substituted from {two.other}: flake-like.lock expects the content hash {expected}" in ran.err
    assert "built app-1" in ran.err


def test_a_lying_record_is_refused(two: Two) -> None:
    drv_id = two.project.ok("show", "app").json()["id"]
    record = two.other / ".hermetic/realisations" / f"{drv_id}.json"
    text = record.read_text()
    record.write_text(text.replace(two.made.name, _lib(two)))
    ran = two.realize()
    assert ran.code == 0, ran.err
    assert f"not substituted from {two.other}: it names {_lib(two)} as the output" in ran.err
    assert ran.paths[0].name == two.made.name


def _lib(two: Two) -> str:
    """The name of the library's object that was built."""
    return next(p.name for p in two.other.glob("*-lib-1.0") if (p / "more").is_dir())


@pytest.mark.parametrize("text", ["", "{", '{"drv_id": 1}', "\0"])
def test_a_record_that_cannot_be_read_is_none(two: Two, text: str) -> None:
    for record in (two.other / ".hermetic/realisations").iterdir():
        record.write_text(text)
    ran = two.realize()
    assert ran.code == 0, ran.err
    assert "substituted" not in ran.err
    assert ran.paths[0].name == two.made.name


def test_a_store_with_a_damaged_database_left_by_a_killed_process_serves_all_the_same(two: Two) -> None:
    meta = two.other / ".hermetic"
    (meta / "db.sqlite").write_bytes(b"not a database")
    (meta / "db.sqlite-wal").write_bytes(b"rest")
    (meta / "tmp/left").mkdir()
    before = everything(two.other)
    ran = two.realize()
    assert f"substituted app-1 (x86_64) from {two.other}" in ran.err
    assert everything(two.other) == before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no such directory"),
        (lambda path: path.mkdir(), "it is not a store"),
        (lambda path: path.write_text(""), "there is no such directory"),
        (lambda path: _store_of_version(path, "9"), "is a store of version 9; this program knows version"),
    ],
)
def test_what_is_no_store_is_wrong_usage(two: Two, make: Callable[[Path], object], words: str) -> None:
    path = two.project.root / "elsewhere"
    make(path)
    for arguments, environment in (
        (("--substitute", str(path)), {}),
        ((), {"HERMETIC_SUBSTITUTE": str(path)}),
    ):
        ran = two.project.run("realize", *arguments, "app", env={**two.project.environment, **environment})
        assert ran.code == 2
        assert f"cannot substitute from {path}: " in ran.err
        assert words in ran.err
        assert two.project.objects() == []


def _store_of_version(path: Path, version: str) -> None:
    Store.open(path).close()
    (path / ".hermetic/version").write_text(version)


def test_the_store_itself_is_no_substituter(two: Two) -> None:
    Store.open(two.project.store).close()
    ran = two.substitute_from(two.project.store, two.other)
    assert f"substituted app-1 (x86_64) from {two.other}" in ran.err
    shutil.rmtree(ran.paths[0])
    ran = two.substitute_from(two.project.store)
    assert "substituted" not in ran.err


def test_a_collection_in_the_other_store_meanwhile_costs_a_build_and_nothing_else(two: Two) -> None:
    """Many rounds of a copy and a collection, which begin at the same time."""
    for number in range(4):
        copy = two.other.with_name(f"copy-{number}")
        shutil.copytree(two.other, copy, symlinks=True)
        two.project.store = two.other.with_name(f"new-{number}")
        with Store.open(copy) as store:
            thread = threading.Thread(target=collection.collect_garbage, args=(store,))
            with two.project.start("realize", "--substitute", str(copy), "app") as process:
                if number % 2:
                    two.project.log(process, "at most")
                thread.start()
                out, err = process.communicate(timeout=60)
            thread.join()
        assert process.returncode == 0, err
        assert Path(out.strip()).name == two.made.name
        two.project.ok("store", "verify")
        assert two.project.leftovers() == []


def test_two_processes_that_substitute_the_same_do_it_once(two: Two) -> None:
    with (
        two.project.start("realize", "--substitute", str(two.other), "app") as one,
        two.project.start("realize", "--substitute", str(two.other), "app") as other,
    ):
        results = [p.communicate(timeout=60) for p in (one, other)]
    assert [p.returncode for p in (one, other)] == [0, 0], results
    assert results[0][0] == results[1][0]
    assert "built" not in results[0][1] + results[1][1]
    assert two.project.leftovers() == []


def test_a_process_that_is_killed_while_it_copies_has_registered_nothing(two: Two) -> None:
    """The object has so many files that the process cannot be through before it is killed."""
    script = 'i=0; while [ $i -lt 4000 ]; do echo $i > "$out/$i"; i=$((i+1)); done'
    two.project.recipe("many", script)
    mine, two.project.store = two.project.store, two.other
    name = two.project.realized("many").name
    two.project.store = mine
    Store.open(mine).close()
    tmp = mine / ".hermetic/tmp"
    with two.project.start("realize", "--substitute", str(two.other), "many") as process:
        assert eventually(lambda: list(tmp.glob("substitute-*/object/*")), 30)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (mine / name).exists()
    assert list(tmp.glob("substitute-*"))
    ran = two.realize(target="many")
    assert f"substituted many-1 (x86_64) from {two.other}" in ran.err
    assert ran.paths[0].name == name
    two.project.ok("store", "verify")
    assert two.project.leftovers() == []
