"""A recipe may say only how it differs from another one."""

from __future__ import annotations

import pytest

from hermetic.derivation.instantiate import Evaluator
from hermetic.derivation.value import Build, Unpack
from hermetic.errors import RecipeError
from tests.support.project_files import BASE, files, instance, pin, root

LIB = "derivations/lib/recipe.toml"
MORE = "derivations/lib-more/recipe.toml"
MORE_TEXT = 'name = "lib-more"\nextends = "lib"\npatches = ["0003-c.patch"]\n[env]\nTASTE = "sweet"\n'
MORE_PATCH = "patches/lib-more/0003-c.patch"


def extended(**changes: str | None) -> dict[str, bytes]:
    """The base project with an extension of `lib`, some files replaced."""
    return files(**{MORE: MORE_TEXT, MORE_PATCH: "--- a/z\n+++ b/z\n@@ -1 +1 @@\n-c\n+d\n", **changes})


def build_of(project: dict[str, bytes], target: str) -> Build:
    graph = instance(project, target).graph
    build = graph[graph.root]
    assert isinstance(build, Build)
    return build


def patches_of(project: dict[str, bytes], target: str) -> list[str]:
    graph = instance(project, target).graph
    unpacked = graph[build_of(project, target).sources["/build/source"]]
    assert isinstance(unpacked, Unpack)
    return [patch.name for patch in unpacked.patches]


def test_an_extension_has_the_script_the_inputs_and_the_patches_of_its_base() -> None:
    base, more = (build_of(extended(), f"{name}-aarch64") for name in ("lib", "lib-more"))
    assert more.script == base.script
    assert more.inputs == base.inputs
    assert more.env == {
        **base.env,
        "name": "lib-more",
        "out": "/hermetic/aarch64-linux-musl/lib-more",
        "TASTE": "sweet",
    }
    assert patches_of(extended(), "lib-more") == ["0001-a.patch", "0002-b.patch", "0003-c.patch"]


def test_the_base_is_not_touched_by_what_extends_it() -> None:
    assert root(extended(), "lib-aarch64") == root(files(), "lib-aarch64")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("derivations/lib/build.sh", "make all\n"),
        ("patches/lib/0001-a.patch", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+z\n"),
        (MORE_PATCH, "--- a/z\n+++ b/z\n@@ -1 +1 @@\n-c\n+z\n"),
        (MORE, MORE_TEXT.replace("sweet", "sour")),
        (LIB, BASE[LIB] + '[env]\nTASTE = "salty"\nMORE = "1"\n'),
    ],
)
def test_the_hash_of_an_extension_covers_its_base(name: str, text: str) -> None:
    assert root(extended(**{name: text}), "lib-more") != root(extended(), "lib-more")


def test_a_variable_of_the_extension_wins() -> None:
    project = extended(**{LIB: BASE[LIB] + '[env]\nTASTE = "salty"\nMORE = "1"\n'})
    env = build_of(project, "lib-more").env
    assert (env["TASTE"], env["MORE"]) == ("sweet", "1")


def test_a_script_of_its_own_takes_the_place_of_the_other() -> None:
    project = extended(**{"derivations/lib-more/build.sh": "make more\n"})
    assert build_of(project, "lib-more").script == "make more\n"


def test_sections_by_version_of_both_apply() -> None:
    project = extended(
        **{
            LIB: BASE[LIB] + '[version."2"]\npatches = ["0002-b.patch"]\n[version."2".env]\nOLD = "2"\n',
            MORE: MORE_TEXT + '[version."2"]\npatches = []\n[version."2".env]\nTASTE = "two"\n',
            "flake-like.lock": BASE["flake-like.lock"] + '\n[default]\nlib = "1.0"\n' + pin("lib", "2.0"),
        }
    )
    assert patches_of(project, "lib-more-2.0") == ["0002-b.patch"]
    env = build_of(project, "lib-more-2.0").env
    assert (env["OLD"], env["TASTE"], env["version"]) == ("2", "two", "2.0")
    assert build_of(project, "lib-more").env["TASTE"] == "sweet"


