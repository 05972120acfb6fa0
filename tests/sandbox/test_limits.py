"""A build that takes too much of the machine is stopped, and says why. All limits here are low."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import Caller
from tests.support.mounts import mount, with_mounts
from tests.support.project import Project

FORKS = """
import time
for _ in range({count}):
    if os.fork() == 0:
        time.sleep({seconds})
        os._exit(0)
time.sleep({seconds})
"""
THREADS = """
import threading, time
for _ in range({count}):
    threading.Thread(target=time.sleep, args=({seconds},), daemon=True).start()
time.sleep({seconds})
"""
BOMB = "bomb() { bomb | bomb & bomb; }; bomb; sleep 10"
LIMIT = 100


def ended(caller: Caller, code: str, **fields: Any) -> Any:
    spec = caller.python_spec(code, **{"timeout": 40, "processes": LIMIT, **fields})
    return caller.run(spec)["result"]


# -- processes


@pytest.mark.parametrize("code", [FORKS, THREADS], ids=["processes", "threads"])
@pytest.mark.parametrize("traced", [0, 10**7], ids=["", "traced"])
def test_more_processes_than_the_limit_end_a_build(caller: Caller, code: str, traced: int) -> None:
    within = code.format(count=LIMIT - 5, seconds=0.4)
    assert ended(caller, within, clock_offset=traced)["exit_status"] == 0
    result = ended(caller, code.format(count=LIMIT + 5, seconds=30), clock_offset=traced)
    assert result["exceeded"] == "processes"
    assert result["exit_status"] is None
    assert result["seconds"] < 20


def test_a_fork_bomb_ends(caller: Caller) -> None:
    result = caller.run(caller.shell(BOMB, processes=LIMIT, timeout=40))["result"]
    assert result["exceeded"] == "processes"
    assert result["seconds"] < 20


def test_each_build_has_the_limit_for_itself(caller: Caller) -> None:
    spec = caller.python_spec(FORKS.format(count=LIMIT - 10, seconds=1), processes=LIMIT)
    results = caller.drive("run_at_once", specs=[spec] * 3)["results"]
    assert [result["exit_status"] for result in results] == [0] * 3


def test_a_recipes_limit_of_processes(project: Project) -> None:
    script = 'for n in $(seq 30); do sleep 3 & done; wait; : > "$out/x"'
    project.recipe("app", script, process_limit=20)
    ran = project.run("realize", "app")
    assert ran.code == 100
    assert "app-1 (x86_64): it started more than 20 processes and threads at the same time" in ran.err
    assert "hint: more can be allowed as `process-limit` in derivations/app/recipe.toml" in ran.err
    before = project.ok("show", "app").json()["id"]
    project.recipe("app", script, process_limit=40)
    assert project.ok("show", "app").json()["id"] == before
    project.ok("realize", "app")
    project.recipe("app", script, process_limit=0)
    said = project.run("realize", "app").err
    assert "process-limit is 0, but must be above 0 (processes and threads)" in said


def test_a_failure_whose_log_speaks_of_the_limit_names_it(project: Project) -> None:
    project.recipe("app", "echo fork: Resource temporarily unavailable; exit 2", process_limit=77)
    assert "`process-limit`: 77 processes and threads at the same time" in project.run("realize", "app").err


# -- memory


def free_and_used() -> tuple[int, int]:
    """Bytes of the machine's memory, swap space included."""
    with Path("/proc/meminfo").open() as lines:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    free = kib["MemAvailable"] + kib["SwapFree"]
    return free << 10, (kib["MemTotal"] + kib["SwapTotal"] - free) << 10


@pytest.fixture
def hunger() -> tuple[int, int]:
    """More memory than all that is in use, and a reserve that is touched before all of it is taken."""
    free, used = free_and_used()
    hunger = used + (256 << 20)
    if hunger > 7 << 28 or free < 3 * hunger:
        pytest.skip("other programs use too much of this machine's memory")
    return 2 * hunger, free - hunger


TAKE = "import time\nx = []\nfor _ in range({mib} // 50): x.append(b'1' * (50 << 20)); time.sleep(0.01)\n"
SHARE = """
import time
for _ in range({mib} // 100):
    if os.fork() == 0:
        x = b'1' * (100 << 20)
        time.sleep(30)
    time.sleep(0.02)
time.sleep(30)
"""
FILES = """
import time
with open("/tmp/x", "wb") as file:
    for _ in range({mib} // 10):
        file.write(bytes(10 << 20))
        time.sleep(0.002)
time.sleep(5)
"""


@pytest.mark.parametrize("code", [TAKE, SHARE, FILES], ids=["one", "many", "files"])
def test_a_build_that_takes_all_memory_is_stopped(caller: Caller, hunger: tuple[int, int], code: str) -> None:
    size, reserve = hunger
    result = ended(caller, code.format(mib=size >> 20), memory_reserve=reserve)
    assert result["exceeded"] == "memory"


def test_a_build_that_did_not_take_it_goes_on_where_memory_is_short(caller: Caller) -> None:
    free, _ = free_and_used()
    assert ended(caller, "import time; time.sleep(1)", memory_reserve=2 * free)["exit_status"] == 0


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A cgroup whose processes may have 400 MB."""
    roots = {
        Path("/sys/fs/cgroup"): "memory.max",
        Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
    }
    for root, limit in roots.items():
        made = root / f"hermetic-test-{os.getpid()}-{time.monotonic_ns()}"
        try:
            made.mkdir()
        except OSError:
            continue
        try:
            if (made / limit).exists():
                (made / limit).write_text("400000000")
                if (made / "memory.swap.max").exists():
                    (made / "memory.swap.max").write_text("0")
                yield made
                return
        finally:
            made.rmdir()
    pytest.skip("no cgroup with a limit of memory can be created here")


def test_the_kernel_kills_builds_first_and_the_failure_says_so(project: Project, memory_cgroup: Path) -> None:
    # A string that doubles until there is no memory left.
    project.recipe("app", """awk 'BEGIN { x = "0123456789abcdef"; while (1) x = x x }'; exit 3""")
    enter = memory_cgroup / "cgroup.procs"
    ran = project.run("realize", "app", preexec_fn=lambda: enter.write_text(str(os.getpid())))
    assert ran.code == 100, ran.err
    assert "no memory was left: processes that the kernel killed since hermetic was started: 1" in ran.err


# -- disks


@pytest.mark.parametrize(
    "script", ["cat /dev/zero > x", "while :; do cat /dev/zero > x || :; done 2> /dev/null"]
)
def test_a_build_that_fills_the_disk_is_stopped(project: Project, tmp_path: Path, script: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")

    def work() -> None:
        small = tmp_path / "small"
        small.mkdir()
        mount("-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", small)
        shutil.copytree(project.store, small / "store", symlinks=True)
        project.store = small / "store"
        project.recipe("app", script)
        ran = project.run("realize", "app")
        assert ran.code == 100, ran.err
        assert "app-1 (x86_64): the disk that it is built on is full, and the build was stopped" in ran.err
        assert "`hermetic gc`" in ran.err
        assert project.leftovers() == []
        project.recipe("app", ': > "$out/x"')
        project.ok("realize", "app")

    with_mounts(work, report=tmp_path / "skipped")
