"""`hermetic verify` finds what is not reproducible, by building again in another place and another way."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermetic import tree
from hermetic.errors import UsageError
from hermetic.sandbox.spec import SandboxSpec
from hermetic.store.flocks import try_lock
from hermetic.verify.perturb import CLOCK_OFFSET, NAMES, choose, perturbed
from hermetic.verify.reorder import unlike
from tests.sandbox.driver import forbid_tracing
from tests.support import memory
from tests.support.processes import eventually, processes
from tests.support.project import Project, stopped
from tests.support.servers import serving

# name: (script, kind of the difference, what the report must say)
LEAKS: dict[str, tuple[str, str, str]] = {
    "jobs": ('echo "built with make -j$JOBS" > "$out/x"', "embedded-host", "the number of jobs"),
    "host": ('hostname > "$out/x"', "embedded-host", "the host name"),
    "kernel": ('echo "on $(uname -s) $(uname -r)" > "$out/x"', "embedded-host", "kernel"),
    "version": ('uname -v > "$out/x"', "embedded-host", "the kernel's release or version"),
    "ram": (f'{memory.SCRIPT}/tmp/memory | od -An -tu8 > "$out/x"', "content", "x"),
    "cpu": ('{ cat /proc/cpuinfo || echo unknown; } > "$out/x" 2>&1', "content", "Perturbed"),
    "sources": ('find . -name "part*" > "$out/x"', "order", "order"),
    "inputs": ('find "$folder" -name "part*" > "$out/x"', "order", "order"),
    "umask": (
        'echo x > "$out/x"; [ "$(umask)" != 0022 ] || chmod +x "$out/x"',
        "mode",
        "the executable bit: set against not set",
    ),
    "extra": ('echo x > "$out/x"; [ "$(umask)" = 0022 ] || echo y > "$out/y"', "only-right", "rebuild"),
    "random": ('head -c 12 /dev/urandom | od -An -tx1 > "$out/x"', "content", "x"),
    "time": ('sleep 1; date "+%Y-%m-%d %H:%M:%S" > "$out/x"', "embedded-time", "time stamp"),
    "month": ('date +%Y-%m > "$out/x"', "embedded-time", "time stamp (part of a date)"),
    "weekday": ('echo "built on a $(date +%A)" > "$out/x"', "embedded-time", "time stamp (part of a date)"),
    "day": ('date +%d > "$out/x"', "embedded-time", "time stamp (part of a date)"),
    "date": ('date "+%b %e %Y" > "$out/x"', "embedded-time", "time stamp (`__DATE__`)"),
    "memory": (
        "sed -n 's/^\\([0-9a-f]*\\)-.*stack.*/stack at 0x\\1/p' /proc/self/maps > \"$out/x\"",
        "embedded-random",
        "address of memory",
    ),
}
SOUND = {
    # What is the same in every sandbox, and so may be embedded.
    "sound": 'id > "$out/id"; pwd > "$out/p"; echo $$ > "$out/pid"; env | grep -v -e JOBS -e MAKE > "$out/e"',
    # What shows the machine elsewhere, and is the same or empty here.
    "machine": """
        { ulimit -a; stat -f -c "%b %c %s" / /tmp /dev/shm; cat /proc/self/oom_score_adj; } > "$out/limits"
        for p in self 1; do cat /proc/$p/mountinfo /proc/$p/mounts /proc/$p/uid_map; done > "$out/mounts"
        tr "\\0" " " < /proc/1/cmdline > "$out/init"
    """,
    "kinds": 'mkdir -p "$out/a/b"; ln -s a "$out/link"; echo run > "$out/run"; chmod 755 "$out/run"',
}
FAILS = '[ "$JOBS" != 1 ] || { echo "one job is not enough"; exit 9; }; : > "$out/x"'


class Verified:
    """A project with every leak, and one verification of all of it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        project.source("parts", {f"part{n}": "" for n in range(40)})
        for name, (script, _, _) in LEAKS.items():
            fields: dict[str, Any] = {"source": "parts"} if name == "sources" else {}
            fields |= {"host_inputs": ["folder"]} if name == "inputs" else {}
            project.recipe(name, script, **fields)
        for name, script in SOUND.items():
            project.recipe(name, script)
        project.recipe("folder", source="parts")
        project.recipe("fails", FAILS)
        targets = [*LEAKS, *SOUND, "fails"]
        self.begun = time.time()
        project.ok("realize", "-j2", *targets)
        self.ran = project.run("verify", "-j2", "--json", *targets)
        self.verdicts = {v["label"].split("-")[0]: v for v in self.ran.json()["verdicts"]}


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory, template: Any) -> Iterator[Verified]:
    with serving() as server:
        yield Verified(Project(tmp_path_factory.mktemp("verified"), server, *template[1:]))


