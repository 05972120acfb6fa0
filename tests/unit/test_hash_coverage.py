"""The hash covers what can change a result, and nothing else: a row for each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hermetic.derivation.instantiate import Evaluator
from hermetic.derivation.value import Build, Derivation, Fetch, Patch, Unpack, build_key, derivation_id
from hermetic.project.files import read_worktree
from hermetic.systems import SYSTEMS
from tests.support.project_files import BASE, edited, files, pin, root

LOCK = "flake-like.lock"

CHANGES = {
    "source content": lambda: edited(LOCK, pin("app"), pin("app", content=b"other bytes")),
    "source content of an input": lambda: edited(LOCK, pin("lib"), pin("lib", content=b"other bytes")),
    "source version": lambda: edited(LOCK, pin("app"), pin("app", "1.1")),
    "patch content": lambda: edited("patches/lib/0001-a.patch", "+b", "+c"),
    "patch order": lambda: edited(
        "derivations/lib/recipe.toml", '"0001-a.patch", "0002-b.patch"', '"0002-b.patch", "0001-a.patch"'
    ),
    "a patch less": lambda: edited("derivations/lib/recipe.toml", ', "0002-b.patch"', ""),
    "build script": lambda: edited("derivations/app/build.sh", "./configure", "./configure --with-x"),
    "build script of an input": lambda: edited("derivations/lib/build.sh", "make\n", "make all\n"),
    "build script of an input's input": lambda: edited("derivations/tool/build.sh", "make", "make -s"),
    "environment": lambda: edited("derivations/app/recipe.toml", "plain", "fancy"),
    "what a recipe asks of its system": lambda: edited(
        "derivations/app/recipe.toml", "system.debian", "system.musl"
    ),
    "what the toolchain provides": lambda: edited("derivations/clang/recipe.toml", '"cc"', '"gcc"'),
    "another toolchain": lambda: edited("derivations/app/recipe.toml", "[env]", 'toolchain = "none"\n[env]'),
    "a section for this version": lambda: edited(
        "derivations/app/recipe.toml", "[env]", '[version."1.0".env]\nFLAVOUR = "old"\n[env]'
    ),
    "an input more": lambda: edited("derivations/app/recipe.toml", '["lib"]', '["lib", "other"]'),
    "an input less": lambda: edited("derivations/app/recipe.toml", 'build-inputs = ["tool"]\n', ""),
    "toolchain": lambda: edited("derivations/clang/build.sh", "compiler", "other-compiler"),
    "userland": lambda: edited("derivations/userland/build.sh", "applets", "more-applets"),
    "shell": lambda: edited(LOCK, pin("busybox"), pin("busybox", content=b"another shell")),
    "a file more": lambda: edited("derivations/app/recipe.toml", "[env]", 'extra-files = ["tool"]\n[env]'),
    "a file more for this system": lambda: edited(
        "derivations/app/recipe.toml", "[env]", '[system.aarch64]\nextra-files = ["tool"]\n[env]'
    ),
    "name of an environment variable": lambda: edited("derivations/app/recipe.toml", "FLAVOUR", "TASTE"),
}

NO_CHANGES = {
    "mirror order": lambda: edited(
        LOCK, pin("app"), pin("app", mirrors=("https://b.example/x", "https://a.example/x"))
    ),
    "mirror addresses": lambda: edited(LOCK, pin("app"), pin("app", mirrors=("debian:pool/main/a/app/x",))),
    "comments in TOML": lambda: edited("derivations/app/recipe.toml", "[env]", "# a comment\n[env]"),
    "layout of TOML": lambda: edited("derivations/app/recipe.toml", "[env]\n", "\n\n[ env ]\n   "),
    "order of fields": lambda: files(
        **{
            "derivations/lib/recipe.toml": 'patches = ["0001-a.patch", "0002-b.patch"]\n'
            'build-inputs = ["tool"]\nsource = "lib"\nname = "lib"\n'
        }
    ),
    "comments in the lock": lambda: edited(LOCK, "format = 1", "# a comment\nformat = 1"),
    "order of lock entries": lambda: files(
        **{LOCK: "format = 1\n" + "\n".join(pin(n) for n in ("tool", "lib", "app", "busybox"))}
    ),
    "a source that is not used": lambda: files(**{LOCK: BASE[LOCK] + "\n" + pin("unused")}),
    "an unrelated recipe": lambda: edited("derivations/other/build.sh", "true", "false"),
    "an unrelated recipe that is gone": lambda: files(
        **{"derivations/other/recipe.toml": None, "derivations/other/build.sh": None}
    ),
    "a patch that no recipe names": lambda: files(**{"patches/lib/0009-z.patch": "later"}),
    "a section for another version": lambda: edited(
        "derivations/app/recipe.toml", "[env]", '[version."2".env]\nFLAVOUR = "new"\n[env]'
    ),
    "a file more for another system": lambda: edited(
        "derivations/app/recipe.toml", "[env]", '[system.s390x]\nextra-files = ["tool"]\n[env]'
    ),
    "a list of systems": lambda: edited(
        "derivations/app/recipe.toml", "[env]", 'systems = ["aarch64", "x86_64"]\n[env]'
    ),
    "meta": lambda: edited("derivations/app/recipe.toml", "[env]", '[meta]\nlicense = "MIT"\n[env]'),
    "time limit": lambda: edited("derivations/app/recipe.toml", "[env]", "timeout = 5\n[env]"),
    "a file beside the recipe": lambda: files(**{"derivations/app/NOTES": "hm"}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_hash_covers(what: str) -> None:
    changed: Callable[[], dict[str, bytes]] = CHANGES[what]
    assert root(changed()) != root(files())


@pytest.mark.parametrize("what", NO_CHANGES)
def test_the_hash_does_not_cover(what: str) -> None:
    changed: Callable[[], dict[str, bytes]] = NO_CHANGES[what]
    assert root(changed()) == root(files())


def test_the_hash_covers_the_target() -> None:
    assert len({root(files(), f"app-{arch}") for arch in SYSTEMS}) == len(SYSTEMS)


def test_the_hash_covers_the_cpu_baseline() -> None:
    build = next(
        d
        for d in Evaluator(files())
        .instantiate(Evaluator(files()).parse_target("app"))
        .graph.derivations.values()
        if isinstance(d, Build)
    )
    assert derivation_id(msgspec.structs.replace(build, cpu="x86-64-v3")) != derivation_id(build)


def _write(project: dict[str, bytes], folder: Path) -> None:
    for name, data in project.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_the_hash_does_not_cover_path_times_and_owners_of_the_checkout(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "deeper" / "other"
    for folder in (one, other):
        _write(files(), folder)
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
        if os.geteuid() == 0:
            os.chown(path, 1234, 1234)
    assert root(read_worktree(one)) == root(read_worktree(other)) == root(files())


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kolkata"},
        {"PYTHONHASHSEED": "1"},
        {"PYTHONHASHSEED": "4242", "HOME": "/nonexistent", "CFLAGS": "-O0", "JOBS": "64", "CC": "tcc"},
    ],
    ids=["locale and time zone", "hash seed", "environment of the caller"],
)
def test_the_hash_does_not_cover_the_machine(environment: dict[str, str], tmp_path: Path) -> None:
    _write(files(), tmp_path)
    code = (
        "import sys; from pathlib import Path; from hermetic.project.files import read_worktree;"
        "from tests.support.project_files import root; print(root(read_worktree(Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == root(files())


# What a program can ask for the time of day, answered as if it were 1970. In a process of its own and before
# anything is imported, so that nothing has taken the true functions yet.
CLOCK = """
import datetime, time
class date(datetime.date):
    @classmethod
    def today(cls): return cls(1970, 1, 1)