def test_an_extension_may_be_extended() -> None:
    project = extended(
        **{"derivations/most/recipe.toml": 'name = "most"\nextends = "lib-more"\n[env]\nTASTE = "bitter"\n'}
    )
    assert build_of(project, "most").env["TASTE"] == "bitter"
    assert patches_of(project, "most")[-1] == "0003-c.patch"


def test_an_extension_has_the_licence_of_its_base_unless_it_says_another() -> None:
    licensed = BASE[LIB] + '[meta]\nlicense = "MIT"\n'
    assert Evaluator(extended(**{LIB: licensed})).recipe("lib-more").meta.license == "MIT"
    own = Evaluator(extended(**{LIB: licensed, MORE: MORE_TEXT + '[meta]\nlicense = "0BSD"\n'}))
    assert own.recipe("lib-more").meta.license == "0BSD"


WRONG = {
    "an unknown base": (
        extended(**{MORE: MORE_TEXT.replace('"lib"', '"lob"')}),
        f'{MORE}:2: extends unknown recipe "lob"',
        'did you mean "lib"?',
    ),
    "itself": (
        extended(**{MORE: MORE_TEXT.replace('"lib"', '"lib-more"')}),
        f"{MORE}:2: a cycle of extensions: lib-more → lib-more",
        "break it",
    ),
    "a cycle": (
        extended(**{LIB: 'name = "lib"\nextends = "lib-more"\n'}),
        f"{LIB}:2: a cycle of extensions: lib-more → lib → lib-more",
        "break it",
    ),
    "a field that only a whole recipe has": (
        extended(**{MORE: 'source = "app"\n' + MORE_TEXT}),
        f'{MORE}:1: unknown field "source"',
        "",
    ),
    "a missing patch": (
        extended(**{MORE_PATCH: None}),
        f"{MORE}:3: no patch patches/lib-more/0003-c.patch",
        "0002-b.patch",
    ),
    "a missing patch of the base": (
        extended(**{"patches/lib/0002-b.patch": None}),
        f"{LIB}:4: no patch",
        "0003-c.patch",
    ),
    "a patch with the name of one of the base": (
        extended(**{MORE: MORE_TEXT.replace("0003-c", "0001-a"), "patches/lib-more/0001-a.patch": ""}),
        f'{MORE}:3: the patch "0001-a.patch" is listed twice',
        "another name",
    ),
    "a variable that hermetic sets": (
        extended(**{MORE: MORE_TEXT.replace("TASTE", "PATH")}),
        f'{MORE}:5: "PATH" is set by hermetic',
        "build.sh",
    ),
    "a name that is not the directory's": (
        extended(**{MORE: MORE_TEXT.replace('"lib-more"', '"lib-less"')}),
        f'{MORE}:1: name is "lib-less"',
        "one name",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_named_by_file_line_and_remedy(what: str) -> None:
    project, message, hint = WRONG[what]
    with pytest.raises(RecipeError) as caught:
        instance(project, "lib-more")
    assert caught.value.message.startswith(message), caught.value.message
    assert hint in (caught.value.hint or "")


def test_an_extension_may_leave_patches_of_its_base_out() -> None:
    text = MORE_TEXT.replace("patches =", 'without-patches = ["0001-a.patch"]\npatches =')
    assert patches_of(extended(**{MORE: text}), "lib-more") == ["0002-b.patch", "0003-c.patch"]
    wrong = text.replace("0001-a", "0001-x")
    with pytest.raises(
        RecipeError, match=r"lib-more/recipe.toml:3: lib has no patch 0001-x\.patch"
    ) as caught:
        patches_of(extended(**{MORE: wrong}), "lib-more")
    assert "0001-a.patch" in str(caught.value.hint)


def test_a_patch_written_for_a_line_is_taken_from_either_directory() -> None:
    texts = {name: f"--- a/z\n+++ b/z\n@@ -1 +1 @@\n-c\n+{name}\n" for name in ("own", "base")}
    project = extended(
        **{"patches/lib-more/1.0/0003-c.patch": texts["own"], "patches/lib/1/0001-a.patch": texts["base"]}
    )
    graph = instance(project, "lib-more").graph
    unpacked = graph[build_of(project, "lib-more").sources["/build/source"]]
    assert isinstance(unpacked, Unpack)
    assert [p.text.splitlines()[-1] for p in unpacked.patches][::2] == ["+base", "+own"]