def keeps_the_order_of_making(folder: Path) -> bool:
    """Whether a file system lists entries in the order in which they were made, or in its reverse."""
    names = [f"{(n * 7) % 40}" for n in range(40)]
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for name in names:
            (Path(made) / name).touch()
        return os.listdir(made) in (names, names[::-1])


@pytest.mark.parametrize("leak", LEAKS)
def test_what_leaks_into_an_output_is_found_and_called_by_its_name(verified: Verified, leak: str) -> None:
    verdict = verified.verdicts[leak]
    _, kind, words = LEAKS[leak]
    if (
        kind == "order"
        and verdict["status"] == "reproducible"
        and not keeps_the_order_of_making(Path("/dev/shm"))
    ):
        pytest.skip("no file system here lists folders in another order")
    assert verdict["status"] == "differs", verdict
    told = " ".join(f"{d['path']} {d['words']} {d['left']} {d['right']}" for d in verdict["differences"])
    assert kind in {d["kind"] for d in verdict["differences"]}, verdict["differences"]
    assert words in told
    assert re.fullmatch("[a-z2-7]{52}", verdict["found"])
    assert verdict["found"] != verdict["expected"]


@pytest.mark.parametrize("name", SOUND)
def test_what_is_the_same_in_every_sandbox_may_be_embedded(verified: Verified, name: str) -> None:
    verdict = verified.verdicts[name]
    assert verdict["status"] == "reproducible", verdict
    assert verdict["found"] == verdict["expected"]


def test_a_rebuild_that_fails_is_told_apart_from_one_that_differs(verified: Verified) -> None:
    verdict = verified.verdicts["fails"]
    assert verdict["status"] == "failed"
    assert "exit status 9" in verdict["error"]
    assert "one job is not enough" in verdict["error"]


def test_the_exit_code_of_differences_is_104_and_all_are_named(verified: Verified) -> None:
    assert verified.ran.code == 104
    assert f"{len(LEAKS)} of {len(LEAKS) + len(SOUND) + 1} rebuilds differ: " in verified.ran.err
    assert verified.ran.json()["perturbed"] == sorted(NAMES)


def test_a_verification_registers_nothing_and_leaves_nothing(verified: Verified) -> None:
    before = verified.project.objects()
    assert verified.project.run("verify", "-j2", "random").code == 104
    assert verified.project.objects() == before
    assert verified.project.leftovers() == []
    # Those of other verifications on this machine are locked by their processes.
    assert [p for p in Path("/dev/shm").glob("hermetic-elsewhere-*") if try_lock(p) is not None] == []


def test_the_report_for_people_names_file_and_both_sides(verified: Verified) -> None:
    ran = verified.project.run("verify", "-j2", "host")
    assert ran.code == 104
    assert "host-1 (x86_64): DIFFERS" in ran.out
    assert "the host name: 'localhost' against 'perturbed-host'" in ran.out
    assert re.search(r"\bx: ", ran.out)
    assert "hermetic: error: 1 of 1 rebuild differs: host-1 (x86_64)" in ran.err


