"""Why two derivations differ, in words."""

from __future__ import annotations

import pytest

from hermetic.derivation.difference import explain
from tests.support.project_files import BASE, edited, files, instance

APP = "derivations/app/recipe.toml"


def differences(left: dict[str, bytes], right: dict[str, bytes], one: str = "app", other: str = "app") -> str:
    """The whole explanation as text, one line for each cause."""
    a, b = instance(left, one).graph, instance(right, other).graph
    changes = explain(a.derivations, a.root, b.derivations, b.root)
    lines = []
    for change in changes:
        name = change.left if change.left == change.right else f"{change.left} → {change.right}"
        lines += [f"{name}: {cause}" for cause in change.causes]
        lines += [f"{name} through {below}" for below in change.through]
    return "\n".join(lines)


# edit: (project, lines of the explanation)
EDITS = {
    "a line of a script": (
        edited("derivations/app/build.sh", "make\n", "make -s\n"),
        "app-1.0 (x86_64): build.sh:2: - make\napp-1.0 (x86_64): build.sh:2: + make -s",
    ),
    "a line more": (
        edited("derivations/app/build.sh", "make install\n", "make install\nrm x\n"),
        "app-1.0 (x86_64): build.sh:4: + rm x",
    ),
    "a variable": (
        edited(APP, '"plain"', '"sweet"'),
        "app-1.0 (x86_64): environment FLAVOUR: 'plain' → 'sweet'",
    ),
    "a variable more": (
        edited(APP, 'FLAVOUR = "plain"', 'FLAVOUR = "plain"\nMORE = "1"'),
        "app-1.0 (x86_64): environment MORE: added, '1'",
    ),
    "the order of patches": (
        edited(
            "derivations/lib/recipe.toml",
            '["0001-a.patch", "0002-b.patch"]',
            '["0002-b.patch", "0001-a.patch"]',
        ),
        "app-1.0 (x86_64) through lib-1.0 (x86_64)\nlib-1.0 (x86_64) through lib-1.0 (unpacked)\n"
        "lib-1.0 (unpacked): order of patches: 0001-a.patch, 0002-b.patch → 0002-b.patch, 0001-a.patch",
    ),
    "a line of a patch": (
        edited("patches/lib/0002-b.patch", "+b", "+c"),
        "app-1.0 (x86_64) through lib-1.0 (x86_64)\nlib-1.0 (x86_64) through lib-1.0 (unpacked)\n"
        "lib-1.0 (unpacked): patch 0002-b.patch:5: - +b\nlib-1.0 (unpacked): patch 0002-b.patch:5: + +c",
    ),
    "a patch less": (
        edited("derivations/lib/recipe.toml", ', "0002-b.patch"', ""),
        "app-1.0 (x86_64) through lib-1.0 (x86_64)\nlib-1.0 (x86_64) through lib-1.0 (unpacked)\n"
        "lib-1.0 (unpacked): patch 0002-b.patch: removed",
    ),
    "nothing": (files(), ""),
    "a comment in TOML": (edited(APP, "[env]", "# a comment\n[env]"), ""),
    "an unrelated recipe": (edited("derivations/other/build.sh", "true", "false"), ""),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_told_down_to_the_field_the_input_and_the_line(edit: str) -> None:
    project, expected = EDITS[edit]
    assert differences(files(), project) == expected


def test_an_input_that_is_gone_is_named() -> None:
    told = differences(files(), edited(APP, 'host-inputs = ["lib"]\n', ""))
    assert "app-1.0 (x86_64): input /hermetic/x86_64-linux-musl/lib: removed" in told
    assert "app-1.0 (x86_64): environment lib: removed, was '/hermetic/x86_64-linux-musl/lib'" in told


def test_a_change_deep_below_is_told_once_with_the_way_to_it() -> None:
    told = differences(files(), edited("derivations/userland/build.sh", "install", "put"))
    assert told.count("build.sh:1: - install-applets") == 1
    assert "app-1.0 (x86_64) through userland-1 (x86_64)" in told


def test_two_targets_differ_by_what_follows_from_the_system_and_says_so() -> None:
    told = differences(files(), files(), "lib", "lib-aarch64")
    assert "lib-1.0 (x86_64) → lib-1.0 (aarch64): system: x86_64-linux-musl → aarch64-linux-musl" in told
    assert "cpu: x86-64 → armv8-a" in told
    assert "environment arch: 'x86_64' → 'aarch64'" in told
    assert "build.sh" not in told
    assert "removed" not in told
    assert "added" not in told


def test_two_different_recipes_can_be_compared() -> None:
    told = differences(files(), files(), "app", "lib")
    assert "app-1.0 (x86_64) → lib-1.0 (x86_64): name: app → lib" in told


def test_the_base_of_these_tests_is_sound() -> None:
    assert instance({name: text.encode() for name, text in BASE.items()}).graph.root
