"""What `hermetic realize` promises when something goes wrong: clear words, a clean store, a way to go on."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import children_of, eventually, processes
from tests.support.project import Project, Ran, archive, stopped
from tests.support.servers import ranged, whole

ORDINARY_UID = 54321  # nobody's


def is_clean(project: Project, marker: str = "") -> bool:
    """Whether nothing half-done is in the store, once hermetic has looked at it, and no process is left."""
    project.ok("root", "list")
    return project.leftovers() == [] and (not marker or not processes(marker))


# -- builds that fail


def test_a_failing_build_shows_the_logs_tail_its_path_and_exits_100(project: Project) -> None:
    project.recipe("app", "for i in $(seq 1 50); do echo line $i; done\nfalse\necho not reached\n")
    ran = project.run("realize", "app")
    assert (ran.code, ran.out) == (100, "")
    assert "hermetic: error: app-1 (x86_64): build.sh failed: exit status 1\n" in ran.err
    assert re.findall(r"\| line (\d+)", ran.err) == [str(n) for n in range(31, 51)]
    (log,) = re.findall(r"log: (\S+)", ran.err)
    assert Path(log).read_text().startswith("line 1\nline 2\n")
    assert "hint: `hermetic log app-x86_64` prints all of it" in ran.err
    assert is_clean(project)


def test_log_prints_all_of_it(project: Project) -> None:
    project.recipe("app", 'echo one; echo two >&2; printf "\\377"; exit 7')
    assert "exit status 7" in project.run("realize", "app").err
    names = ("app", "app-x86_64", "app-1-x86_64", project.ok("show", "app").json()["id"])
    for name in names:
        done = subprocess.run(project.command("log", name), env=project.environment, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"one\ntwo\n\377", b""), name
    ran = project.run("log", "app-aarch64")
    assert (ran.code, ran.out) == (1, "")
    assert "no log of app-aarch64: it has not been built in this store" in ran.err
    ran = project.run("log", "ap")
    assert ran.code == 2
    assert 'did you mean "app"?' in ran.err


def test_log_of_a_target_is_not_that_of_one_whose_name_begins_so(project: Project) -> None:
    for name in ("lib", "lib-extra"):
        project.recipe(name, f'echo "this is {name}"; : > "$out/x"')
        project.realized(name)
    assert project.ok("log", "lib").out == "this is lib\n"


def test_after_an_edit_log_still_finds_the_last_build_of_that_name(project: Project) -> None:
    project.recipe("app", 'echo before; : > "$out/x"')
    project.realized("app")
    project.edit("derivations/app/build.sh", "before", "after")
    assert project.ok("log", "app").out == "before\n"


def test_an_unset_variable_ends_a_build(project: Project) -> None:
    project.recipe("app", 'echo "$undeclared"\n: > "$out/x"')
    ran = project.run("realize", "app")
    assert ran.code == 100
    assert "undeclared: parameter not set" in ran.err


def test_a_build_that_a_signal_ends_says_which(project: Project) -> None:
    project.recipe("app", "kill -SEGV $$")
    ran = project.run("realize", "app")
    assert ran.code == 100
    assert "build.sh failed: killed by signal 11" in ran.err


def test_a_failure_ends_the_other_builds_at_once(project: Project) -> None:
    project.recipe("slow", "sleep 30.511")
    project.recipe("bad", "sleep 0.3; false")
    begun = time.monotonic()
    ran = project.run("realize", "-j2", "slow", "bad")
    assert (ran.code, time.monotonic() - begun < 15) == (100, True)
    assert "bad-1 (x86_64): build.sh failed" in ran.err
    assert is_clean(project, "30.511")


def test_keep_going_builds_what_does_not_depend_on_the_failure(project: Project) -> None:
    project.recipe("bad", "echo the reason; exit 3")
    project.recipe("above", ': > "$out/x"', host_inputs=["bad"])
    project.recipe("top", ': > "$out/x"', host_inputs=["above"])
    project.recipe("good", 'sleep 0.3; : > "$out/x"')
    project.recipe("better", ': > "$out/x"', host_inputs=["good"])
    ran = project.run("realize", "-k", "-j1", "top", "better")
    assert ran.code == 100
    assert [p.name.partition("-")[2] for p in ran.paths] == ["better-1"]
    assert "FAILED bad-1 (x86_64)" in ran.err
    for name in ("above", "top"):
        assert f"skipped {name}-1 (x86_64): needs bad-1 (x86_64), which failed" in ran.err
    assert "hermetic: error: 1 failed, 2 not tried because of them\n" in ran.err
    assert "  bad-1 (x86_64): build.sh failed: exit status 3\n  | the reason\n  log: " in ran.err
    assert project.run("realize", "-k", "good", "bad", "--json").json()[0]["target"] == "good"


def test_keep_going_goes_on_after_a_bad_source_too(project: Project) -> None:
    bad = project.source("bad", {"x": "as pinned"})
    project.server.routes[bad] = whole(archive("bad-1.0", {"x": "as served"}))
    project.source("unpatched", {"x": "as it is"})
    project.write("patches/unpatched/0001-a.patch", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-other\n+new\n")
    project.recipe("bad", source="bad")
    project.recipe("unpatched", source="unpatched", patches=["0001-a.patch"])
    project.recipe("good", 'sleep 1; : > "$out/x"')
    ran = project.run("realize", "-k", "bad", "unpatched", "good")
    assert [p.name.partition("-")[2] for p in ran.paths] == ["good-1"]
    assert "FAILED bad-1.0 (source)" in ran.err
    assert "FAILED unpatched-1.0 (unpacked)" in ran.err
    assert ran.code == 100


def test_a_timeout_ends_the_build_and_exits_101(project: Project) -> None:
    project.recipe("app", "echo started; sleep 30.733 & sleep 30.733; wait", timeout=1)
    ran = project.run("realize", "app")
    assert ran.code == 101
    assert "app-1 (x86_64): still running after 1 s, and killed" in ran.err
    assert "| started" in ran.err
    assert "`timeout` in derivations/app/recipe.toml" in ran.err
    assert is_clean(project, "30.733")


def test_no_output_is_an_error(project: Project) -> None:
    project.recipe("app", "echo done")
    ran = project.run("realize", "app")
    assert ran.code == 100
    assert "app-1 (x86_64): build.sh succeeded but left nothing in $out" in ran.err
    assert "install to /hermetic/x86_64-linux-musl/app" in ran.err
    assert project.objects("app") == []


def test_an_output_that_no_store_can_hold_is_the_builds_failure(project: Project) -> None:
    project.recipe("app", "mkfifo $out/pipe")
    ran = project.run("realize", "app")
    assert ran.code == 100
    assert "error: app-1 (x86_64): /hermetic/x86_64-linux-musl/app/pipe is a fifo" in ran.err
    assert re.search(r"log: \S+", ran.err)
    assert project.objects("app") == []
    assert is_clean(project)


def test_odd_names_and_many_links_in_an_output_are_no_matter(project: Project) -> None:
    project.recipe(
        "app", 'cd "$out"; printf x > "$(printf "a\\nb \\303\\244 \\377")"; ln -s nowhere dangling; : > -'
    )
    path = project.realized("app")
    assert len(os.listdir(os.fsencode(path))) == 3
    assert project.ok("realize", "app").err == ""


# -- looking at a failure by hand


def test_keep_failed_keeps_the_folder_and_shell_opens_it(project: Project) -> None:
    project.recipe("lib", 'echo from lib > "$out/x"')
    script = 'echo half > made; mkdir "$out/bin"\nfalse\n'
    project.source("app", {"text": "the source\n"})
    project.recipe("app", script, source="app", host_inputs=["lib"], env={"FLAVOUR": "plain"})
    ran = project.run("realize", "--keep-failed", "app")
    assert ran.code == 100
    (kept,) = re.findall(r"work directory: (\S+)", ran.err)
    assert (Path(kept) / "build/source/made").read_text() == "half\n"

    ran = project.ok("shell", "app", "-c", 'cat made text "$lib/x"; pwd; ls "$out"; echo "$FLAVOUR $(id -u)"')
    assert ran.out == "half\nthe source\nfrom lib\n/build/source\nbin\nplain 1000\n"
    assert project.run("shell", "app", "-c", "exit 7").code == 7
    assert project.run("shell", "app", "-c", "sh -eu /build/build.sh").code == 1
    assert project.run("shell", "app", "--fresh", "-c", "ls; exit 3") == (3, "text\n", "")


def test_without_keep_failed_nothing_is_kept(project: Project) -> None:
    project.recipe("app", "false")
    assert "work directory" not in project.run("realize", "app").err
    assert list((project.store / ".hermetic/failed").iterdir()) == []


def test_shell_opens_no_kept_folder_of_another_recipe_or_system(project: Project) -> None:
    for name in ("lib", "lib-extra"):
        project.recipe(name, f"echo {name} $arch > mark; false")
    for target in ("lib", "lib-aarch64", "lib-extra"):
        assert project.run("realize", "--keep-failed", target).code == 100
    assert project.ok("shell", "lib", "-c", "cat mark").out == "lib x86_64\n"
    assert project.ok("shell", "lib-aarch64", "-c", "cat mark").out == "lib aarch64\n"


def test_shell_realizes_what_the_build_needs_but_not_the_build(project: Project) -> None:
    project.recipe("lib", 'echo from lib > "$out/x"')
    project.recipe("app", "false", host_inputs=["lib"])
    assert project.ok("shell", "app", "-c", 'cat "$lib/x"').out == "from lib\n"
    assert project.objects("app") == []
    ran = project.run("shell", "busybox", "-c", "true")
    assert ran.code == 2
    assert "busybox is unpacked, not built" in ran.err


# -- interruptions


def test_ctrl_c_stops_within_a_second_and_leaves_a_clean_store(project: Project) -> None:
    project.recipe("lib", ': > "$out/x"')
    project.recipe("app", 'sleep 3.141 & sleep 3.141; wait; : > "$out/x"', host_inputs=["lib"])
    took = []
    for _ in range(3):  # other programs may be busy
        with project.start("realize", "app") as running:
            project.log(running, "building app-1")
            assert eventually(lambda: processes("3.141"))
            took.append(stopped(running))
            assert running.stderr is not None
            said = running.stderr.read()
        assert running.returncode == 130
        assert "hermetic: interrupted; the store holds what was finished" in said
        assert "Traceback" not in said
        assert processes("3.141") == []
        assert project.leftovers() == []
        if took[-1] < 1:
            break
    assert min(took) < 1
    assert project.objects() == ["busybox-1.35.0", "busybox-1.35.0", "check-1", "lib-1"]
    ran = project.ok("realize", "app")
    assert "building lib" not in ran.err


def test_ctrl_c_reaches_a_whole_process_group_as_on_a_terminal(project: Project) -> None:
    project.recipe("app", "sleep 30.577")
    with project.start("realize", "app") as running:
        project.log(running, "building app-1")
        assert eventually(lambda: processes("30.577"))
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(timeout=10) == 130
    assert is_clean(project, "30.577")


def test_a_polite_request_to_end_is_like_ctrl_c(project: Project) -> None:
    project.recipe("app", "sleep 30.633")
    with project.start("realize", "app") as running:
        project.log(running, "building app-1")
        assert stopped(running, signal.SIGTERM) < 3
        assert running.returncode == 130
    assert project.leftovers() == []
    assert is_clean(project, "30.633")


def test_ctrl_c_stops_a_download_which_goes_on_where_it_stopped(project: Project) -> None:
    data = archive("lib-1.0", {"text": "x" * 300_000})
    path = project.source("lib", {"text": "x" * 300_000})
    project.recipe("lib", source="lib")
    whole_of_it = ranged(data)

    def first_half(handler: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.send_header("Content-Length", str(len(data)))  # type: ignore[attr-defined]
        handler.send_header("ETag", '"v1"')  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        handler.wfile.write(data[:200_000])  # type: ignore[attr-defined]
        project.server.routes[path] = whole_of_it
        project.server.released.wait(30)

    project.server.routes[path] = first_half
    with project.start("realize", "lib") as running:
        project.log(running, "fetching lib-1.0")
        parts = project.store / ".hermetic/download"
        assert eventually(lambda: any(p.stat().st_size for p in parts.glob("*.part")))
        assert stopped(running) < 2
        assert running.returncode == 130
    assert is_clean(project)
    assert (project.realized("lib") / "text").stat().st_size == 300_000
    assert [h.get("Range", "")[:6] for h in project.server.asked(path)] == ["", "bytes="]


def test_ctrl_c_while_waiting_for_another_process(project: Project) -> None:
    project.recipe("app", 'sleep 2.2; : > "$out/x"')
    with project.start("realize", "app") as first:
        project.log(first, "building app-1")
        with project.start("realize", "app") as second:
            project.log(second, "waiting for app-1")
            assert stopped(second) < 2
            assert second.returncode == 130
        out, _ = first.communicate(timeout=30)
    assert (first.returncode, len(out.splitlines())) == (0, 1)


def test_kill_9_of_hermetic_leaves_a_clean_store(project: Project) -> None:
    project.recipe("lib", ': > "$out/x"')
    project.recipe("app", 'sleep 2.718 & sleep 2.718; wait; : > "$out/x"', host_inputs=["lib"])
    with project.start("realize", "app") as running:
        project.log(running, "building app-1")
        assert eventually(lambda: processes("2.718"))
        running.kill()
        running.wait()
        assert eventually(lambda: not processes("2.718"), 2)
    assert is_clean(project)
    assert "building lib" not in project.ok("realize", "app").err


def test_kill_9_at_any_moment_loses_nothing_that_was_registered(project: Project) -> None:
    names = [f"r{n}" for n in range(10, 30)]
    for name in names:
        project.source(name, {"text": name * 100})
        project.recipe(name, 'sleep 0.2; cp text "$out/text"', source=name)
    known: set[str] = set()
    for moment in range(6):
        with project.start("realize", "-j2", *names) as running:
            said = project.log(running, "built r")
            time.sleep(0.04 * moment)
            running.kill()
            said += running.communicate()[1]
        assert running.returncode == -signal.SIGKILL, "it had ended before it was killed"
        ran = project.run("realize", "--dry-run", *names)
        there = set(names) - set(re.findall(r"would build (r\d+)", ran.err))
        assert known | set(re.findall(r"built (r\d+)", said)) <= there, "something that was built is lost"
        assert known < there < set(names)
        known = there
    paths = project.ok("realize", *names).paths
    assert [(p / "text").read_text() for p in paths] == [name * 100 for name in names]
    assert is_clean(project)


def test_a_sandbox_server_that_dies_is_said(project: Project) -> None:
    project.recipe("app", "sleep 30.919")
    with project.start("realize", "app") as running:
        project.log(running, "building app-1")
        assert eventually(lambda: processes("30.919"))
        (server,) = children_of(running.pid)
        os.kill(server, signal.SIGKILL)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 1
    assert "the sandbox server has died" in err
    assert is_clean(project, "30.919")


# -- sources


def test_offline_names_every_missing_source(project: Project) -> None:
    for name in ("one", "two"):
        project.source(name, {"x": name})
        project.recipe(name, source=name)
    project.recipe("app", 'cat "$one/x" "$two/x" > "$out/x"', host_inputs=["one", "two"])
    ran = project.run("realize", "--offline", "app")
    assert (ran.code, ran.out) == (1, "")
    assert "offline, and 2 sources are not in the store" in ran.err
    for name in ("one", "two"):
        assert re.search(rf"{name} 1.0: {name}-1.0.tar, 10240 bytes, sha256 [0-9a-f]{{64}}\n", ran.err)
    assert project.server.requests == []
    project.realized("one")
    ran = project.run("realize", "--offline", "app")
    assert "offline, and 1 source is not in the store" in ran.err
    project.realized("two")
    assert (project.realized("app", "--offline") / "x").read_text() == "onetwo"


def test_wrong_bytes_exit_102_and_both_hashes_are_shown(project: Project) -> None:
    path = project.source("lib", {"text": "as pinned"})
    served = archive("lib-1.0", {"text": "as served"})
    project.server.routes[path] = whole(served)
    project.recipe("lib", source="lib")
    before = project.objects()
    ran = project.run("realize", "lib")
    assert (ran.code, ran.out) == (102, "")
    (expected,) = re.findall(r"expected sha256 ([0-9a-f]{64})", ran.err)
    assert expected in (project.root / "flake-like.lock").read_text()
    (got,) = re.findall(r"     got sha256 ([0-9a-f]{64})", ran.err)
    assert got != expected
    (kept,) = set(re.findall(r"look at (\S+);", ran.err))
    assert Path(kept).read_bytes() == served
    assert project.objects() == before
    assert is_clean(project)


def test_a_mirror_that_does_not_answer_is_named_with_its_answer(project: Project) -> None:
    path = project.source("lib", {"text": "x"})
    del project.server.routes[path]
    project.recipe("lib", source="lib")
    ran = project.run("realize", "lib")
    assert ran.code == 1
    assert "cannot fetch lib 1.0 (lib-1.0.tar) from its only mirror" in ran.err
    assert f"{project.server.url(path)}: " in ran.err
    assert "404" in ran.err


def test_what_is_no_archive_is_said(project: Project) -> None:
    project._pin("lib", "1.0", "lib.tar.gz", b"<html>not found</html>")
    project.recipe("lib", source="lib")
    ran = project.run("realize", "lib")
    assert ran.code == 1
    assert "lib-1.0" in ran.err.split("hermetic: error:")[1]
    assert "archive" in ran.err


def test_a_patch_that_does_not_apply_names_patch_line_and_file(project: Project) -> None:
    project.source("lib", {"src/text": "one\ntwo\nthree\n"})
    change = "--- a/src/text\n+++ b/src/text\n@@ -1,3 +1,3 @@\n one\n-zwei\n+2\n three\n"
    project.write("patches/lib/0001-two.patch", change)
    project.recipe("lib", source="lib", patches=["0001-two.patch"])
    ran = project.run("realize", "lib")
    assert ran.code == 1
    assert "0001-two.patch:3: the hunk for src/text, line 1, does not apply" in ran.err
    assert "line 2 of src/text" in ran.err
    assert re.search(r"expected: .*zwei", ran.err)
    assert re.search(r"found: .*two", ran.err)
    assert is_clean(project)


# -- the store


def test_a_corrupt_database_is_said_with_the_remedy(project: Project) -> None:
    project.recipe("app", ': > "$out/x"')
    project.realized("app")
    database = project.store / ".hermetic/db.sqlite"
    database.write_bytes(b"no database" * 100)
    ran = project.run("realize", "app")
    assert (ran.code, ran.out) == (1, "")
    assert f"the store's database {database} is corrupt" in ran.err
    assert "hint: restore it from the objects and their records with `hermetic store rebuild-db`" in ran.err
    assert database.read_bytes() == b"no database" * 100


def test_a_damaged_object_is_built_again(project: Project) -> None:
    project.recipe("app", 'echo right > "$out/x"')
    path = project.realized("app")
    path.chmod(0o755)
    (path / "x").unlink()
    ran = project.ok("realize", "app")
    assert "built app-1" in ran.err
    assert (path / "x").read_text() == "right\n"


NEEDED = (
    "anyio", "blake3", "certifi", "click", "elftools", "h11", "hermetic", "httpcore", "httpx", "idna",
    "markdown_it", "mdurl", "msgspec", "pygments", "rich", "sniffio", "typing_extensions", "zstandard",
)  # fmt: skip


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An interpreter that an ordinary user can execute, and a folder of packages that they can read."""
    folder = tmp_path_factory.mktemp("packages")
    for name in NEEDED:
        found = importlib.util.find_spec(name)
        if found is not None and found.submodule_search_locations:
            shutil.copytree(found.submodule_search_locations[0], folder / name)
        elif found is not None and found.origin:
            shutil.copy(found.origin, folder)
    reachable(folder / "x")
    version = tuple(sys.version_info[:2])
    probe = f"import sys; assert sys.version_info[:2] == {version}; import hermetic.store"
    settings: dict[str, Any] = {"cwd": "/", "env": {"PYTHONPATH": str(folder)}, "user": ORDINARY_UID}
    settings |= {"check": True, "capture_output": True, "group": ORDINARY_UID, "extra_groups": []}
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            subprocess.run([python, "-c", probe], **settings)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python, folder
    pytest.skip("an ordinary user can execute no suitable Python here")