def test_a_failing_rebuild_alone_exits_100(verified: Verified) -> None:
    ran = verified.project.run("verify", "-j2", "fails")
    assert ran.code == 100
    assert "fails-1 (x86_64): REBUILD FAILED" in ran.out
    assert "one job is not enough" in ran.out


def test_reproducible_builds_exit_0_and_say_what_was_perturbed(verified: Verified) -> None:
    ran = verified.project.ok("verify", "-j2", "--rounds", "2", "sound", "kinds")
    assert ran.out.count("the same bytes") == 4
    assert "round 2" in ran.out
    assert f"4 rebuilds, the same bytes; varied: {', '.join(sorted(NAMES))}" in ran.err


def test_a_perturbation_can_be_chosen_or_left_out_to_find_the_culprit(verified: Verified) -> None:
    verify = verified.project.run
    assert verify("verify", "-j2", "--perturb", "hostname", "host").code == 104
    assert verify("verify", "-j2", "--no-perturb", "hostname", "host").code == 0
    assert verify("verify", "-j2", "--perturb", "jobs", "--perturb", "umask", "host").code == 0
    assert verify("verify", "-j2", "--no-perturb", "jobs", "jobs").code == 0
    assert verify("verify", "-j2", "--perturb", "clock", "month").code == 104
    assert verify("verify", "-j2", "--perturb", "machine", "version", "ram").code == 104
    assert verify("verify", "-j2", "--no-perturb", "machine", "version", "ram").code == 0


def test_a_date_alone_shows_only_under_another_clock(verified: Verified) -> None:
    ran = verified.project.run("verify", "-j2", "--no-perturb", "clock", "month", "weekday", "day", "date")
    days = {time.strftime("%F", time.gmtime(t)) for t in (verified.begun, time.time())}
    assert ran.code == 0 or len(days) > 1  # midnight may have passed between the builds


def test_the_other_clock_differs_in_every_field_at_any_time() -> None:
    for begun in range(1_767_225_600, 1_767_225_600 + 5 * 366 * 86_400, 7_919):
        one, other = time.gmtime(begun), time.gmtime(begun + CLOCK_OFFSET)
        assert [n for n in range(8) if one[n] == other[n]] == []


def test_keep_leaves_both_trees(verified: Verified, tmp_path: Path) -> None:
    ran = verified.project.run("verify", "-j2", "--keep", str(tmp_path / "kept"), "host", "sound")
    assert ran.code == 104
    (folder,) = (tmp_path / "kept").iterdir()
    assert (folder / "first/x").read_text() == "localhost\n"
    assert (folder / "rebuild/x").read_text() == "perturbed-host\n"
    assert f"both trees: {folder}" in ran.out
    (folder / "rebuild/x").unlink()  # they are mine to change


def test_closure_verifies_what_stands_below_too(project: Project) -> None:
    project.recipe("lib", 'hostname > "$out/x"')
    project.recipe("app", 'wc -l < "$lib/x" > "$out/x"', host_inputs=["lib"])
    assert project.run("verify", "app").code == 0
    ran = project.run("verify", "--closure", "app")
    assert ran.code == 104
    assert "lib-1 (x86_64): DIFFERS" in ran.out
    assert "app-1 (x86_64): the same bytes" in ran.out


def test_what_is_not_built_yet_is_built_first(project: Project) -> None:
    project.recipe("app", ': > "$out/x"')
    ran = project.ok("verify", "app")
    assert project.objects("app") == ["app-1"]
    assert ran.err.count("built app-1 (x86_64)") == 2


def test_sources_have_nothing_to_rebuild(project: Project) -> None:
    ran = project.run("verify", "busybox")
    assert ran.code == 2
    assert "busybox: there is nothing to rebuild" in ran.err
    assert "sources are verified by their hashes in flake-like.lock" in ran.err


