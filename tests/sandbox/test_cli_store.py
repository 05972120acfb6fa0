"""What `gc`, `root`, `why-live` and `store` promise, as whole programs over real builds."""

from __future__ import annotations

import json

import pytest

from tests.support.project import Project


@pytest.fixture
def built(project: Project) -> Project:
    """`app` made from `library`, and `other`; nothing is rooted."""
    project.ok("gc")
    project.recipe("library", 'echo library > "$out/x"')
    project.recipe("app", 'cat "$library/x" > "$out/x"', **{"host-inputs": ["library"]})
    project.recipe("other", 'echo library > "$out/x"; echo more > "$out/y"')
    project.ok("realize", "app", "other")
    return project


def names(project: Project, label: str) -> list[str]:
    """Objects of a recipe, as they are called in the store."""
    return sorted(p.name for p in project.store.iterdir() if f"-{label}-" in p.name)


def test_gc_says_what_it_will_do_and_does_it(built: Project) -> None:
    built.ok("root", "add", "kept", "app")
    plan = built.ok("gc", "--dry-run")
    assert "-other-" in plan.out
    assert "-app-" not in plan.out
    assert "would delete 1 object," in plan.err
    assert names(built, "other")
    done = built.ok("gc")
    assert done.out == plan.out
    assert "deleted 1 object, freed " in done.err
    assert not names(built, "other")
    assert names(built, "app")
    assert names(built, "library"), "what a live object was built from stays by default"


def test_gc_can_leave_only_what_is_rooted(built: Project) -> None:
    built.ok("root", "add", "kept", "app")
    built.ok("gc", "--no-keep-derivations", "--no-keep-sources", "--no-keep-seeds")
    assert built.objects() == ["app-1"]


def test_gc_keeps_the_seeds_that_the_project_pins(built: Project) -> None:
    plan = built.ok("gc", "--json").json()
    assert plan["delete"]
    kept = built.objects()
    assert kept
    assert set(built.objects()) == set(built.objects("busybox"))
    assert "a seed of this project" in built.ok("why-live", "busybox").out
    assert "seed" in {root["kind"] for root in built.ok("root", "list", "--json").json()}
    built.ok("gc", "--no-keep-seeds")
    assert built.objects() == []


def test_gc_stops_when_enough_was_freed_and_spares_what_was_used_lately(built: Project) -> None:
    before = built.objects()
    built.ok("gc", "--keep-recent", "1")
    assert built.objects() == before
    built.ok("gc", "--max-freed", "1")
    assert len(built.objects()) == len(before) - 1


@pytest.mark.parametrize("value", ["", "much", "1X", "-5"])
def test_gc_names_a_size_that_is_none(built: Project, value: str) -> None:
    done = built.run("gc", "--max-freed", value)
    assert done.code == 2
    assert f"--max-freed: {value!r} is not a size such as 500M or 2G" in done.err


def test_why_live_names_the_root_and_the_way(built: Project) -> None:
    built.ok("root", "add", "kept", "app")
    lines = built.ok("why-live", "library").out.splitlines()
    assert lines[0] == "root kept"
    assert "-app-1" in lines[1]
    assert "-library-1" in lines[2]
    done = built.run("why-live", "other")
    assert (done.code, "nothing keeps" in done.out) == (1, True)


def test_an_object_may_be_named_by_any_path_or_link_to_it(
    built: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.ok("realize", "other", "--out-link", str(built.root / "result"))
    for meant in ("result", "result/x", str(built.root / "result/y"), names(built, "other")[0]):
        for command in ("why-live", "root add kept", "store path-info", "store verify", "log"):
            built.ok(*command.split(), meant, cwd=built.root)
    wrong = built.run("why-live", "result/nothing", cwd=built.root)
    assert wrong.code == 2
    assert f"result/nothing is not in the store {built.store}" in wrong.err


def test_a_result_link_is_a_root_until_it_is_removed(built: Project) -> None:
    link = built.root / "result"
    built.ok("realize", "other", "--out-link", str(link))
    built.ok("gc")
    assert names(built, "other")
    link.unlink()
    built.ok("gc")
    assert not names(built, "other")


def test_store_optimise_says_what_it_has_saved(built: Project) -> None:
    assert "share their content now, freed " in built.ok("store", "optimise").err
    app, other = (built.store / names(built, label)[0] / "x" for label in ("app", "other"))
    assert app.samefile(other)
    assert ": 0 files more" in built.ok("store", "optimise").err
    assert built.run("store", "verify").code == 0


def test_store_verify_finds_and_mends(built: Project) -> None:
    damaged = built.store / names(built, "app")[0] / "x"
    damaged.chmod(0o644)
    damaged.write_text("altered\n")
    found = built.run("store", "verify")
    assert found.code == 1
    assert "altered       " in found.out
    assert "--repair" in found.err
    built.ok("store", "verify", "--repair")
    assert damaged.read_text() == "library\n"
    assert json.loads(built.ok("store", "verify", "--json").out)["clean"]


def test_what_is_kept_cannot_be_deleted_by_name(built: Project) -> None:
    built.ok("root", "add", "kept", "app")
    done = built.run("store", "delete", "app")
    assert done.code == 1
    assert "why-live" in done.err
    built.ok("store", "delete", "other")
    assert not names(built, "other")


@pytest.mark.parametrize(
    "command",
    [
        ("gc", "--dry-run"),
        ("root", "list"),
        ("root", "remove", "x"),
        ("why-live", "app"),
        ("log", "app"),
        ("store", "verify"),
        ("store", "path-info"),
        ("store", "optimise"),
        ("store", "du"),
        ("store", "roots"),
    ],
)
def test_a_mistyped_store_is_said_and_not_made(empty: Project, command: tuple[str, ...]) -> None:
    ran = empty.run(*command)
    assert ran.code == 2
    assert f"there is no store at {empty.store}" in ran.err
    assert not empty.store.exists()


def test_a_store_called_by_a_link_is_collected_by_its_own_path(built: Project) -> None:
    real, alias, result = built.store, built.store.parent / "alias", built.root / "result"
    alias.symlink_to(real.name)
    built.store = alias
    path = built.realized("app", "-o", str(result))
    assert path.parent == alias
    built.store = real
    assert f"link     {result}  {path.name}\n" in built.ok("store", "roots").out
    built.ok("gc")
    assert (result / "x").read_text() == "library\n"
    assert not names(built, "other")


def test_a_moved_store_says_which_roots_name_its_old_place(built: Project) -> None:
    result = built.root / "result"
    path = built.realized("app", "-o", str(result))
    built.store = built.store.rename(built.store.with_name("moved"))
    remark = f"the link leads to {path}, which does not exist"
    assert f"root {result} is kept, and {path.name} with it: {remark}" in built.ok("gc").err
    assert f"{path.name}  ({remark})" in built.ok("store", "roots").out
    assert remark in built.ok("root", "list").out
    assert f"link {result} ({remark})" in built.ok("why-live", "app").out
    assert built.objects("app") == ["app-1"]
    built.ok("root", "remove", str(result))
    built.ok("gc")
    assert built.objects("app") == []