class stamp(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return cls(1970, 1, 1, tzinfo=tz)
    today = utcnow = now
def at_0(ask): return lambda *seconds: ask(*seconds or (0,))
def first_of_two_at_0(ask): return lambda text, *fields: ask(text, *fields or (time.gmtime(0),))
time.strftime = first_of_two_at_0(time.strftime)
time.gmtime, time.localtime, time.ctime = map(at_0, (time.gmtime, time.localtime, time.ctime))
datetime.date, datetime.datetime, time.time, time.time_ns = date, stamp, lambda: 0.0, lambda: 0
"""


def test_the_hash_does_not_cover_the_time_of_day() -> None:
    code = f"{CLOCK}from tests.support.project_files import files, root; print(time.time(), root(files()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0.0", root(files())]


@pytest.mark.parametrize("field", ["build-inputs", "host-inputs", "systems"])
def test_set_like_lists_are_sets(field: str) -> None:
    values = ["x86_64", "aarch64"] if field == "systems" else ["tool", "lib", "other"]

    def project(order: list[str]) -> dict[str, bytes]:
        listed = ", ".join(f'"{v}"' for v in order)
        recipe = f'name = "app"\nsource = "app"\n{field} = [{listed}]\n'
        return files(**{"derivations/app/recipe.toml": recipe})

    assert root(project(values)) == root(project(values[::-1]))


def test_mappings_are_hashed_without_their_order() -> None:
    one = edited("derivations/app/recipe.toml", '["lib"]', '["lib", "other"]')
    graph = Evaluator(one).instantiate(Evaluator(one).parse_target("app")).graph
    build = graph[graph.root]
    assert isinstance(build, Build)
    turned = msgspec.structs.replace(
        build,
        inputs=dict(reversed(build.inputs.items())),
        env=dict(reversed(build.env.items())),
        links=dict(reversed(build.links.items())),
    )
    assert derivation_id(turned) == derivation_id(build)


FETCH = Fetch("zlib", "1.3.1", "00" * 32, "11" * 32, 42)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        "é\n".encode(),
        b"\xe9\n",
        b"\xff\0",
        b"not UTF-8; one character for each byte:\n",
        bytes(range(256)),
    ],
)
def test_a_patch_keeps_its_bytes(data: bytes) -> None:
    assert Patch.of("p", data).data == data


def test_a_patch_in_utf8_is_hashed_as_its_text() -> None:
    assert Patch.of("p", "é\n".encode()) == Patch("p", "é\n")


UNPACK = Unpack("zlib", "1.3.1", "source", (Patch("0001-a.patch", "text\n"),))
BUILD = Build(
    name="zlib",
    version="1.3.1",
    system="aarch64-linux-musl",
    cpu="armv8-a",
    out="/hermetic/aarch64-linux-musl/zlib",
    sources={"/build/source": "unpacked"},
    inputs={"/hermetic/x86_64-linux-musl/make": "make"},
    links={"/bin/sh": "/hermetic/x86_64-linux-musl/busybox/bin/busybox"},
    env={"out": "/hermetic/aarch64-linux-musl/zlib", "LC_ALL": "C"},
    script="make\n",
)

# Written down once, by hand. When one of these changes, the format has changed: give the hashing domains of
# hermetic/hashing.py a new version, and say in CHANGELOG.md that every store is to be built anew. (A field
# that is dropped needs no new version: no old record had exactly the fields that are left.)
GOLDEN: dict[str, tuple[Derivation, str, str]] = {
    "fetch": (
        FETCH,
        "g6kevt5bgugdbqjlbmrzswevsfdk2zob77gkldkyjm2bapor2r5q",
        "h6uaptcl5z35ygnnumwm2dd74orsmd5gdrsu2z6pgyi3y2rsjnta",
    ),
    "unpack": (
        UNPACK,
        "hn5ywluejd2sja4b6us5sozvctjsbvcp2euvg4s34oetb246x3kq",
        "zby7d3pdppouktwwhbaalhzjiw2cwpbwzozlgkz3gjvth3wdslcq",
    ),
    "build": (
        BUILD,
        "zp63jeacsuuusnotjdn6wljvycng4lpol6h6wykqmjc3mc52pbeq",
        "nmgpxohzfvg3u2ndwxwyz3y3ffvc35l4btv4fltgwgy26bj2ty2a",
    ),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden_digests_have_not_changed(kind: str) -> None:
    drv, drv_id, key = GOLDEN[kind]
    assert derivation_id(drv) == drv_id
    assert build_key(drv, lambda i: f"content of {i}") == key


def test_a_build_key_follows_contents_and_not_derivations() -> None:
    rebuilt = msgspec.structs.replace(BUILD, inputs=dict.fromkeys(BUILD.inputs, "another derivation"))
    assert derivation_id(rebuilt) != derivation_id(BUILD)
    assert build_key(rebuilt, lambda i: "same") == build_key(BUILD, lambda i: "same")
    assert build_key(BUILD, lambda i: "same") != build_key(BUILD, lambda i: "other")
