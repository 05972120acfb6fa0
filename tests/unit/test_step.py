"""A step: what people call it, whatever its system is called, and that a cached graph is the same graph."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from hermetic import systems
from hermetic.derivation import graph as graph_of
from hermetic.derivation.step import Instance, Step, label
from hermetic.derivation.value import Build, Fetch
from hermetic.realize.steps import workspace_label
from tests.support.project_files import BASE, files, instance

# Two systems whose triples begin with the same word.
FLOAT = (
    replace(systems.SYSTEMS["aarch64"], arch="armhf", triple="arm-linux-musleabihf", cpu="armv7-a"),
    replace(systems.SYSTEMS["aarch64"], arch="armel", triple="arm-linux-musleabi", cpu="armv5te"),
)


@pytest.fixture
def armhf_and_armel(monkeypatch: pytest.MonkeyPatch) -> None:
    for system in FLOAT:
        monkeypatch.setitem(systems.SYSTEMS, system.arch, system)


def step(build: Build) -> Step:
    return Step("id", build)


@pytest.mark.usefixtures("armhf_and_armel")
@pytest.mark.parametrize(
    "told",
    [
        lambda build: label(build),
        lambda build: step(build).label,
        lambda build: step(build).target,
        lambda build: step(build).versioned,
        lambda build: workspace_label(step(build)),
    ],
)
def test_architectures_with_triples_of_one_first_word_have_names_of_their_own(told: object) -> None:
    assert callable(told)
    hard, soft = (
        told(Build("zlib", "1.3.1", s.name, s.cpu, f"/hermetic/{s.name}/zlib", {}, {}, {}, {}, ""))
        for s in FLOAT
    )
    assert hard != soft
    assert hard == soft.replace("armel", "armhf")


@pytest.mark.usefixtures("armhf_and_armel")
@pytest.mark.parametrize("arch", ["armhf", "armel"])
def test_a_step_is_called_by_the_word_that_its_target_was_asked_for_with(arch: str) -> None:
    recipe = BASE["derivations/other/recipe.toml"] + 'toolchain = "none"\nsystems = ["armhf", "armel"]\n'
    made = instance(files(**{"derivations/other/recipe.toml": recipe}), f"other-{arch}").graph
    root = made.steps[made.root]
    assert (root.label, root.target, root.versioned) == (
        f"other-7 ({arch})",
        f"other-{arch}",
        f"other-7-{arch}",
    )


def test_a_step_holds_what_belongs_to_its_derivation() -> None:
    lock = BASE["flake-like.lock"] + f'\n[expect.x86_64-linux-musl]\n"other-7" = "{"a" * 52}"\n'
    recipe = BASE["derivations/other/recipe.toml"] + "timeout = 77\n"
    project = files(**{"flake-like.lock": lock, "derivations/other/recipe.toml": recipe})
    steps = {s.label: s for s in instance(project, "other").graph.steps.values()}
    assert (steps["other-7 (x86_64)"].timeout, steps["other-7 (x86_64)"].expected) == (77, "a" * 52)
    assert steps["busybox-1.0 (unpacked)"].seed
    pin = steps["busybox-1.0 (source)"].pin
    assert pin is not None
    assert pin.mirrors == ("https://example.org/busybox-1.0.tar.gz",)
    assert {s.label for s in steps.values() if s.pin} == {"busybox-1.0 (source)"}
    assert {s.label for s in steps.values() if s.seed} == {"busybox-1.0 (unpacked)"}
    assert {s.kind for s in steps.values()} == {"fetch", "unpack", "build"}
    assert all(drv_id == s.drv_id for drv_id, s in instance(project, "other").graph.steps.items())


def test_an_instance_comes_back_from_the_cache_as_it_was() -> None:
    made = instance(files())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Instance) == made
    assert any(isinstance(s.derivation, Fetch) and s.pin for s in made.graph.steps.values())


def test_what_two_targets_share_is_one_step_of_the_work() -> None:
    one, other = instance(files(), "app-aarch64"), instance(files(), "lib-aarch64")
    work = graph_of.merge([one, other])
    assert work.steps == {**one.graph.steps, **other.graph.steps}
    assert len(work.steps) < len(one.graph.steps) + len(other.graph.steps)
    assert work.roots == {"app-aarch64": one.graph.root, "lib-aarch64": other.graph.root}
