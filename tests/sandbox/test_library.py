"""What Python programs are promised, over real builds: the README's example, and what it leaves out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hermetic
from hermetic.errors import BuildFailure, NotReproducible
from hermetic.gc.plan import Options
from hermetic.realize.events import Finished, Planned
from tests.support.project import REPOSITORY, Project


@pytest.fixture
def session(project: Project) -> hermetic.Session:
    project.recipe("library", 'echo library > "$out/x"')
    project.recipe("app", 'cat "$library/x" > "$out/x"', host_inputs=["library"])
    project.recipe("bad", "echo the reason; exit 3")
    project.recipe("above", ': > "$out/x"', host_inputs=["bad"])
    return hermetic.Session(project.root, project.store)


def test_the_readmes_example_runs(empty: Project) -> None:
    empty.recipe("zlib", 'echo "$arch" > "$out/machine"')
    (example,) = re.findall(r"^```python\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=empty.root, env=empty.environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].endswith(" derivations")
    assert "Planned" in lines
    (path,) = [Path(line) for line in lines if line.startswith("/")]
    assert path.parent == empty.root / "store"
    assert (path / "machine").read_text() == "aarch64\n"
    assert lines[-2:] == ["reproducible: True", "0 bytes would be freed"]


def test_what_is_pending_is_told_and_then_realized(session: hermetic.Session) -> None:
    todo = session.pending(["app", "library"])
    assert [pending.step.derivation.name for pending in todo] == ["library", "app"]
    events: list[hermetic.Event] = []
    done = session.realize(["app", "library"], listener=events.append)
    assert done.error is None
    assert list(done.outputs) == ["app", "library"]
    assert (done.outputs["app"].path / "x").read_text() == "library\n"
    assert isinstance(events[0], Planned)
    assert {e.label for e in events if isinstance(e, Finished)} == {"app-1 (x86_64)", "library-1 (x86_64)"}
    assert session.pending(["app", "library"]) == []
    again: list[hermetic.Event] = []
    assert session.realize(["app", "library"], listener=again.append) == done
    assert again == []


def test_a_failure_is_raised_and_with_keep_going_returned(session: hermetic.Session) -> None:
    with pytest.raises(BuildFailure, match="exit status 3"):
        session.realize(["above", "app"])
    done = session.realize(["above", "app"], keep_going=True)
    assert list(done.outputs) == ["app"]
    assert [failure.label for failure in done.failures] == ["bad-1 (x86_64)"]
    assert done.skipped == ("above-1 (x86_64)",)
    assert done.error is not None
    assert done.error.message == "1 failed, 1 not tried because of them"


def test_what_was_verified_can_be_accepted_and_what_was_not_cannot(
    session: hermetic.Session, project: Project
) -> None:
    report = session.verify(["app"], closure=True, perturb=["hostname"])
    assert (report.reproducible, report.perturbed) == (True, ("hostname",))
    assert sorted(verdict.label for verdict in report.verdicts) == ["app-1 (x86_64)", "library-1 (x86_64)"]
    assert len(session.accept(report)) == 2
    assert session.accept(report) == []
    project.recipe("app", 'head -c 8 /dev/urandom > "$out/x"')
    with hermetic.Session(project.root, project.store) as later:
        other = later.verify(["app"], perturb=[])
        assert [verdict.status for verdict in other.verdicts] == ["differs"]
        with pytest.raises(NotReproducible):
            later.accept(other)


def test_a_program_is_started_and_a_failed_build_looked_at(
    session: hermetic.Session, project: Project
) -> None:
    project.recipe("tool", 'mkdir "$out/bin"; echo "#!/bin/sh" > "$out/bin/tool"', systems=["x86_64"])
    (program,) = session.command_line("tool")
    assert Path(program).read_text() == "#!/bin/sh\n"
    with pytest.raises(hermetic.HermeticError, match="tool has no program bin/other") as caught:
        session.command_line("tool", program="bin/other")
    assert caught.value.hint == "choose one with --program; bin/ holds: tool"
    assert session.failed_work("bad") is None
    with pytest.raises(BuildFailure):
        session.realize(["bad"], keep_failed=True)
    assert session.failed_work("bad") is not None
    assert session.enter("bad", script="exit 7", work=session.failed_work("bad")) == 7


def test_two_stores_agree_or_disagree(session: hermetic.Session, project: Project, tmp_path: Path) -> None:
    session.realize(["app"])
    with hermetic.Session(project.root, tmp_path / "other") as other:
        other.realize(["library"])
    result = session.agreement(["app"], str(tmp_path / "other"))
    assert {row.name: row.verdict for row in result.rows} == {"app": "unknown", "library": "agree"}
    assert {entry.name for entry in session.published(["app"])} == {"app", "library"}


def test_a_session_keeps_what_it_realized_until_it_is_closed(
    session: hermetic.Session, project: Project
) -> None:
    with session:
        name = session.realize(["app"]).outputs["app"].object
        with hermetic.Session(project.root, project.store) as other:
            assert name not in {info.name for info in other.garbage().delete}
            why = other.why_live(name)
            assert why is not None
            assert why[0].startswith("in use by ")
    with hermetic.Session(project.root, project.store) as other:
        assert other.why_live(name) is None
        assert name in other.collect_garbage(Options(keep_sources=False)).deleted
        assert other.pinned_seeds()
        assert other.garbage(keep_seeds=False).delete


def test_a_path_or_link_into_an_object_names_it(
    session: hermetic.Session, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.recipe("deep", 'mkdir "$out/bin"; echo a > "$out/bin/a"; ln -s /bin/nowhere "$out/bin/b"')
    output = session.realize(["deep"]).outputs["deep"]
    (project.root / "result").symlink_to(output.path)
    monkeypatch.chdir(project.root)
    paths = (output.path, output.path / "bin", "result", "./result", "result/bin/a", "result/bin/b")
    for meant in (output.object, "deep", *map(str, paths)):
        assert session.object_of(meant) == output.object, meant
    hidden = f"{project.store}/.hermetic/tmp"
    for other in ("result/bin/c", "derivations/deep", str(project.store), "/", hidden):
        with pytest.raises(hermetic.HermeticError, match="is not in the store"):
            session.object_of(other)