def as_an_ordinary_user(project: Project, theirs: tuple[str, Path], *args: str) -> Ran:
    """Run hermetic as a user who is not root."""
    python, packages = theirs
    environment = {**project.environment, "PYTHONPATH": str(packages)}
    command = [python, *project.command(*args)[1:]]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=60,
                          user=ORDINARY_UID, group=ORDINARY_UID, extra_groups=[])  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def reachable(folder: Path) -> None:
    """Let everybody walk to a folder of the test."""
    ours = [n for n, parent in enumerate(folder.parents) if parent.name.startswith("pytest-of-")]
    if not ours:
        pytest.skip("the tests run in a folder that is not pytest's own")
    for parent in list(folder.parents)[: ours[0] + 1]:
        parent.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_a_store_of_somebody_else_is_not_written_and_that_is_said(
    project: Project, theirs: tuple[str, Path]
) -> None:
    project.recipe("app", ': > "$out/x"')
    reachable(project.root)
    ran = as_an_ordinary_user(project, theirs, "realize", "app")
    assert ran.code == 1
    assert f"cannot write to the store {project.store}: Permission denied" in ran.err
    assert f"hint: user id {ORDINARY_UID} has no permission" in ran.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_an_ordinary_user_realizes_the_same_bytes_as_root(
    project: Project, tmp_path: Path, theirs: tuple[str, Path]
) -> None:
    project.recipe("app", 'id > "$out/id"; mkdir "$out/folder"; : > "$out/folder/x"')
    name = project.realized("app").name
    reachable(project.root)
    project.store = tmp_path / "theirs" / "store"
    project.store.parent.mkdir()
    os.chown(project.store.parent, ORDINARY_UID, ORDINARY_UID)
    ran = as_an_ordinary_user(project, theirs, "realize", "app")
    assert (ran.code, [p.name for p in ran.paths]) == (0, [name]), ran.err
    ran = as_an_ordinary_user(project, theirs, "realize", "app")
    assert (ran.code, ran.err) == (0, "")


