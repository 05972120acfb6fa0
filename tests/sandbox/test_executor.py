"""What every executor promises. The tests are the same for all; a new one is an entry in `KINDS`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermetic.derivation.instantiate import Evaluator
from hermetic.derivation.value import Build, inputs_of
from hermetic.errors import BuildFailure, BuildTimeout
from hermetic.project import files
from hermetic.realize.cancel import Cancelled
from hermetic.realize.executor import Executor, Request, admitted
from hermetic.realize.local import LocalExecutor
from hermetic.sandbox.spec import SandboxSpec
from hermetic.store.store import Store
from tests.support.processes import eventually, processes
from tests.support.project import Project

TAKE = "timeout 5 dd if=/dev/jobserver bs=1 count=1 2>&1"


def renamed(drv: Build, spec: SandboxSpec) -> SandboxSpec:
    """Another sandbox for a build: what verification does."""
    return msgspec.structs.replace(spec, hostname="elsewhere", umask=0o027)


def plain(space: Path, jobs: int) -> Executor:
    return LocalExecutor(space, jobs, lambda event: None)


def transforming(space: Path, jobs: int) -> Executor:
    return LocalExecutor(space, jobs, lambda event: None, transform=renamed)


KINDS: dict[str, Callable[[Path, int], Executor]] = {"local": plain, "local, transformed": transforming}


class Bench:
    """One executor, and builds to give it.

    Attributes:
        count: how many were given.
    """

    def __init__(self, make: Callable[[Path, int], Executor], project: Project, store: Store, space: Path):
        self._make = make
        self.project = project
        self.store = store
        self.space = space
        self.count = 0
        self.executors: list[Executor] = []

    def executor(self, jobs: int = 2) -> Executor:
        place = self.space / f"executor-{len(self.executors)}"
        place.mkdir()
        self.executors.append(self._make(place, jobs))
        return self.executors[-1]

    def request(self, script: str, **fields: Any) -> Request:
        self.count += 1
        self.project.recipe("app", script, **fields)
        evaluator = Evaluator(files.read_worktree(self.project.root))
        graph = evaluator.instantiate(evaluator.parse_target("app")).graph
        step = graph.steps[graph.root]
        work = self.space / f"work-{self.count}"
        work.mkdir()
        inputs = {drv_id: self._object(drv_id) for drv_id in inputs_of(step.derivation)}
        return Request(step, inputs, work, self.space / f"{self.count}.log")

    def _object(self, drv_id: str) -> Path:
        found = self.store.realisation(drv_id)
        assert found is not None
        return self.store.path(found.object)


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, project: Project) -> Iterator[Bench]:
    with Store.open(project.store) as store, store.workspace("test") as space:
        made = Bench(KINDS[request.param], project, store, space)
        yield made
        for executor in made.executors:
            executor.close()


def test_it_gives_the_tree_that_the_script_made_and_logs_what_it_wrote(bench: Bench) -> None:
    executor = bench.executor()
    request = bench.request('echo said; echo warned >&2; mkdir "$out/d"; echo made > "$out/d/x"')
    request.log.write_text("of an earlier attempt, and longer than what is said now")
    with admitted(executor):
        out = executor.execute(request)
    assert (out / "d/x").read_text() == "made\n"
    assert out.is_relative_to(request.work)
    assert request.log.read_text() == "said\nwarned\n"


def test_inputs_stand_at_their_logical_paths_and_cannot_be_changed(bench: Bench) -> None:
    executor = bench.executor()
    script = 'b=/hermetic/x86_64-linux-musl/busybox; [ -x $b/bin/busybox ]; ! touch $b/new; : > "$out/x"'
    with admitted(executor):
        assert executor.execute(bench.request(script)).is_dir()


def test_a_script_that_fails_is_a_failure_with_the_end_of_its_log(bench: Bench) -> None:
    executor = bench.executor()
    request = bench.request('echo the reason; : > "$out/x"; exit 3')
    with (
        admitted(executor),
        pytest.raises(BuildFailure, match=r"app-1 \(x86_64\): .*exit status 3") as failed,
    ):
        executor.execute(request)
    assert "| the reason" in failed.value.details
    assert any(str(request.log) in line for line in failed.value.details)


def test_a_script_that_leaves_nothing_is_a_failure(bench: Bench) -> None:
    executor = bench.executor()
    with admitted(executor), pytest.raises(BuildFailure, match="left nothing"):
        executor.execute(bench.request("true"))


def test_a_build_that_takes_too_long_is_killed_with_all_that_it_started(bench: Bench) -> None:
    executor = bench.executor()
    request = bench.request("echo begun; sleep 3131 & sleep 3131", timeout=1)
    begun = time.monotonic()
    with admitted(executor), pytest.raises(BuildTimeout, match="after 1 s"):
        executor.execute(request)
    assert time.monotonic() - begun < 10
    assert request.log.read_text() == "begun\n"
    assert eventually(lambda: not processes("3131"), 5)


def test_after_a_failure_the_next_build_is_done_as_if_nothing_had_been(bench: Bench) -> None:
    executor = bench.executor(1)
    for _ in range(2):
        with pytest.raises(BuildFailure), admitted(executor):
            executor.execute(bench.request("exit 1"))
    with admitted(executor):
        assert (executor.execute(bench.request(': > "$out/x"')) / "x").exists()


def test_cancelling_from_another_thread_ends_everything_now_and_later(bench: Bench) -> None:
    executor = bench.executor(2)
    requests = [bench.request(f"echo up; sleep 31{n}") for n in range(2)]
    late = bench.request(': > "$out/x"')
    ended: list[type[BaseException]] = []

    def build(request: Request) -> None:
        try:
            with admitted(executor):
                executor.execute(request)
        except BaseException as error:
            ended.append(type(error))

    threads = [threading.Thread(target=build, args=(r,)) for r in requests]
    for thread in threads:
        thread.start()
    assert eventually(lambda: all(r.log.exists() and r.log.read_text() == "up\n" for r in requests), 10)
    begun = time.monotonic()
    executor.cancel()
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - begun < 5
    assert ended == [Cancelled, Cancelled]
    with admitted(executor), pytest.raises(Cancelled):
        executor.execute(late)


def test_closing_twice_is_closing_once(bench: Bench) -> None:
    used, unused = bench.executor(), bench.executor()
    with admitted(used):
        used.execute(bench.request(': > "$out/x"'))
    for executor in (used, unused, used, unused):
        executor.close()


@pytest.mark.parametrize("jobs", [1, 3])
def test_it_admits_as_many_as_it_has_room_for(bench: Bench, jobs: int) -> None:
    executor = bench.executor(jobs)
    assert executor.capacity == jobs
    for _ in range(2):
        assert [executor.admit() for _ in range(jobs + 2)] == [True] * jobs + [False] * 2
        executor.leave()
        assert (executor.admit(), executor.admit()) == (True, False)
        for _ in range(jobs):
            executor.leave()


def test_builds_that_were_admitted_run_at_the_same_time(bench: Bench) -> None:
    executor = bench.executor(2)
    requests = [bench.request(f'echo {n} > "$out/x"; sleep 1') for n in range(2)]

    def build(request: Request) -> float:
        with admitted(executor):
            executor.execute(request)
        return time.monotonic()

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(build, requests)
    assert abs(one - other) < 0.9


def test_room_that_a_build_has_taken_and_not_given_back_is_there_again_once_it_is_dead(bench: Bench) -> None:
    """A make that is killed returns no token."""
    executor = bench.executor(3)
    with admitted(executor), pytest.raises(BuildFailure):
        executor.execute(bench.request(f"{TAKE}; {TAKE}; exit 1"))
    assert [executor.admit() for _ in range(4)] == [True, True, True, False]


def test_who_waits_for_room_gets_it_or_is_called_off(bench: Bench) -> None:
    executor = bench.executor(1)
    stop = threading.Event()
    assert executor.admit()
    threading.Timer(0.2, executor.leave).start()
    with admitted(executor, stop):
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(Cancelled), admitted(executor, stop):
            raise AssertionError("there was no room")
    assert executor.admit()


def test_what_transforms_has_the_last_word_on_the_sandbox(project: Project) -> None:
    seen: list[tuple[str, bool]] = []

    def transform(drv: Build, spec: SandboxSpec) -> SandboxSpec:
        build = next(Path(m.source) for m in spec.mounts if m.target == "/build")
        seen.append((drv.name, (build / "build.sh").exists()))
        return msgspec.structs.replace(spec, env={**spec.env, "JOBS": "77"})

    with Store.open(project.store) as store, store.workspace("test") as space:
        executor = LocalExecutor(space, 2, lambda event: None, transform=transform)
        bench = Bench(transforming, project, store, space)
        with admitted(executor):
            out = executor.execute(bench.request('echo "$JOBS" > "$out/x"'))
        executor.close()
        assert (out / "x").read_text() == "77\n"
    assert seen == [("app", True)]
