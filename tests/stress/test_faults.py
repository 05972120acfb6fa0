"""The fault injection of `tests.faults` in a shorter form: every kind of fault, a few of each, the same ones.

`python -m tests.faults` is the whole of it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermetic import tree
from tests.faults import report
from tests.faults.bench import PHASES, Bench, Case, Lost, benches, no_traceback
from tests.faults.kills import KINDS as KILLS
from tests.faults.plan import KINDS, Outcome, attempt, cases, parse
from tests.faults.traces import Watch, adopting, generations
from tests.support.project import Ran

SEED = 1
COUNTS = {"full_disk": 2, "read_only": 1, "servers": 3, "clocks": 1, "crowds": 1}
SHORTER = [
    *(Case(kind, phase, SEED) for phase, kind in zip(PHASES, itertools.cycle(KILLS), strict=False)),
    *(case for group, count in COUNTS.items() for case in cases(group, count, SEED)),
]
ROOM = 512 << 20  # bytes
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """In memory, if there is room: on a disk each sync waits for what other programs write."""
    usable = os.access(MEMORY, os.W_OK) and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    if usable and shutil.disk_usage(MEMORY).free > ROOM:
        folder = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY))
    else:
        folder = tmp_path_factory.mktemp("faults")
    try:
        with benches(folder) as made:
            yield made
    finally:
        tree.remove(folder)


@pytest.mark.parametrize("case", SHORTER, ids=str)
def test_survives(bench: Bench, case: Case) -> None:
    outcome = attempt(bench, case)
    if "only root" in outcome.why and outcome.survived is None:
        pytest.skip(outcome.why)
    assert outcome.survived, outcome.why


# -- the checks themselves: each must be able to fail


def test_a_lost_object_is_noticed(bench: Bench) -> None:
    with bench.case(bench.full) as after, pytest.raises(Lost, match="store verify"):
        (bench.project.store / bench.names[0] / "f0").unlink()
        after.check()


def test_what_was_called_done_and_is_not_there_is_noticed(bench: Bench) -> None:
    with bench.case(bench.base) as after, pytest.raises(Lost, match=r"lost: .*-alpha-1.0"):
        after.check("[7/11] built alpha-1.0 (x86_64) in 0.3s\n")


def test_an_object_that_was_there_before_and_is_gone_is_noticed(bench: Bench) -> None:
    with bench.case(bench.full) as after, pytest.raises(Lost, match=r"lost: .*-top-1"):
        bench.run("gc")
        after.check()


def test_other_content_than_that_of_an_undisturbed_run_is_noticed(bench: Bench) -> None:
    with bench.case(bench.base) as after:
        right = bench.realisations
        try:
            bench.realisations = dict.fromkeys(right, bench.names[0])
            with pytest.raises(Lost, match="registered, and wrong"):
                after.check()
        finally:
            bench.realisations = right


def test_an_orphan_in_whatever_session_is_noticed(tmp_path: Path) -> None:
    with adopting():
        watch = Watch(tmp_path)
        script = "import os; os.fork() and os._exit(0); os.setsid(); os.execvp('sleep', ['sleep', '60.123'])"
        subprocess.run([sys.executable, "-c", script], check=True)
        (left,) = watch.left(patience=0.5)
        assert "sleep 60.123" in left
        (orphan,) = [pid for pid in generations(os.getpid())[0] if f"process {pid}:" in left]
        os.kill(orphan, 9)
        os.waitpid(orphan, 0)
        assert watch.left() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_mount_that_is_left_is_noticed(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
    try:
        assert watch.left() == [f"mount {tmp_path.resolve()}"]
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_work_that_lies_about_is_noticed(bench: Bench) -> None:
    with bench.case(bench.full) as after:
        (bench.project.store / ".hermetic/failed/build-old").mkdir()
        with pytest.raises(Lost, match=r"there is left: .*failed/build-old"):
            after.check()


def test_a_traceback_is_no_way_to_end() -> None:
    with pytest.raises(Lost, match="a traceback"):
        no_traceback(Ran(1, "", "Traceback (most recent call last):\n"))


# -- the choice and the report


def test_the_same_seed_gives_the_same_cases_and_covers_every_place() -> None:
    chosen = list(cases("kills", 300, 7))
    assert chosen == list(cases("kills", 300, 7)) != list(cases("kills", 300, 8))
    assert [parse(str(case)) for case in chosen] == chosen
    assert {case.phase for case in chosen if case.kind == "kill-both"} == set(PHASES)
    for group in ("kills", *COUNTS):
        places = sum(len(kind.phases) for kind in KINDS.values() if kind.group == group)
        assert len({case[:2] for case in cases(group, places, 1)}) == places


def test_the_report_counts_what_was_tried_and_names_what_was_lost() -> None:
    lost = Case("clock", "ran", 5)
    outcomes = [
        Outcome(Case("clock", "ran", 4), True, "", 1.0),
        Outcome(lost, False, "lost: x", 1.0),
        Outcome(Case("clock", "gc", 6), None, "", 1.0),
    ]
    assert [row.split()[1::2] for row in report.table(outcomes).splitlines()[2:]] == [
        ["clock", "ran", "2", "1"],
        ["all", "|", "|", "|"],
    ]
    (text,) = report.failures(outcomes)
    assert f"--only {lost}" in text
    assert "lost: x" in text
