"""The commands show, tree, why-depends and diff, on a project on disk."""

from __future__ import annotations

import json

import pytest

from tests.support.project import Project


@pytest.fixture
def three(project: Project) -> Project:
    """app over lib, which has a source with a patch and two versions, and a tool."""
    project.source("lib", {"text": "one\n"})
    project.source("lib", {"text": "two\n"}, version="2.0")
    change = "--- a/text\n+++ b/text\n@@ -1 +1 @@\n-one\n+patched\n"
    project.write("patches/lib/0001-text.patch", change)
    project.recipe("tool", ': > "$out/x"', systems=["x86_64"])
    project.recipe("lib", 'cp text "$out/"', source="lib", patches=["0001-text.patch"], build_inputs=["tool"])
    project.recipe("app", 'cp "$lib/text" "$out/"\n: end\n', host_inputs=["lib"], build_inputs=["tool"])
    return project


def test_show_prints_all_that_the_hash_covers(three: Project) -> None:
    shown = three.ok("show", "app-aarch64").json()
    assert shown["kind"] == "build"
    assert shown["system"] == "aarch64-linux-musl"
    assert shown["script"] == 'cp "$lib/text" "$out/"\n: end\n'
    lib = shown["inputs"]["/hermetic/aarch64-linux-musl/lib"]
    assert lib["name"] == "lib-1.0 (aarch64)"
    everything = three.ok("show", "-r", "app-aarch64").json()
    assert everything[shown["id"]]["inputs"]["/hermetic/aarch64-linux-musl/lib"] == lib["derivation"]
    assert {"fetch", "unpack", "build"} == {record["kind"] for record in everything.values()}
    patches = [p["name"] for r in everything.values() for p in r.get("patches", [])]
    assert patches == ["0001-text.patch"]
    assert "http" not in json.dumps(everything)
    assert str(three.root) not in json.dumps(everything)


def test_tree_shows_an_input_where_it_is_needed_first(three: Project) -> None:
    assert three.ok("tree", "app").out == (
        "app-1 (x86_64)\n"
        "└─ lib-1.0 (x86_64)\n"
        "   └─ tool-1 (x86_64)\n"
        "      └─ busybox-1.35.0 (unpacked) [seed]\n"
    )


def test_tree_draws_each_derivation_once(three: Project) -> None:
    assert three.ok("tree", "--all", "app").out == (
        "app-1 (x86_64)\n"
        "├─ busybox-1.35.0 (unpacked) [seed]\n"
        "├─ lib-1.0 (x86_64)\n"
        "│  ├─ busybox-1.35.0 (unpacked) [seed]\n"
        "│  └─ tool-1 (x86_64)\n"
        "│     └─ busybox-1.35.0 (unpacked) [seed]\n"
        "└─ tool-1 (x86_64) (*)\n"
    )
    with_sources = three.ok("tree", "--sources", "--ids", "app").out
    assert "lib-1.0 (source)" in with_sources
    assert three.ok("show", "app").json()["id"] in with_sources


def test_why_depends_gives_the_shortest_chain(three: Project) -> None:
    assert three.ok("why-depends", "app", "tool").out == "app-1 (x86_64)\n└─ tool-1 (x86_64)\n"
    chain = three.ok("why-depends", "app", "lib-1.0 (source)").out
    assert (
        chain == "app-1 (x86_64)\n└─ lib-1.0 (x86_64)\n   └─ lib-1.0 (unpacked)\n      └─ lib-1.0 (source)\n"
    )
    ran = three.run("why-depends", "tool", "lib")
    assert (ran.code, ran.out) == (1, "")
    assert "tool does not depend on lib" in ran.err
    ran = three.run("why-depends", "app", "toool")
    assert ran.code == 2
    assert '"tool"' in ran.err


def test_diff_of_two_targets_and_of_two_versions(three: Project) -> None:
    told = three.ok("diff", "app", "app-aarch64").out
    assert "app-1 (x86_64) → app-1 (aarch64)\n    system: x86_64-linux-musl → aarch64-linux-musl\n" in told
    assert "    input differs: lib-1.0 (x86_64) → lib-1.0 (aarch64)\n" in told
    told = three.ok("diff", "lib", "lib-2.0").out
    assert "lib-1.0 (x86_64) → lib-2.0 (x86_64)\n    version: 1.0 → 2.0\n" in told
    assert "lib-1.0 (source) → lib-2.0 (source)\n" in told
    assert "    sha256: " in told
    same = three.ok("diff", "app", "app-x86_64").out
    assert same == f"the same derivation: {three.ok('show', 'app').json()['id']}\n"


def test_diff_against_a_git_revision_tells_the_edit(three: Project) -> None:
    three.commit()
    three.edit("derivations/app/build.sh", ": end", ": another end")
    three.edit("derivations/lib/recipe.toml", "patches", "timeout = 77\npatches")
    assert three.ok("diff", "app@HEAD", "app").out == (
        "app-1 (x86_64)\n    build.sh:2: - : end\n    build.sh:2: + : another end\n"
    )
    three.edit("patches/lib/0001-text.patch", "+patched", "+better")
    (change, *below) = three.ok("diff", "--json", "app@HEAD", "app").json()
    assert change["through"] == ["lib-1.0 (x86_64)"]
    assert below[-1]["causes"] == [
        "patch 0001-text.patch:5: - +patched",
        "patch 0001-text.patch:5: + +better",
    ]
    three.commit()
    assert three.ok("diff", "app@HEAD", "app").out.startswith("the same derivation")
    assert three.ok("diff", "app@HEAD~1", "app@HEAD").out != ""


def test_diff_looks_at_a_project_that_is_a_folder_of_a_checkout(three: Project) -> None:
    """The root of the git checkout may lie above the project."""
    three.root = three.root.rename(three.root.with_name("moved"))
    above = three.root.parent / "checkout"
    above.mkdir()
    three.root = three.root.rename(above / "project")
    inner, three.root = three.root, above
    three.commit()
    three.root = inner
    three.edit("derivations/app/build.sh", ": end", ": another end")
    assert "build.sh:2: - : end" in three.ok("diff", "app@HEAD", "app").out
