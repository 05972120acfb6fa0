"""What comes of a verification: expected bytes in the lock, and a table to be committed."""

from __future__ import annotations

import tomllib

import pytest

from tests.support.project import Project

FLICKERING = 'head -c 8 /dev/urandom > "$out/x"'


@pytest.fixture
def chain(project: Project) -> Project:
    project.recipe("library", 'echo library > "$out/x"')
    project.recipe("app", 'cat "$library/x" > "$out/x"', **{"host-inputs": ["library"]})
    return project


def expected(project: Project) -> dict[str, str]:
    lock = tomllib.loads((project.root / "flake-like.lock").read_text())
    return lock.get("expect", {}).get("x86_64-linux-musl", {})  # type: ignore[no-any-return]


def test_accept_writes_what_was_verified_and_nothing_else(chain: Project) -> None:
    chain.ok("verify", "--perturb", "jobs", "--accept", "app")
    assert list(expected(chain)) == ["app-1"]
    ran = chain.ok("verify", "--closure", "--perturb", "jobs", "--accept", "app")
    assert "library-1" in ran.err
    assert {f"{content}-{name}" for name, content in expected(chain).items()} == {
        path.name for target in ("app", "library") for path in chain.ok("realize", target).paths
    }
    again = chain.ok("verify", "--closure", "--perturb", "jobs", "--accept", "app")
    assert "expects all of this already" in again.err


def test_a_fresh_build_with_other_bytes_is_said(chain: Project) -> None:
    chain.ok("verify", "--closure", "--perturb", "jobs", "--accept", "app")
    chain.recipe("library", 'echo another > "$out/x"')
    ran = chain.ok("realize", "app")
    assert ran.err.count("flake-like.lock expects other bytes") == 2
    assert "flake-like.lock expects" not in chain.ok("realize", "app").err


def test_what_differs_is_not_accepted(chain: Project) -> None:
    chain.recipe("app", FLICKERING)
    ran = chain.run("verify", "--perturb", "jobs", "--accept", "app")
    assert ran.code == 104
    assert expected(chain) == {}


def test_the_report_has_a_line_for_each_derivation(chain: Project) -> None:
    chain.recipe("app", FLICKERING, **{"host-inputs": ["library"]})
    file = chain.root / "report.md"
    args = ("verify", "--closure", "--perturb", "jobs", "--rounds", "2", "--report", str(file), "app")
    assert chain.run(*args).code == 104
    text = file.read_text()
    assert "Rebuilt: app. 2 of 4 rebuilds gave the same bytes." in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == [
        "| derivation",
        "| app-1 (x86_64)",
        "| library-1 (x86_64)",
    ]
    assert "| 2 | " in lines[1]
    assert "**differs**" in lines[1]
    assert "the same bytes" in lines[2]


def test_a_report_for_which_there_is_no_folder_is_refused_before_the_work(chain: Project) -> None:
    ran = chain.run("verify", "--report", "/nowhere/at/all.md", "app")
    assert ran.code == 2
    assert "--report /nowhere/at/all.md: no such directory" in ran.err
    assert not chain.objects("app")
