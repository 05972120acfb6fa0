"""What a project builds: the command targets, and realize and verify for all systems at once."""

from __future__ import annotations

import pytest

from hermetic.systems import SYSTEMS
from tests.support.project import Project

MAIN = {"main-program": "bin/app"}


@pytest.fixture
def two(project: Project) -> Project:
    """A main recipe in two versions, over a tool of the build system."""
    project.source("app", {"text": "one\n"})
    project.source("app", {"text": "two\n"}, version="2.0")
    project.recipe("tool", ': > "$out/x"', systems=["x86_64"])
    project.recipe(
        "app", 'cat text > "$out/x"; echo "$arch" >> "$out/x"', source="app", build_inputs=["tool"], meta=MAIN
    )
    return project


def test_targets_are_listed_for_each_system_and_version(two: Project) -> None:
    lines = [line.split() for line in two.ok("targets").out.splitlines()]
    assert [line[0] for line in lines] == [
        "target",
        *(f"app-{arch}" for arch in SYSTEMS),
        *(f"app-2.0-{arch}" for arch in SYSTEMS),
    ]
    arm = next(line for line in lines if line[0] == "app-2.0-aarch64")
    assert " ".join(arm[1:]) == "2.0 aarch64-linux-musl armv8-a little 64 qemu-aarch64 not verified"
    assert next(line for line in lines if line[0] == "app-x86_64")[6] == "natively"


def test_the_columns_of_the_list_are_aligned(two: Project) -> None:
    head, *rows = two.ok("targets", "app-2.0").out.splitlines()
    for row, system in zip(rows, SYSTEMS.values(), strict=True):
        for title, value in (
            ("version", "2.0"),
            ("triple", system.triple),
            ("CPU", system.cpu),
            ("bytes", system.endian),
            ("bits", str(system.bits)),
            ("content hash", "not verified"),
        ):
            at = head.index(title)
            assert f"  {value}  " in f"{row[at - 2 :]}  "[: len(value) + 4], row


def test_what_is_in_the_store_is_marked(two: Project) -> None:
    path = two.realized("app-aarch64")
    (line,) = [x for x in two.ok("targets").out.splitlines() if x.startswith("app-aarch64 ")]
    assert line.endswith("not verified, in the store")
    two.ok("verify", "--accept", "app-aarch64")
    content = path.name.partition("-")[0]
    (line,) = [x for x in two.ok("targets").out.splitlines() if x.startswith("app-aarch64 ")]
    assert line.endswith(f"  {content}, in the store")
    by_target = {record["target"]: record for record in two.ok("targets", "--json", "app-1.0").json()}
    assert by_target["app-1.0-aarch64"]["object"] == path.name
    assert by_target["app-1.0-aarch64"]["expected"] == content
    assert by_target["app-1.0-x86_64"]["object"] == ""


def test_other_bytes_than_expected_are_told_apart(two: Project) -> None:
    two.realized("app-aarch64")
    two.ok("verify", "--accept", "app-aarch64")
    two.edit("derivations/app/build.sh", '"$arch"', '"$arch" more')
    two.realized("app-aarch64")
    (line,) = [x for x in two.ok("targets").out.splitlines() if x.startswith("app-aarch64 ")]
    assert line.endswith(", the store has other bytes")


def test_all_systems_are_realized_in_one_run(two: Project) -> None:
    ran = two.ok("realize", "--all", "-v")
    assert [path.joinpath("x").read_text() for path in ran.paths] == [f"one\n{arch}\n" for arch in SYSTEMS]
    assert ran.err.count("built tool-1") == 1
    assert ran.err.count("at most ") == 1
    again = two.ok("realize", "--all", "--json", "app-2.0", "tool").json()
    assert [r["target"] for r in again] == [*(f"app-2.0-{arch}" for arch in SYSTEMS), "tool-x86_64"]


def test_a_system_that_fails_stops_the_others_unless_they_shall_go_on(two: Project) -> None:
    two.edit("derivations/app/build.sh", "cat", '[ "$arch" != x86_64 ]; cat')
    stopped = two.run("realize", "--all", "--jobs", "1")
    assert stopped.code == 100
    assert "app-1.0 (x86_64)" in stopped.err
    ran = two.run("realize", "--all", "--keep-going")
    assert ran.code == 100
    others = [arch for arch in SYSTEMS if arch != "x86_64"]
    assert [path.joinpath("x").read_text() for path in ran.paths] == [f"one\n{arch}\n" for arch in others]


def test_all_systems_are_verified(two: Project) -> None:
    report = two.ok("verify", "--all", "--json", "--perturb", "umask").json()
    assert [v["label"] for v in report["verdicts"]] == [f"app-1.0 ({arch})" for arch in SYSTEMS]
    assert {v["status"] for v in report["verdicts"]} == {"reproducible"}


def test_what_cannot_be_built_keeps_others_from_being_verified_unless_they_shall_go_on(two: Project) -> None:
    two.recipe("base", '[ "$arch" != x86_64 ]; : > "$out/x"')
    two.edit("derivations/app/recipe.toml", 'source = "app"', 'source = "app"\nhost-inputs = ["base"]')
    one = ("--perturb", "umask")
    stopped = two.run("verify", "--all", *one)
    assert (stopped.code, stopped.out) == (100, "")
    ran = two.run("verify", "--all", "--keep-going", *one, "--report", str(two.root / "report.md"))
    assert ran.code == 100
    assert "app-1.0 (x86_64): NOT BUILT\n    base-1 (x86_64): " in ran.out
    assert "app-1.0 (aarch64): the same bytes" in ran.out
    others = f"{len(SYSTEMS) - 1} rebuild"
    assert f"not built, and so not verified: app-1.0 (x86_64); {others}" in ran.err
    report = (two.root / "report.md").read_text()
    assert "| app-1.0 (x86_64) | 0 of 1 |  | **not built** |" in report
    assert f"{len(SYSTEMS) - 1} of {len(SYSTEMS) - 1} rebuilds gave the same bytes" in report


def test_where_nothing_can_be_built_nothing_is_verified(two: Project) -> None:
    two.edit("derivations/app/build.sh", "cat", "false; cat")
    ran = two.run("verify", "--all", "-k")
    assert ran.code == 100
    assert ran.out.count("NOT BUILT") == len(SYSTEMS)
    assert "rebuild" not in ran.err


@pytest.mark.parametrize("command", ["realize", "verify"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["app-aarch64"], ["app-aarch64 is for aarch64 alone", "hint: leave -aarch64 out: app"]),
        (["app-3.0"], ["no version '3.0' of app is pinned"]),
    ],
)
def test_a_system_beside_all_is_a_mistake(
    two: Project, command: str, args: list[str], words: list[str]
) -> None:
    ran = two.run(command, "--all", *args)
    assert (ran.code, ran.out) == (2, "")
    for word in words:
        assert word in ran.err


def test_all_of_nothing_is_a_mistake(project: Project) -> None:
    ran = project.run("realize", "--all")
    assert ran.code == 2
    assert "no recipe has a main program and is made for several systems" in ran.err
