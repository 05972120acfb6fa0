"""Which targets a project has, and what is known of them without a store."""

from __future__ import annotations

from pathlib import Path

import pytest

import hermetic
from hermetic.derivation import targets
from hermetic.derivation.instantiate import Evaluator, split_system
from hermetic.derivation.step import Target
from hermetic.errors import UsageError
from hermetic.systems import SYSTEMS
from tests.support.project_files import BASE, edited, files, pin

APP = "derivations/app/recipe.toml"
MAIN = '[meta]\nmain-program = "bin/app"\n'
HASH = "a" * 52


def several(**changes: str) -> dict[str, bytes]:
    """`app` is a main recipe in three versions, the newest of which is made for aarch64 alone."""
    sections = '[version."1.10"]\nsystems = ["aarch64"]\n'
    lock = BASE["flake-like.lock"] + pin("app", "1.9") + pin("app", "1.10") + '[default]\napp = "1.0"\n'
    expected = f'[expect.aarch64-linux-musl]\n"app-1.9" = "{HASH}"\n'
    recipe = BASE[APP].replace("[env]", f"{sections}[env]") + MAIN
    return files(**{"flake-like.lock": lock + expected, APP: recipe, **changes})


def labels(found: list[Target]) -> list[str]:
    return [target.label for target in found]


def test_the_main_recipes_have_a_program_and_several_systems() -> None:
    tool = BASE["derivations/tool/recipe.toml"] + 'systems = ["x86_64"]\n' + MAIN
    flavour = f'name = "app-tests"\nextends = "app"\n{MAIN}'
    changes = {"derivations/tool/recipe.toml": tool, "derivations/app-tests/recipe.toml": flavour}
    evaluator = Evaluator(several(**changes))
    assert targets.main_recipes(evaluator) == ["app"]
    assert labels(targets.for_all_systems(evaluator, ["app-tests"]))[0] == "app-tests-x86_64"


def test_all_systems_are_those_that_the_version_is_made_for_in_the_order_of_the_table() -> None:
    evaluator = Evaluator(several())
    assert labels(targets.for_all_systems(evaluator)) == [f"app-{arch}" for arch in SYSTEMS]
    assert labels(targets.for_all_systems(evaluator, ["app-1.10"])) == ["app-1.10-aarch64"]
    assert labels(targets.for_all_systems(evaluator, ["userland", "userland"])) == ["userland-x86_64"]


def test_each_target_is_the_one_that_its_name_asks_for() -> None:
    evaluator = Evaluator(several())
    for target in targets.of_all_versions(evaluator):
        assert evaluator.parse_target(target.label) == target


def test_all_versions_begin_with_the_default_one_and_are_sorted_as_people_do() -> None:
    found = targets.of_all_versions(Evaluator(several()))
    versions = list(dict.fromkeys(target.versions.get("app", "default") for target in found))
    assert versions == ["default", "1.9", "1.10"]
    one = targets.of_all_versions(Evaluator(several()), ["app-1.9"])
    assert labels(one) == [f"app-1.9-{arch}" for arch in SYSTEMS]


def test_a_recipe_that_the_build_machine_cannot_run_has_targets_too() -> None:
    evaluator = Evaluator(
        edited("derivations/other/recipe.toml", "version", 'systems = ["aarch64"]\nversion')
    )
    assert labels(targets.for_all_systems(evaluator, ["other"])) == ["other-aarch64"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("app-aarch64", "app-aarch64 is for aarch64 alone, but all systems are asked for"),
        ("app-1.9-x86_64", "app-1.9-x86_64 is for x86_64 alone"),
        ("ap", "unknown target 'ap'"),
        ("app-7", "no version '7' of app is pinned"),
    ],
)
def test_a_name_that_means_something_else_is_an_error(name: str, words: str) -> None:
    for find in (targets.for_all_systems, targets.of_all_versions):
        with pytest.raises(UsageError) as caught:
            find(Evaluator(several()), [name])
        assert words in caught.value.message


def test_without_main_recipes_one_must_be_named() -> None:
    with pytest.raises(UsageError) as caught:
        targets.for_all_systems(Evaluator(files()))
    assert "name recipes: app, " in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "rest", "arch"),
    [
        ("app-aarch64", "app", "aarch64"),
        ("app-1.0-x86_64", "app-1.0", "x86_64"),
        ("app", "app", None),
        ("x86_64", "x86_64", None),
        ("-x86_64", "-x86_64", None),
        ("build-python", "build-python", None),
    ],
)
def test_a_system_is_split_from_a_target(text: str, rest: str, arch: str | None) -> None:
    name, system = split_system(text)
    assert (name, system.arch if system else None) == (rest, arch)


def test_what_is_known_of_a_target_needs_no_store(tmp_path: Path) -> None:
    for name, data in several().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    session = hermetic.Session(tmp_path)
    known = {info.target: info for info in session.targets()}
    assert not session.store_path.exists()
    info = known["app-1.9-aarch64"]
    assert (info.version, info.system, info.bits, info.endian) == ("1.9", "aarch64-linux-musl", 64, "little")
    assert (info.triple, info.cpu, info.emulator) == ("aarch64-linux-musl", "armv8-a", "qemu-aarch64")
    assert (info.expected, info.object) == (HASH, "")
    assert known["app-aarch64"].expected == ""
    assert [info.seed for info in session.targets(["busybox"])] == [True]
