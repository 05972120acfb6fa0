"""What the command line promises whatever the command: streams, exit codes, words for mistakes, help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hermetic.cli.main import COMMANDS, cli, run
from tests.support.project import REPOSITORY, Project


def small(project: Project) -> None:
    """A recipe without sources, and one that nobody else has."""
    project.recipe("app", 'echo hello > "$out/x"', systems=["x86_64"])
    project.recipe("library", ': > "$out/x"')


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text_that_begins_with_a_sentence(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0, result.exception
    usage, _, text = result.output.partition("\n\n")
    assert f" {command} " in usage
    sentence = " ".join(text.partition("\n\n")[0].split())
    assert len(sentence) > 20
    assert sentence[0].isupper()
    assert "." in sentence


def test_help_names_every_command_and_every_exit_code() -> None:
    text = CliRunner().invoke(cli, ["-h"]).output
    for command, (_, summary) in COMMANDS.items():
        assert command in text
        assert summary.split(",")[0].split(";")[0][:30] in text
    for code in (0, 1, 2, 100, 101, 102, 104, 130):
        assert re.search(rf"\b{code} [a-z]", " ".join(text.partition("Exit codes:")[2].split())), code


def test_without_a_command_the_help_is_shown(project: Project) -> None:
    command = [sys.executable, "-m", "hermetic"]
    done = subprocess.run(command, env=project.environment, capture_output=True, text=True)
    assert "Commands:" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["realise", "app"], ["unknown command 'realise'", 'hint: did you mean "realize"?']),
        (["realize"], ["realize needs a TARGET", "hint: usage: hermetic realize [OPTIONS] TARGET..."]),
        (["why-live"], ["why-live needs an OBJECT"]),
        (
            ["root", "add", "mine"],
            ["root add needs an OBJECT", "hermetic root add [OPTIONS] NAME OBJECT"],
        ),
        (["root", "lst"], ["unknown command 'root lst'", 'did you mean "list"?']),
        (["store", "zzz"], ["unknown command 'store zzz'", "known here: delete, du"]),
        (
            ["show", "app", "b", "c"],
            ["show takes no further argument: b c", "hermetic show [OPTIONS] TARGET"],
        ),
        (["realize", "app", "-j"], ["-j needs a value"]),
        (["gc", "--json=3"], ["--json takes no value"]),
        (["realize", "--zzz", "app"], ["realize has no option --zzz", "`hermetic realize --help` lists all"]),
        (["root", "list", "--jsn"], ["root list has no option --jsn", 'did you mean "--json"?']),
        (["realize", "--jbos", "2", "app"], ["realize has no option --jbos", 'hint: did you mean "--jobs"?']),
        (["realize", "-j", "0", "app"], ["--jobs: '0' is not a whole number from 1 to 1024"]),
        (["realize", "-j", "many", "app"], ["--jobs: 'many' is not a whole number"]),
        (["gc", "--keep-recent", "-1"], ["--keep-recent: '-1' is not a number of days such as 7 or 0.5"]),
        (["realize", "ap"], ["unknown target 'ap'", 'hint: did you mean "app"?']),
        (
            ["show", "librari-aarch64"],
            ["unknown target 'librari-aarch64'", 'did you mean "library-aarch64"?'],
        ),
        (["realize", "library-aarch46"], ["unknown system 'aarch46'", "aarch64"]),
        (["realize", "app-aarch64"], ["app is not made for aarch64", "supports: x86_64"]),
        (["realize", "busybox-9.9"], ["no version '9.9' of busybox is pinned", "pinned: 1.35.0"]),
        (["diff", "app", "lbrary"], ["unknown target 'lbrary'", 'did you mean "library"?']),
        (["show", "app@nosuchrevision"], ["cannot read revision 'nosuchrevision'"]),
        (["verify"], ["verify needs a TARGET"]),
        (["verify", "--perturb", "hostnam", "app"], ["unknown perturbation 'hostnam'", "hostname"]),
        (["root", "remove", "nobody"], ["no root 'nobody'"]),
        (["root", "add", "mine", "/nowhere/x"], ["/nowhere/x is not in the store"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_a_mistake_is_named_with_what_may_have_been_meant(
    project: Project, args: list[str], words: list[str]
) -> None:
    small(project)
    ran = project.run(*args)
    assert (ran.code, ran.out) == (2, "")
    for word in words:
        assert word in ran.err
    assert ran.err.startswith("hermetic: error: ")
    assert all(line.startswith(("hermetic: error: ", "hint: ")) for line in ran.err.splitlines())


def test_outside_of_a_project_the_missing_file_is_named(project: Project, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    command = [sys.executable, "-m", "hermetic"]
    done = subprocess.run(
        [*command, "realize", "app"], cwd=nowhere, env=project.environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"no flake-like.lock in {nowhere} or in a directory above it" in done.stderr
    assert "hint: " in done.stderr
    done = subprocess.run(
        [*command, "--project", "/no/such", "realize", "app"],
        cwd=nowhere,
        env=project.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "project /no/such: no such directory" in done.stderr


def test_a_folder_deep_in_the_project_will_do(project: Project) -> None:
    small(project)
    command = [sys.executable, "-m", "hermetic", "show", "app"]
    done = subprocess.run(
        command, cwd=project.root / "derivations/app", env=project.environment, capture_output=True
    )
    assert done.returncode == 0
    assert b'"name": "app"' in done.stdout


def test_a_traceback_is_shown_with_debug_alone(project: Project) -> None:
    small(project)
    project.edit("derivations/app/recipe.toml", "version", "versoin")
    plain = project.run("realize", "app")
    assert plain.code == 1
    assert "hermetic: error: derivations/app/recipe.toml:4: " in plain.err
    assert 'hint: did you mean "version"?' in plain.err
    assert "Traceback" not in plain.err
    where = ["--project", str(project.root), "--store", str(project.store)]
    command = [sys.executable, "-m", "hermetic", "--debug", *where, "realize", "app"]
    done = subprocess.run(command, env=project.environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["show", "app"],
        ["show", "-r", "app"],
        ["tree", "app"],
        ["realize", "app"],
        ["realize", "--json", "app"],
        ["log", "app"],
    ],
)
def test_a_reader_that_goes_away_is_no_error_to_shout_about(project: Project, args: list[str]) -> None:
    small(project)
    project.edit("derivations/app/build.sh", "echo", "yes | head -c 300000; echo")
    project.realized("app")
    for _ in range(2):  # the second time, realize has nothing to do
        reading, writing = os.pipe()
        os.close(reading)
        with project.start(*args, stdout=writing) as running:
            os.close(writing)
            _, err = running.communicate(timeout=30)
        assert "Traceback" not in err
        assert "BrokenPipe" not in err
        assert "Exception ignored" not in err
        assert running.returncode in (0, 1)


def test_realize_of_what_is_built_loads_no_code_that_fetches_or_builds(project: Project) -> None:
    small(project)
    project.realized("app")
    code = (
        "import sys\nfrom hermetic.cli.main import run\nrun(sys.argv[1:])\n"
        "bad = ('httpx', 'rich', 'hermetic.sandbox', 'hermetic.realize', 'hermetic.sources',"
        " 'hermetic.verify', 'concurrent.futures', 'asyncio', 'subprocess')\n"
        "print([m for m in bad if m in sys.modules], file=sys.stderr)\n"
    )
    for args in (project.command("realize", "app")[3:], ["--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args], env=project.environment, capture_output=True, text=True
        )
        assert done.stderr.splitlines()[-1] == "[]", args


def test_the_store_can_be_named_by_the_environment(project: Project, tmp_path: Path) -> None:
    small(project)
    command = [sys.executable, "-m", "hermetic", "--project", str(project.root), "realize", "app"]
    environment = {**project.environment, "HERMETIC_STORE": str(project.store)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert Path(done.stdout.strip()).parent == project.store


def test_roots_are_added_listed_and_removed(project: Project) -> None:
    small(project)
    path = project.realized("app")
    for name, target in (("mine", "app"), ("yours", str(path)), ("theirs", path.name)):
        project.ok("root", "add", name, target)
    listed = [r for r in project.ok("root", "list", "--json").json() if r["kind"] != "seed"]
    assert sorted(r["name"] for r in listed) == ["mine", "theirs", "yours"]
    assert {r["object"] for r in listed} == {path.name}
    project.ok("root", "remove", "mine")
    text = project.ok("root", "list").out
    assert "mine" not in text
    assert path.name in text
    ran = project.run("root", "add", "early", "library")
    assert ran.code == 1
    assert "library is not realized" in ran.err
    assert "hint: run `hermetic realize library` first" in ran.err


def test_seeds_are_all_that_is_not_built_from_source(project: Project) -> None:
    small(project)
    (seed,) = project.ok("seeds", "--json").json()
    assert (seed["name"], seed["version"]) == ("busybox", "1.35.0")
    text = project.ok("seeds").out
    for value in (seed["sha256"], seed["blake3"], f"{seed['size']:,} bytes"):
        assert value in text


def test_errors_come_back_as_codes_and_never_as_exceptions(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--project", str(project.root), "--store", str(project.store)]
    assert run([*where, "realize", "nothing"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hermetic: error: unknown target 'nothing'\n")
    assert "\nhint: " in captured.err


def test_the_readme_names_every_command() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert [c for c in COMMANDS if f"hermetic {c}" not in readme] == []
