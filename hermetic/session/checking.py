"""Checks of finished interpreters: their files, CPython's test suite, and test suites of packages."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hermetic.check import expectation, inspecting
from hermetic.check import suite as suites
from hermetic.check.expectation import Expectations
from hermetic.check.package import PLACE, PackageTests
from hermetic.check.regrtest import Regrtest
from hermetic.check.report import TargetReport
from hermetic.check.room import TREE, Interpreter, Room
from hermetic.derivation.environment import logical
from hermetic.derivation.instantiate import SHELL, Evaluator
from hermetic.errors import UsageError
from hermetic.project.worktree import DIRECTORY
from hermetic.sandbox.client import Sandbox
from hermetic.sandbox.spec import Mount
from hermetic.session import machine
from hermetic.session.program import EMULATOR
from hermetic.systems import BUILD_SYSTEM, System, running_on

if TYPE_CHECKING:
    from hermetic.realize.events import Listener
    from hermetic.session.session import Session

EXPECTATIONS: Final = "expectations.toml"
_USERLAND: Final = "userland"  # the recipe of the programs that tests start: cat, ls, sleep
_TIMEOUT, _TIMEOUT_EMULATED = 900.0, 3600.0  # seconds, for each test file


class _Subject(msgspec.Struct, frozen=True):
    """A target to check.

    Attributes:
        suite: the target that has the test suite: the same interpreter, or a package.
        licensed: the parts that come with their licences.
        emulated: whether it runs under the emulator.
    """

    target: str
    suite: str
    licensed: tuple[str, ...]
    system: System
    version: str
    program: str
    expectations: Expectations
    emulated: bool


def check(
    session: Session,
    targets: Iterable[str],
    *,
    suite: str | None,
    tests: Sequence[str],
    artefact_only: bool,
    jobs: int | None,
    timeout: float | None,
    substitute: Iterable[Path],
    listener: Listener | None,
) -> Iterator[TargetReport]:
    """See `Session.check`."""
    subjects = [_subject(session, target, suite) for target in dict.fromkeys(targets)]
    wanted = [SHELL, _USERLAND]
    for subject in subjects:
        wanted += [subject.target] if artefact_only else [subject.target, subject.suite]
        wanted += [EMULATOR] if subject.emulated else []
    done = session.realize(wanted, jobs=jobs, substitute=substitute, listener=listener)
    paths = {name: output.path for name, output in done.outputs.items()}
    with session.store.workspace("check") as space, Sandbox() as sandbox:
        for subject in subjects:
            room = Room(sandbox, Path(space), _interpreter(subject, subject.target, paths))
            report = TargetReport(
                target=subject.target,
                version=subject.version,
                emulated=subject.emulated,
                artefact=inspecting.verdicts(room, subject.licensed),
            )
            if not artefact_only:
                room = Room(sandbox, Path(space), _with_tests(subject, paths))
                report = _with_suite(report, room, subject, paths, tests, jobs, timeout, listener)
            yield report


def _with_suite(
    report: TargetReport,
    room: Room,
    subject: _Subject,
    paths: dict[str, Path],
    tests: Sequence[str],
    jobs: int | None,
    timeout: float | None,
    listener: Listener | None,
) -> TargetReport:
    package = subject.expectations.package
    suite = PackageTests(package, paths[subject.suite]) if package else Regrtest()
    names = suite.files(room)
    core = subject.expectations.core if subject.emulated else ()
    chosen = suites.chosen(names, tests or core)
    started = time.monotonic()
    results = suites.run(
        suite,
        room,
        chosen,
        jobs=jobs or os.cpu_count() or 1,
        timeout=timeout or (_TIMEOUT_EMULATED if subject.emulated else _TIMEOUT),
        listener=listener or (lambda event: None),
    )
    expected = expectation.applying(
        subject.expectations, subject.system.arch, subject.version, emulated=subject.emulated
    )
    return msgspec.structs.replace(
        report,
        suite=f"The test suite of {package}" if package else report.suite,
        results=tuple(results),
        judgement=expectation.judge(results, expected, whole=len(chosen) == len(names)),
        files=len(names),
        seconds=time.monotonic() - started,
    )


def _subject(session: Session, target: str, suite: str | None) -> _Subject:
    name, _, revision = target.partition("@")
    evaluator = session.evaluator(revision or None)
    wanted = evaluator.parse_target(name)
    recipe = evaluator.recipe_for(wanted.recipe, wanted.versions)
    expectations = _expectations(evaluator, wanted.recipe)
    if expectations is None or not expectations.suite:
        raise UsageError(
            f"{target} cannot be checked: no {DIRECTORY}/{wanted.recipe}/{EXPECTATIONS} names its test suite",
            hint="only interpreters are checked: `hermetic check cpython-x86_64`",
        )
    tests = expectations.suite + target.removeprefix(wanted.recipe)
    if suite is not None:
        expectations = _expectations(evaluator, suite) if suite in evaluator.known else None
        if expectations is None or not expectations.package:
            raise UsageError(
                f"{suite} has no tests: no {DIRECTORY}/{suite}/{EXPECTATIONS} names a package",
                hint="the recipe of a package with its tests is meant: --suite numpy-tests",
            )
        tests = f"{suite}-{wanted.system.arch}{f'@{revision}' if revision else ''}"
    # The sandbox lets only system calls of the build system through, and those of i386 are others.
    own_calls = wanted.system.triple == BUILD_SYSTEM.triple
    return _Subject(
        target=target,
        suite=tests,
        licensed=("python", "musl", *recipe.host_inputs),
        system=wanted.system,
        version=evaluator.version_of(recipe, wanted.versions),
        program=recipe.meta.main_program,
        expectations=expectations,
        emulated=not own_calls or wanted.system not in running_on(machine.this()),
    )


def _expectations(evaluator: Evaluator, recipe: str) -> Expectations | None:
    """What stands beside a recipe, which must exist; None if there is nothing."""
    file = evaluator.file_of(recipe, f"{DIRECTORY}/{{}}/{EXPECTATIONS}")
    return None if file is None else expectation.parse(evaluator.files[file], file)


def _with_tests(subject: _Subject, paths: dict[str, Path]) -> Interpreter:
    """The interpreter that has the test suite, or the one that gets a package with its own."""
    if not subject.expectations.package:
        return _interpreter(subject, subject.suite, paths)
    plain = _interpreter(subject, subject.target, paths)
    mounts = (*plain.mounts, Mount(str(paths[subject.suite]), PLACE))
    path = f"{PLACE}/bin:{plain.path}"
    return msgspec.structs.replace(plain, mounts=mounts, path=path, env={"PYTHONPATH": PLACE})


def _interpreter(subject: _Subject, target: str, paths: dict[str, Path]) -> Interpreter:
    """How the program of a realized target is started in a sandbox."""
    tools = [SHELL, _USERLAND, *([EMULATOR] if subject.emulated else [])]
    shell = f"{logical(BUILD_SYSTEM, SHELL)}/bin/busybox"
    emulator = f"{logical(BUILD_SYSTEM, EMULATOR)}/usr/bin/{subject.system.qemu}"
    return Interpreter(
        target=target,
        tree=paths[target],
        arch=subject.system.arch,
        version=subject.version,
        command=(*((emulator,) if subject.emulated else ()), f"{TREE}/{subject.program}"),
        mounts=tuple(Mount(str(paths[name]), logical(BUILD_SYSTEM, name)) for name in tools),
        links={"/bin/sh": shell, "/usr/bin/env": shell},
        path=f"{logical(BUILD_SYSTEM, _USERLAND)}/bin:/bin:/usr/bin",
        formats=(_format(subject, paths[target], emulator),) if subject.emulated else (),
    )


def _format(subject: _Subject, tree: Path, emulator: str) -> str:
    """The line for binfmt_misc by which programs of that system, too, can start themselves."""
    with (tree / subject.program).open("rb") as file:
        header = file.read(20)  # up to the machine (e_machine)
    magic = "".join(f"\\x{byte:02x}" for byte in header)
    any_type = header.index(2, 16) if 2 in header[16:18] else 16  # e_type, in either byte order
    mask = "".join("\\xff" if n != any_type else "\\xfe" for n in range(len(header)))
    return f":{subject.system.arch}:M:0:{magic}:{mask}:{emulator}:PF"
