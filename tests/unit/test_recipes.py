"""Recipes are strict: what is wrong is named by file, line and value, with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.derivation.instantiate import Evaluator
from hermetic.derivation.value import Build, Fetch, Unpack
from hermetic.errors import HermeticError, RecipeError, UsageError
from hermetic.project.files import find_root
from tests.support.project_files import BASE, edited, files, instance, pin

APP = "derivations/app/recipe.toml"
LIB = "derivations/lib/recipe.toml"
LOCK = "flake-like.lock"

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
    "a section for an unknown system": (
        edited(APP, "[env]", "[system.aarch46]\n[env]"),
        f"{APP}:5",
        ["aarch46"],
        "aarch64",
    ),
    "an unknown file": (
        edited(APP, "[env]", '[system.aarch64]\nextra-files = ["lip"]\n[env]'),
        f"{APP}:6",
        ["unknown source 'lip'"],
        "lib",
    ),
    "two files of one name": (
        edited(APP, "[env]", 'extra-files = ["busybox", "busybox"]\n[env]'),
        f"{APP}:5",
        ['"busybox-1.0.tar.gz"'],
        "once",
    ),
    "an unknown table": (
        edited(APP, "[env]", '[provide.env]\nCC = "gcc"\n[env]'),
        f"{APP}:5",
        ['"provide"'],
        "provides",
    ),
    "an unknown placeholder": (
        edited(APP, "system.debian", "system.debain"),
        f"{APP}:7",
        ["${system.debain}"],
        "system.debian",
    ),
    "an unknown field for one version": (
        edited(APP, "[env]", '[version."1"]\nbuild-input = []\n[env]'),
        f"{APP}:6",
        ["build-input"],
        "build-inputs",
    ),
    "an unknown system for one version": (
        edited(APP, "[env]", '[version."1"]\nsystems = ["arm"]\n[env]'),
        f"{APP}:6",
        ['"arm"'],
        None,
    ),
    "a bad variable for one version": (
        edited(APP, "[env]", '[version."1".env]\n"A-B" = "1"\n[env]'),
        f"{APP}:6",
        ['"A-B"'],
        None,
    ),
    "a patch left out that is not in the list": (
        edited(LIB, '"0002-b.patch"]', '"0002-b.patch"]\n[version."1"]\nwithout-patches = ["0002-c.patch"]'),
        f"{LIB}:6",
        ["0002-c.patch"],
        "0002-b.patch",
    ),
    "a bad beginning of a version": (
        edited(APP, "[env]", '[version."1 0"]\ntimeout = 1\n[env]'),
        f"{APP}:5",
        ['"1 0"'],
        None,
    ),
    "a version beside a source": (
        edited(APP, "[env]", 'version = "1"\n[env]'),
        f"{APP}:5",
        ["the lock"],
        "remove",
    ),
    "sections by version without a source": (
        {
            **files(),
            "derivations/other/recipe.toml": b'name = "other"\n[version."7"]\ntimeout = 3\n',
            APP: files()[APP].replace(b'["lib"]', b'["other"]'),
        },
        "derivations/other/recipe.toml:2",
        ["without a source"],
        'version = "1"',
    ),
    "a name that is not the folder's": (
        edited(APP, '"app"\nsource', '"ap"\nsource'),
        f"{APP}:1",
        ['"ap"'],
        None,
    ),
    "a toolchain that is none": (
        edited(APP, "[env]", 'toolchain = "tool"\n[env]'),
        f"{APP}:5",
        ['"tool" is not a toolchain'],
        "[provides]",
    ),
    "a second default toolchain": (
        edited(
            "derivations/tool/recipe.toml", 'source = "tool"', 'source = "tool"\n[provides]\ndefault = true'
        ),
        "derivations/tool/recipe.toml",
        ["default", "clang"],
        "toolchain",
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


def test_extra_files_are_not_unpacked_and_depend_on_the_system() -> None:
    project = edited(APP, "[env]", 'extra-files = ["tool"]\n[system.aarch64]\nextra-files = ["lib"]\n[env]')
    for target, names in (("app-aarch64", {"tool", "lib"}), ("app-x86_64", {"tool"})):
        graph = instance(project, target).graph
        sources = build_of(project, target).sources
        found = {path: graph[drv_id] for path, drv_id in sources.items() if path != "/build/source"}
        assert found.keys() == {f"/build/files/{name}-1.0.tar.gz" for name in names}
        assert all(isinstance(drv, Fetch) for drv in found.values())


def test_a_pinned_version_can_be_asked_for_by_name() -> None:
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


def build_of(project: dict[str, bytes], target: str) -> Build:
    """The derivation of a target itself."""
    graph = instance(project, target).graph
    build = graph[graph.root]
    assert isinstance(build, Build)
    return build


def test_a_recipe_gets_the_spellings_of_its_system_from_one_row() -> None:
    assert build_of(files(), "app-aarch64").env["BOARD"] == "arm64"
    assert build_of(files(), "app-x86_64").env["BOARD"] == "amd64"


def test_shell_syntax_in_an_environment_stays() -> None:
    project = edited(APP, '"plain"', '"${HOME:-x} $system.musl ${system} ${}"')
    assert build_of(project, "app").env["FLAVOUR"] == "${HOME:-x} $system.musl ${system} ${}"


def test_a_toolchain_is_a_recipe_and_hermetic_knows_none_by_name() -> None:
    second = files(
        **{
            "derivations/gcc/recipe.toml": 'name = "gcc"\nversion = "14"\ntoolchain = "none"\n'
            'build-inputs = ["userland"]\npropagated-host-inputs = ["other"]\n'
            '[provides.env]\nCC = "gcc"\nSPECS = "${prefix}/specs"\n[provides.build-env]\nBUILD_CC = "gcc"\n',
            "derivations/gcc/build.sh": "install-gcc\n",
            "derivations/other/recipe.toml": 'name = "other"\nversion = "7"\ntoolchain = "none"\n',
            APP: BASE[APP].replace("[env]", 'toolchain = "gcc"\n[env]'),
        }
    )
    build = build_of(second, "app-aarch64")
    assert build.env["CC"] == "gcc"
    assert build.env["SPECS"] == "/hermetic/aarch64-linux-musl/gcc/specs"
    assert build.env["PATH"].split(":")[0] == "/hermetic/aarch64-linux-musl/gcc/bin"
    assert "/hermetic/aarch64-linux-musl/other" in build.inputs
    assert "CONFIG_SITE" not in build.env and "/hermetic/aarch64-linux-musl/clang" not in build.inputs
    assert build_of(second, "tool").env["CC"] == "cc"  # the default one


def test_a_toolchain_among_the_build_inputs_compiles_what_runs_while_building() -> None:
    project = edited(APP, 'build-inputs = ["tool"]', 'build-inputs = ["tool", "clang"]')
    env = build_of(project, "app-aarch64").env
    assert env["CC_FOR_BUILD"] == "/hermetic/x86_64-linux-musl/clang/bin/cc"
    assert "CC_FOR_BUILD" not in build_of(files(), "app-aarch64").env


def test_tools_that_stand_last_on_the_path_lose_to_all_others() -> None:
    project = edited("derivations/tool/recipe.toml", 'name = "tool"', 'name = "tool"\npath = "last"')
    project[APP] = BASE[APP].replace('["tool"]', '["tool", "zzz"]').encode()
    project["derivations/zzz/recipe.toml"] = b'name = "zzz"\nversion = "1"\ntoolchain = "none"\n'
    project["derivations/zzz/build.sh"] = b"true\n"
    names = [p.split("/")[3] for p in build_of(project, "app").env["PATH"].split(":")]
    assert names.index("zzz") < names.index("tool")
    hidden = edited("derivations/tool/recipe.toml", 'name = "tool"', 'name = "tool"\npath = "none"')
    assert "/tool/" not in build_of(hidden, "app").env["PATH"]


LINES = (
    '[version."2"]\nhost-inputs = []\n[version."2".env]\nNEW = "2"\n'
    '[version."2.5"]\npatches = []\n[version."2.5".env]\nFLAVOUR = "late"\n[env]'
)


@pytest.mark.parametrize(
    ("version", "inputs", "flavour", "new"),
    [
        ("1.0", {"clang", "lib"}, "plain", None),
        ("2.0", {"clang"}, "plain", "2"),
        ("2.5.1", {"clang", "lib"}, "late", None),  # only the most specific section
        ("20.1", {"clang", "lib"}, "plain", None),
    ],
)
def test_a_section_by_version_is_for_the_versions_that_begin_so(
    version: str, inputs: set[str], flavour: str, new: str | None
) -> None:
    project = edited(APP, "[env]", LINES)
    pins = "" if version == "1.0" else pin("app", version)
    project[LOCK] = (BASE[LOCK] + '\n[default]\napp = "1.0"\n' + pins).encode()
    build = build_of(project, f"app-{version}-aarch64")
    on_host = {p.rpartition("/")[2] for p in build.inputs if "aarch64" in p}
    assert (on_host, build.env["FLAVOUR"], build.env.get("NEW")) == (inputs, flavour, new)


def patches_of(project: dict[str, bytes], target: str) -> list[tuple[str, str]]:
    """Name and text of each patch of a target's source."""
    graph = instance(project, target).graph
    unpacked = graph[build_of(project, target).sources["/build/source"]]
    assert isinstance(unpacked, Unpack)
    return [(patch.name, patch.text) for patch in unpacked.patches]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0", [("0001-a.patch", "general"), ("0002-b.patch", "general b")]),
        ("2.0", [("0001-a.patch", "for 2")]),
        ("2.5.1", [("0001-a.patch", "for 2.5"), ("0002-b.patch", "general b")]),
        ("20.1", [("0001-a.patch", "general"), ("0002-b.patch", "general b")]),
    ],
)
def test_a_patch_may_be_another_for_a_line_or_left_out(version: str, expected: list[tuple[str, str]]) -> None:
    list_of_patches = 'patches = ["0001-a.patch", "0002-b.patch"]\n'
    left_out = f'{list_of_patches}[version."2"]\nwithout-patches = ["0002-b.patch"]\n[version."2.5"]\n'
    project = edited(LIB, list_of_patches, left_out)
    project[LOCK] = (BASE[LOCK] + '\n[default]\nlib = "1.0"\n').encode()
    if version != "1.0":
        project[LOCK] += pin("lib", version).encode()
    project["patches/lib/0001-a.patch"] = b"general"
    project["patches/lib/0002-b.patch"] = b"general b"
    project["patches/lib/2/0001-a.patch"] = b"for 2"
    project["patches/lib/2.5/0001-a.patch"] = b"for 2.5"
    assert patches_of(project, f"lib-{version}-aarch64") == expected


def test_a_version_may_be_made_for_fewer_systems() -> None:
    project = edited(APP, "[env]", '[version."1"]\nsystems = ["x86_64"]\n[env]')
    with pytest.raises(UsageError, match="not made for aarch64"):
        instance(project, "app-aarch64")


def test_libraries_stand_in_the_order_of_their_names() -> None:
    """Not in that of the recipe, which says a set."""
    project = edited("derivations/app/recipe.toml", '["lib"]', '["other", "lib"]')
    graph = instance(project, "app-aarch64").graph
    build = graph[graph.root]
    assert isinstance(build, Build)
    lib, other = (f"/hermetic/aarch64-linux-musl/{name}" for name in ("lib", "other"))
    assert build.env["LDFLAGS"] == f"-L{lib}/lib -L{other}/lib"
    assert build.env["CPPFLAGS"] == f"-I{lib}/include -I{other}/include"
    assert build.env["PKG_CONFIG_LIBDIR"] == f"{lib}/lib/pkgconfig:{other}/lib/pkgconfig"
