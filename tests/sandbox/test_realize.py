"""What `hermetic realize` promises when all goes well, with real sandboxes and a real server."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import time
from pathlib import Path

import pytest

from hermetic.cli import progress
from hermetic.derivation import graph
from hermetic.derivation.graph import Work
from hermetic.derivation.instantiate import Evaluator
from hermetic.project import files
from hermetic.realize.engine import Engine, Outcome
from hermetic.realize.events import Event, Started
from hermetic.realize.executor import Request
from hermetic.realize.local import LocalExecutor
from hermetic.realize.steps import Steps
from hermetic.session import Session
from hermetic.sources.fetch import Fetcher
from hermetic.store.store import Store
from tests.support.processes import eventually
from tests.support.project import Project, archive

COPY = 'cp "$lib/text" "$out/text"\n'


def app_over_lib(project: Project) -> None:
    """A project of two: `app` copies what `lib` has installed."""
    project.source("lib", {"text": "hello\n"})
    project.recipe("lib", 'cp text "$out/text"\n', source="lib")
    project.recipe("app", COPY, host_inputs=["lib"])


def test_one_path_on_stdout_everything_else_on_stderr(project: Project) -> None:
    app_over_lib(project)
    project.edit("derivations/app/build.sh", "cp", "echo noise; echo more >&2; cp")
    ran = project.ok("realize", "app")
    (path,) = ran.paths
    assert path.parent == project.store
    assert path.name.endswith("-app-1")
    assert (path / "text").read_text() == "hello\n"
    for words in ("fetching lib-1.0", "unpacking lib-1.0", "building lib-1.0", "built app-1 (x86_64)"):
        assert words in ran.err
    assert "noise" not in ran.out + ran.err


def test_from_an_empty_store_the_seed_is_fetched_too(empty: Project) -> None:
    empty.recipe("app", 'uname -m > "$out/machine"')
    assert (empty.realized("app") / "machine").read_text() == "x86_64\n"
    assert len(empty.server.requests) == 1


def test_done_again_nothing_is_fetched_or_built(project: Project) -> None:
    app_over_lib(project)
    first = project.ok("realize", "app")
    requests = len(project.server.requests)
    logs = {p: p.stat().st_mtime_ns for p in (project.store / ".hermetic/log").glob("*.log")}
    again = project.ok("realize", "app")
    assert again == (0, first.out, "")
    assert len(project.server.requests) == requests == 1
    assert {p: p.stat().st_mtime_ns for p in (project.store / ".hermetic/log").glob("*.log")} == logs


def test_paths_are_printed_in_the_order_of_the_targets(project: Project) -> None:
    app_over_lib(project)
    names = [p.name.partition("-")[2] for p in project.ok("realize", "lib", "app", "lib-aarch64").paths]
    assert names == ["lib-1.0", "app-1", "lib-1.0"]
    names = [p.name.partition("-")[2] for p in project.ok("realize", "app", "lib").paths]
    assert names == ["app-1", "lib-1.0"]


def test_a_comment_in_a_script_that_changes_no_bytes_is_cut_off_early(project: Project) -> None:
    app_over_lib(project)
    before = project.realized("app")
    project.edit("derivations/lib/build.sh", "cp text", "# a comment\ncp text")
    ran = project.ok("realize", "app")
    assert ran.paths == [before]
    assert "built lib-1.0 (x86_64)" in ran.err
    assert "building app" not in ran.err
    assert "unchanged app-1 (x86_64): its inputs have the same bytes as before, nothing to build" in ran.err
    assert project.ok("realize", "app").err == ""


def test_an_edit_and_its_reversal_build_nothing(project: Project) -> None:
    app_over_lib(project)
    first = project.realized("app")
    project.edit("derivations/app/build.sh", "$out/text", "$out/other")
    assert project.realized("app") != first
    project.edit("derivations/app/build.sh", "$out/other", "$out/text")
    assert project.ok("realize", "app") == (0, f"{first}\n", "")


def test_an_input_with_other_bytes_is_built_on_anew(project: Project) -> None:
    app_over_lib(project)
    before = project.realized("app")
    project.edit("derivations/lib/build.sh", "cp text", "echo other > text; cp text")
    after = project.realized("app")
    assert after != before
    assert (after / "text").read_text() == "other\n"


def test_a_build_sees_exactly_the_environment_that_its_derivation_names(project: Project) -> None:
    project.recipe("lib", ': > "$out/x"')
    fields = {"host_inputs": ["lib"], "env": {"FLAVOUR": "plain"}}
    project.recipe("app", 'tr "\\0" "\\n" < /proc/self/environ > "$out/env"', **fields)
    seen = dict(
        line.split("=", 1) for line in (project.realized("app", "-j3") / "env").read_text().splitlines()
    )
    declared = project.ok("show", "app").json()["env"]
    of_the_machine = {"JOBS": "3", "MAKEFLAGS": " -j3 --jobserver-auth=fifo:/dev/jobserver"}
    of_the_shell = {key: seen.pop(key) for key in ("PWD", "SHLVL", "OLDPWD") if key in seen}
    assert seen == declared | of_the_machine, of_the_shell
    assert declared["FLAVOUR"] == "plain"
    assert declared["lib"] == "/hermetic/x86_64-linux-musl/lib"


def test_one_recipe_serves_every_system(project: Project) -> None:
    project.recipe("lib", 'echo "$arch" > "$out/arch"')
    project.recipe("tool", 'echo "$arch" > "$out/arch"', systems=["x86_64"])
    project.recipe("app", 'cat "$lib/arch" "$tool/arch" > "$out/arches"; echo $out >> "$out/arches"',
                   host_inputs=["lib"], build_inputs=["tool"])  # fmt: skip
    native, foreign = project.ok("realize", "app", "app-aarch64").paths
    assert (native / "arches").read_text() == "x86_64\nx86_64\n/hermetic/x86_64-linux-musl/app\n"
    assert (foreign / "arches").read_text() == "aarch64\nx86_64\n/hermetic/aarch64-linux-musl/app\n"


def test_another_pinned_version_is_asked_for_by_name(project: Project) -> None:
    app_over_lib(project)
    project.source("lib", {"text": "newer\n"}, version="2.0")
    old, new = project.ok("realize", "lib", "lib-2.0-aarch64").paths
    assert (old.name.partition("-")[2], new.name.partition("-")[2]) == ("lib-1.0", "lib-2.0")
    assert (new / "text").read_text() == "newer\n"


def test_a_target_of_a_revision_stands_beside_that_of_the_work_tree(project: Project) -> None:
    app_over_lib(project)
    project.commit()
    project.edit("derivations/app/build.sh", "$out/text", "$out/edited")
    old, new = project.ok("realize", "app@HEAD", "app").paths
    assert (old / "text").exists()
    assert (new / "edited").exists()


def test_patches_are_applied_in_order_and_further_sources_stand_beside(project: Project) -> None:
    project.source("lib", {"text": "one\n"})
    project.source("more", {"words": "beside\n"})
    for number, (before, after) in enumerate((("one", "two"), ("two", "three")), 1):
        change = f"--- a/text\n+++ b/text\n@@ -1 +1 @@\n-{before}\n+{after}\n"
        project.write(f"patches/lib/000{number}-a.patch", change)
    script = 'cat text ../more/words > "$out/text"\necho writable >> ../more/words\n'
    patches = ["0001-a.patch", "0002-a.patch"]
    project.recipe("lib", script, source="lib", patches=patches, extra_sources={"more": "more"})
    assert (project.realized("lib") / "text").read_text() == "three\nbeside\n"


def test_extra_files_are_there_as_they_were_downloaded(project: Project) -> None:
    path = project.source("data", {"text": "one\n"})
    project.recipe("lib", 'cp files/* "$out"\n', extra_files=["data"])
    (file,) = project.realized("lib").iterdir()
    assert file.name == path.removeprefix("/")
    assert file.read_bytes() == archive("data-1.0", {"text": "one\n"})


def test_a_patch_may_be_in_any_encoding_and_its_offset_is_told(project: Project) -> None:
    project.source("lib", {"text": "".join(f"line {n}\n" for n in range(1, 10))})
    project.recipe("lib", 'cp text "$out/text"\n', source="lib", patches=["0001-a.patch"])
    patch = project.root / "patches/lib/0001-a.patch"
    patch.parent.mkdir(parents=True)
    patch.write_bytes(b"--- a/text\n+++ b/text\n@@ -3,3 +3,3 @@\n line 5\n-line 6\n+caf\xe9\n line 7\n")
    ran = project.ok("realize", "lib")
    assert (ran.paths[0] / "text").read_bytes().splitlines()[5] == b"caf\xe9"
    assert "lib-1.0 (unpacked): 0001-a.patch: text: applied with an offset: line 3 at 5 (+2)" in ran.err
    patch.write_bytes(patch.read_bytes().replace(b"\xe9", b"\xe8"))
    assert (project.realized("lib") / "text").read_bytes().splitlines()[5] == b"caf\xe8"


def test_an_output_is_canonical_whatever_the_build_did_to_modes_and_times(project: Project) -> None:
    script = """
        cd "$out"
        echo plain > plain; echo run > run; mkdir -m 700 folder; : > folder/x
        chmod 700 run; chmod 666 plain; touch -d 2001-02-03 plain; ln -s plain link
    """
    project.recipe("app", script)
    path = project.realized("app")
    for entry, mode in (
        ("plain", 0o444),
        ("run", 0o555),
        ("folder", 0o555),
        ("folder/x", 0o444),
        ("", 0o555),
    ):
        status = (path / entry).lstat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (mode, 0), entry
        assert status.st_uid == os.geteuid(), entry
    assert (path / "link").readlink() == Path("plain")


def test_dry_run_builds_nothing(project: Project) -> None:
    app_over_lib(project)
    before = project.objects()
    ran = project.ok("realize", "--dry-run", "app")
    assert ran.out == ""
    for words in (
        "would fetch lib-1.0 (source)  10.0 KiB",
        "would unpack lib-1.0",
        "would build app-1 (x86_64)",
    ):
        assert words in ran.err
    assert project.server.requests == []
    assert project.objects() == before
    project.realized("app")
    assert project.ok("realize", "--dry-run", "app") == (0, "", "nothing to do\n")


def test_out_link_is_a_gc_root_and_a_link(project: Project, tmp_path: Path) -> None:
    app_over_lib(project)
    link = tmp_path / "result"
    app, lib = project.ok("realize", "app", "lib", "-o", str(link)).paths
    assert (link.readlink(), (tmp_path / "result-2").readlink()) == (app, lib)
    roots = {root["object"]: root for root in project.ok("root", "list", "--json").json()}
    assert {name for name, root in roots.items() if root["kind"] == "link"} == {app.name, lib.name}
    assert str(link) in roots[app.name]["name"]
    link.unlink()
    left = project.ok("root", "list", "--json").json()
    assert {r["object"] for r in left if r["kind"] == "link"} == {lib.name}
    link.write_text("precious")
    ran = project.run("realize", "app", "-o", str(link))
    assert (ran.code, link.read_text()) == (1, "precious")
    assert f"{link} exists and is not a link" in ran.err


@pytest.mark.parametrize("there_before", [False, True])
def test_what_was_realized_is_kept_until_the_command_has_ended(project: Project, there_before: bool) -> None:
    """Between its last build and its `--out-link`, too. (The fault injection found it.)"""
    project.recipe("app", ': > "$out/x"')
    if there_before:
        project.realized("app")
    session = Session(str(project.root), str(project.store))
    name = session.realize(["app"]).outputs["app"].object
    project.ok("gc")
    assert session.store.intact(name)
    session.close()
    project.ok("gc")
    assert not (project.store / name).exists()
    assert list((project.store / ".hermetic/temproots").iterdir()) == []


def test_json_names_target_derivation_object_and_path(project: Project) -> None:
    app_over_lib(project)
    for _ in ("built", "found built"):
        app, lib = project.ok("realize", "--json", "app", "lib-aarch64").json()
        assert app.keys() == {"target", "derivation", "object", "path", "substituted_from"}
        assert (app["target"], lib["target"]) == ("app", "lib-aarch64")
        assert app["derivation"] == project.ok("show", "app").json()["id"]
        assert Path(app["path"]) == project.store / app["object"]


def test_a_store_works_from_anywhere_and_after_a_move(project: Project) -> None:
    app_over_lib(project)
    name = project.realized("app").name
    project.store = project.store.rename(project.store.with_name("elsewhere"))
    assert project.ok("realize", "app") == (0, f"{project.store / name}\n", "")


# -- several at once


def test_two_processes_that_realize_the_same_target_build_it_once(project: Project) -> None:
    project.recipe("app", 'sleep 1.2; : > "$out/x"')
    with project.start("realize", "app") as first:
        told = project.log(first, "building app-1")
        with project.start("realize", "app") as second:
            (one, err_one), (other, err_other) = first.communicate(timeout=30), second.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0)
    assert one == other != ""
    assert (told + err_one).count("building app-1") == 1
    assert "building" not in err_other
    assert f"waiting for app-1 (x86_64): process {first.pid}: " in err_other
    assert "realize app" in err_other
    assert "app-1 (x86_64): finished by another process (" in err_other


def test_one_who_waits_for_a_process_that_is_killed_builds_itself(project: Project) -> None:
    project.recipe("app", 'sleep 1.2; : > "$out/x"')
    with project.start("realize", "app") as first:
        project.log(first, "building app-1")
        with project.start("realize", "app") as second:
            told = project.log(second, "waiting for app-1")
            first.kill()
            out, err = second.communicate(timeout=30)
    assert second.returncode == 0
    assert "built app-1 (x86_64)" in told + err
    assert out.strip()


class Counting(LocalExecutor):
    """Notes how many builds run at once."""

    now = most = 0

    def execute(self, request: Request) -> Path:
        with self._mutex:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return super().execute(request)
        finally:
            with self._mutex:
                self.now -= 1


def run_engine(made: Project, jobs: int, *targets: str) -> tuple[Outcome, Counting, list[Event]]:
    """Realize in this process."""
    evaluator = Evaluator(files.read_worktree(made.root))
    work: Work = graph.merge(evaluator.instantiate(evaluator.parse_target(t)) for t in targets)
    events: list[Event] = []
    with Store.open(made.store) as store, store.workspace("test") as space:
        executor = Counting(space, jobs, events.append)
        steps = Steps(store, executor, lambda stop: Fetcher(space / "download", cancel=stop), events.append)
        try:
            engine = Engine(steps, work, executor, keep_going=False, listener=events.append)
            return engine.run(), executor, events
        finally:
            steps.close()
            executor.close()


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_builds_run_in_parallel_but_never_more_than_jobs(project: Project, jobs: int) -> None:
    for name in "abcdef":
        project.recipe(name, 'sleep 0.15; echo "$name" > "$out/x"')
    project.recipe("app", 'cat "$a/x" "$f/x" > "$out/x"', host_inputs=list("abcdef"))
    outcome, executor, _ = run_engine(project, jobs, "app")
    assert executor.most == jobs
    assert [done.how for done in outcome.done.values()].count("built") == 7


def test_what_most_hangs_on_is_started_first(project: Project) -> None:
    project.recipe("short", ': > "$out/x"')
    project.recipe("first", ': > "$out/x"')
    project.recipe("second", ': > "$out/x"', build_inputs=["first"])
    project.recipe("third", ': > "$out/x"', build_inputs=["second"])
    _, _, events = run_engine(project, 1, "short", "third")
    started = [e.label.split("-")[0] for e in events if isinstance(e, Started)]
    assert started.index("first") < started.index("short")


TAKE = "timeout 5 dd if=/dev/jobserver bs=1 count=1 2>&1"


def test_a_build_can_take_the_jobs_that_are_left_and_no_more(project: Project) -> None:
    project.recipe(
        "app", f'{TAKE} | tee "$out/x"\n! timeout 0.5 dd if=/dev/jobserver bs=1 count=1 || false\n'
    )
    assert "1+0 records in" in (project.realized("app", "-j2") / "x").read_text()


def test_a_single_job_means_no_jobserver_at_all(project: Project) -> None:
    project.recipe("app", 'echo "$JOBS:$MAKEFLAGS" > "$out/x"')
    assert (project.realized("app", "-j1") / "x").read_text() == "1:\n"


def test_tokens_that_a_killed_build_held_are_there_again(project: Project) -> None:
    project.source("large", {"x": "x" * 50_000})  # so that the thief is started first
    project.recipe("thief", f"{TAKE}; {TAKE}; sleep 60", source="large", timeout=1)
    project.recipe("app", f'{{ {TAKE}; {TAKE}; }} > "$out/x"')
    ran = project.run("realize", "-j3", "-k", "thief", "app")
    assert ran.code == 101
    assert (ran.paths[0] / "x").read_text().count("1+0 records in") == 2


def test_downloads_do_not_wait_for_builds(project: Project) -> None:
    project.recipe("slow", 'sleep 2; : > "$out/x"')
    project.source("lib", {"text": "x"})
    project.recipe("lib", source="lib")
    project.recipe("app", ': > "$out/x"', host_inputs=["slow", "lib"])
    with project.start("realize", "-j1", "app") as running:
        said = project.log(running, "building slow")
        assert "fetched lib" in said or eventually(lambda: project.server.asked("/lib-1.0.tar"), 1.5)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 0, err


# -- progress


def test_on_a_terminal_progress_is_live_and_stdout_stays_clean(project: Project) -> None:
    project.recipe("app", 'echo "==> compiling"; sleep 1; : > "$out/x"')
    ours, theirs = pty.openpty()
    environment = {**project.environment, "TERM": "xterm", "COLUMNS": "120"}
    with project.start("realize", "app", stderr=theirs, env=environment) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # nobody has it open any more
                break
        out, _ = running.communicate(timeout=30)
    os.close(ours)
    assert out.splitlines() == [str(Path(out.strip()))]
    text = shown.decode()
    assert "building app-1 (x86_64)" in text
    assert "compiling" in text
    assert "1 running" in text
    assert "built app-1 (x86_64) in" in text


def test_off_a_terminal_a_long_step_gives_signs_of_life(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(progress, "_HEARTBEAT", 0.5)
    log = tmp_path / "log"
    log.write_text("configure\n==> compiling\ncc x.c\n")
    with progress.showing(verbose=False) as listener:
        listener(Started("id", "app-1 (x86_64)", "build", log))
        time.sleep(1.3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "building app-1 (x86_64), 1.0s: compiling" in captured.err


def test_verbose_shows_what_builds_write(project: Project) -> None:
    project.recipe("app", 'echo some words; : > "$out/x"; sleep 0.5; echo the last')
    ran = project.ok("realize", "-v", "app")
    assert "app-1 (x86_64)> some words\n" in ran.err
    assert "app-1 (x86_64)> the last\n" in ran.err
    assert len(ran.paths) == 1


def test_a_program_that_runs_is_not_collected(project: Project) -> None:
    write = 'printf "#!/bin/sh\\necho up; exec sleep 60" > "$out/bin/app"'
    script = f'mkdir "$out/bin"; {write}; chmod 755 "$out/bin/app"'
    project.recipe("app", script)
    project.realized("app")
    with project.start("run", "app") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        project.ok("gc")
        assert project.objects("app")
        process.kill()
    project.ok("gc")
    assert not project.objects("app")


def test_run_starts_the_main_program_with_its_arguments(project: Project) -> None:
    script = 'mkdir "$out/bin"; cp /hermetic/x86_64-linux-musl/busybox/bin/busybox "$out/bin/echo"\n'
    project.recipe("app", script, meta={"main-program": "bin/echo"})
    ran = project.ok("run", "app", "--", "a word", "--help-me", "-h")
    assert ran.out == "a word --help-me -h\n"
    ran = project.run("run", "app", "--program", "bin/ecko")
    assert ran.code == 1
    assert "has no program bin/ecko" in ran.err
    assert "bin/ holds: echo" in ran.err


def test_sources_come_in_one_request_each(project: Project) -> None:
    for name in ("a", "b", "c"):
        project.source(name, {"x": name})
        project.recipe(name, source=name)
    project.recipe("app", 'cat "$a/x" "$b/x" "$c/x" > "$out/x"', host_inputs=["a", "b", "c"])
    assert (project.realized("app") / "x").read_text() == "abc"
    assert sorted(path for path, _ in project.server.requests) == ["/a-1.0.tar", "/b-1.0.tar", "/c-1.0.tar"]


def test_the_mirror_of_a_source_is_no_part_of_what_is_built(project: Project) -> None:
    app_over_lib(project)
    before = project.realized("app")
    project.server.routes["/other"] = project.server.routes["/lib-1.0.tar"]
    project.edit("flake-like.lock", "/lib-1.0.tar", "/other")
    assert project.ok("realize", "app") == (0, f"{before}\n", "")


def test_archives_of_the_test_are_the_same_each_time() -> None:
    assert archive("a-1", {"x": "1"}) == archive("a-1", {"x": "1"})


def test_python_m_hermetic_is_the_command(project: Project) -> None:
    done = subprocess.run(
        project.command("--version"), env=project.environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "hermetic,")
