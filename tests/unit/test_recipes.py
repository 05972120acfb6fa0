"""Recipes are strict: what is wrong is named by file, line and value, with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.derivation.instantiate import Evaluator
from hermetic.derivation.value import Build, Unpack
from hermetic.errors import HermeticError, RecipeError, UsageError
from hermetic.project.files import find_root
from tests.projects import edited, files, instance

APP = "derivations/app/recipe.toml"
LIB = "derivations/lib/recipe.toml"

# what is wrong: (project, file:line, words of the message, words of the hint)
WRONG = {
    "an unknown field": (edited(APP, "[env]", "sourc = 1\n[env]"), f"{APP}:5", ["sourc"], "source"),
    "a wrong type": (edited(APP, '["lib"]', '"lib"'), f"{APP}:4", ["host-inputs", "lib"], None),
    "a wrong type in a table": (edited(APP, '"plain"', "3"), f"{APP}:6", ["FLAVOUR", "3"], None),
    "bad syntax": (edited(APP, '["lib"]', '["lib"'), f"{APP}:5", ["not valid TOML"], None),
    "an unknown input": (edited(APP, '["lib"]', '["libb"]'), f"{APP}:4", ["'libb'"], "lib"),
    "an unknown build input": (edited(APP, '["tool"]', '["tol"]'), f"{APP}:3", ["'tol'"], "tool"),
    "an unknown source": (edited(APP, 'source = "app"', 'source = "apq"'), f"{APP}:2", ["'apq'"], "app"),
    "a missing patch": (
        edited(LIB, "0002-b", "0002-c"),
        f"{LIB}:4",
        ["patches/lib/0002-c.patch"],
        "0002-b.patch",
    ),
    "an unknown system": (
        edited(APP, "[env]", 'systems = ["aarch46"]\n[env]'),
        f"{APP}:5",
        ["aarch46"],
        "aarch64",
    ),
    "an unknown target section": (
        edited(APP, "target.aarch64", "target.arch64"),
        f"{APP}:7",
        ["arch64"],
        "aarch64",
    ),
    "a name that is not the folder's": (
        edited(APP, '"app"\nsource', '"ap"\nsource'),
        f"{APP}:1",
        ["'ap'"],
        None,
    ),
    "an unknown toolchain": (
        edited(APP, "[env]", 'toolchain = "clan"\n[env]'),
        f"{APP}:5",
        ["toolchain", "clan"],
        "clang",
    ),
    "a variable that hermetic sets": (edited(APP, "FLAVOUR", "PATH"), f"{APP}:6", ["PATH"], "build.sh"),
    "a variable with a bad name": (edited(APP, "FLAVOUR", '"A-B"'), f"{APP}:6", ["A-B"], None),
    "no time": (edited(APP, "[env]", "timeout = 0\n[env]"), f"{APP}:5", ["timeout", "0"], None),
    "a seed with a script": (edited(APP, "[env]", "seed = true\n[env]"), f"{APP}:5", ["build.sh"], None),
    "a script that is not text": (
        {**files(), "derivations/app/build.sh": b"make\n\xff\n"},
        "derivations/app/build.sh:2",
        ["UTF-8"],
        None,
    ),
    "a cycle": (
        edited(LIB, 'build-inputs = ["tool"]', 'host-inputs = ["app"]'),
        f"{LIB}:3",
        ["app → lib → app"],
        None,
    ),
    "an input for another system": (
        edited("derivations/tool/recipe.toml", 'source = "tool"', 'source = "tool"\nsystems = ["aarch64"]'),
        f"{APP}:3",
        ["'tool'", "x86_64"],
        None,
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_named_by_file_line_value_and_remedy(what: str) -> None:
    project, where, words, hint = WRONG[what]
    with pytest.raises(RecipeError) as caught:
        instance(project)
    assert caught.value.message.startswith(f"{where}:"), caught.value.message
    for word in words:
        assert word in caught.value.message
    if hint:
        assert hint in (caught.value.hint or ""), caught.value.hint


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("ap-aarch64", "unknown target", "app-aarch64"),
        ("app-aarch46", "unknown system", "aarch64"),
        ("app-9.9", "no version '9.9'", "pinned: 1.0"),
        ("userland-aarch64", "not made for aarch64", "x86_64"),
        ("", "unknown target", ""),
    ],
)
def test_a_wrong_target_is_named_with_the_nearest_right_one(text: str, words: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Evaluator(files()).parse_target(text)
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_build_sees_logical_paths_only() -> None:
    graph = instance(files()).graph
    build = graph[graph.root]
    assert isinstance(build, Build)
    assert build.out == "/hermetic/aarch64-linux-musl/app"
    assert set(build.inputs) == {
        "/hermetic/aarch64-linux-musl/clang",
        "/hermetic/aarch64-linux-musl/lib",
        "/hermetic/x86_64-linux-musl/busybox",
        "/hermetic/x86_64-linux-musl/tool",
        "/hermetic/x86_64-linux-musl/userland",
    }
    for drv_id in graph.derivations:
        assert drv_id not in str(build.env) + build.script


def test_a_linked_library_is_found_by_the_compiler_and_a_tool_by_name() -> None:
    graph = instance(files()).graph
    build = graph[graph.root]
    assert isinstance(build, Build)
    assert build.env["CPPFLAGS"] == "-I/hermetic/aarch64-linux-musl/lib/include"
    assert build.env["lib"] == "/hermetic/aarch64-linux-musl/lib"
    assert "/hermetic/x86_64-linux-musl/tool/bin" in build.env["PATH"].split(":")
    assert build.env["PATH"].startswith("/hermetic/aarch64-linux-musl/clang/bin:")


def test_patches_belong_to_the_unpacked_source() -> None:
    graph = instance(files()).graph
    unpacked = [d for d in graph.derivations.values() if isinstance(d, Unpack) and d.name == "lib"]
    assert [p.name for u in unpacked for p in u.patches] == ["0001-a.patch", "0002-b.patch"]


def test_a_pinned_version_can_be_asked_for_by_name() -> None:
    from tests.projects import BASE, pin

    project = files(
        **{"flake-like.lock": BASE["flake-like.lock"] + '\n[default]\nlib = "1.0"\n' + pin("lib", "2.0")}
    )
    assert instance(project, "lib-2.0-aarch64").graph.root != instance(project, "lib-aarch64").graph.root
    assert instance(project, "lib-1.0-aarch64").graph.root == instance(project, "lib-aarch64").graph.root


def test_a_graph_may_be_deeper_than_pythons_stack() -> None:
    project = files()
    for n in range(3000):
        needs = f'host-inputs = ["n{n + 1}"]\n' if n < 2999 else ""
        project[f"derivations/n{n}/recipe.toml"] = f'name = "n{n}"\nversion = "1"\n{needs}'.encode()
        project[f"derivations/n{n}/build.sh"] = b"true\n"
    assert len(instance(project, "n0").graph.derivations) >= 3000


def test_a_folder_without_a_lock_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"flake-like\.lock"):
        find_root(tmp_path)


def test_every_error_is_one_of_ours() -> None:
    with pytest.raises(HermeticError):
        instance({**files(), "flake-like.lock": b"\xff\xfe"})