def test_a_folder_where_no_store_can_be_made_is_said(project: Project) -> None:
    project.recipe("app", ': > "$out/x"')
    project.store = Path("/proc/no/store")
    ran = project.run("realize", "app")
    assert (ran.code, ran.out) == (1, "")
    assert "hermetic: error: cannot create /proc/no" in ran.err
    assert "Traceback" not in ran.err


def in_small_file_system(project: Project, size: str, then: str) -> Ran:
    """Realize `app` into a store on a file system of the given size, and run a command there; or skip."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    namespaces = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    project.store.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size={size} none "$0" && "$@"; echo "code $?"; {then}'
    command = [
        unshare,
        *namespaces,
        "sh",
        "-c",
        script,
        str(project.store),
        *project.command("realize", "app"),
    ]
    done = subprocess.run(command, env=project.environment, capture_output=True, text=True, timeout=60)
    if "mount:" in done.stderr or done.stderr.startswith("unshare:"):
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("size", ["64k", "1500k", "3m", "5m"])
def test_a_full_disk_is_said_and_nothing_half_written_stays(empty: Project, size: str) -> None:
    empty.recipe("app", 'dd if=/dev/zero of="$out/x" bs=1M count=8')
    ran = in_small_file_system(empty, size, 'cd "$0"; ls; ls .hermetic/tmp')
    code, *left = ran.out.splitlines()
    assert code in ("code 1", "code 100"), ran.err
    assert "no space left" in ran.err.lower(), ran.err
    assert "Traceback" not in ran.err
    assert not [name for name in left if name.startswith(("build-", "unpack-", "run-")) or "-app-" in name]


def test_a_checkout_that_cannot_be_read_is_said(project: Project) -> None:
    project.recipe("app", ': > "$out/x"')
    (project.root / "derivations/app/build.sh").unlink()
    (project.root / "derivations/app/build.sh").symlink_to("/nowhere")
    ran = project.run("realize", "app")
    assert ran.code == 1
    assert "derivations/app/build.sh: No such file or directory" in ran.err


def test_where_no_sandbox_can_be_made_nothing_is_built(project: Project) -> None:
    """No user namespaces: said with the remedy, and nothing enters the store."""
    project.recipe("app", ': > "$out/x"')
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    command: list[str] = ["unshare", "-U", "-r", "sh", "-c", limit, "sh", *project.command("realize", "app")]
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    done = subprocess.run(command, env=project.environment, capture_output=True, text=True, timeout=60)
    if "max_user_namespaces" in done.stderr.partition("hermetic:")[0]:
        pytest.skip("the limit cannot be lowered here")
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "hint:" in done.stderr
    assert project.objects("app") == []