def test_ctrl_c_stops_a_verification_and_leaves_nothing(project: Project) -> None:
    project.recipe("app", '[ "$JOBS" = 2 ] || sleep 30.371; : > "$out/x"')
    project.ok("realize", "-j2", "app")
    with project.start("verify", "-j2", "--rounds", "3", "app") as running:
        assert eventually(lambda: processes("30.371"))
        assert stopped(running) < 3
        assert running.returncode == 130
    assert eventually(lambda: not processes("30.371"), 2)
    project.ok("root", "list")
    assert project.leftovers() == []
    # Those of other verifications on this machine are locked by their processes.
    assert [p for p in Path("/dev/shm").glob("hermetic-elsewhere-*") if try_lock(p) is not None] == []


def test_list_perturbations_says_what_each_makes_different(project: Project) -> None:
    listed = project.ok("verify", "--list-perturbations").out.splitlines()
    assert [line.split()[0] for line in listed] == list(NAMES)
    assert all(len(line) > 20 for line in listed)


def test_where_the_clock_cannot_be_perturbed_nothing_passes_as_verified(project: Project) -> None:
    project.recipe("app", ': > "$out/x"')
    project.ok("realize", "app")
    ran = project.run("verify", "app", preexec_fn=forbid_tracing)
    assert ran.code == 1
    assert "the rebuild cannot be traced" in ran.err
    assert "--no-perturb clock --no-perturb machine" in ran.err
    assert "the same bytes" not in ran.out
    assert project.leftovers() == []
    without = ("--no-perturb", "clock", "--no-perturb", "machine")
    assert project.run("verify", *without, "app", preexec_fn=forbid_tracing).code == 0


def test_rebuilds_that_need_one_core_run_beside_each_other(project: Project) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        project.recipe(name, 'sleep 0.7; : > "$out/x"')
    project.ok("realize", "-j4", *names)
    begun = time.monotonic()
    project.ok("verify", "-j4", *names)
    assert time.monotonic() - begun < 2.8


# -- the choice of perturbations, as values


def test_each_perturbation_changes_the_sandbox_in_its_own_way_only() -> None:
    spec = SandboxSpec(argv=("/bin/sh",), env={})
    changed = {}
    for name in NAMES:
        other = perturbed(spec, choose((name,), ()))
        changed[name] = {f for f in spec.__struct_fields__ if getattr(spec, f) != getattr(other, f)}
    assert changed == {
        "place": set(), "jobs": {"one_cpu", "env"}, "machine": {"other_machine"}, "order": set(),
        "hostname": {"hostname"}, "kernel": {"uname26", "cpuinfo"}, "aslr": {"aslr"}, "umask": {"umask"},
        "clock": {"clock_offset"},
    }  # fmt: skip


def test_none_is_chosen_by_leaving_out_all() -> None:
    assert choose((), tuple(NAMES)).on == frozenset()
    assert choose((), ()).on == frozenset(NAMES)
    with pytest.raises(UsageError, match="unknown perturbation 'cpu'"):
        choose((), ("cpu",))


def test_a_copy_in_another_order_is_still_the_same_tree(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", Path(tempfile.mkdtemp(dir="/dev/shm")) / "copy"
    for name in ("a/x", "a/y", "b/c/z", "top", "run"):
        (original / name).parent.mkdir(parents=True, exist_ok=True)
        (original / name).write_text(name)
    (original / "link").symlink_to("a")
    (original / "run").chmod(0o755)
    try:
        tree.copy(original, copy)
        before = {p: (p.lstat().st_mode, p.lstat().st_mtime) for p in (copy, *copy.rglob("*"))}
        unlike(copy, original)
        unlike(copy, original)
        assert {p: (p.lstat().st_mode, p.lstat().st_mtime) for p in (copy, *copy.rglob("*"))} == before
        assert tree.scan(copy) == tree.scan(original)
        if keeps_the_order_of_making(copy.parent):
            assert os.listdir(copy) != os.listdir(original)
            assert os.listdir(copy / "a") != os.listdir(original / "a")
        assert os.listdir(copy.parent) == ["copy"]
    finally:
        tree.remove(copy.parent)
