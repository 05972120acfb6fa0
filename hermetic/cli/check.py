"""`hermetic check`."""

from __future__ import annotations

from pathlib import Path

import click

from hermetic.cli.display import display
from hermetic.cli.usage import jobs_option, substitute_option, whole_number
from hermetic.errors import UsageError
from hermetic.session import Session


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--artefact", is_flag=True, help="Check the files only, and run no tests.")
@click.option(
    "--suite",
    metavar="RECIPE",
    help="Run the test suite of a package, such as numpy-tests, not CPython's own.",
)
@click.option(
    "--tests",
    multiple=True,
    metavar="PATTERN",
    help="Run only the test files of this name; * matches anything (repeatable).",
)
@click.option(
    "--timeout", type=whole_number(1, 10**6), metavar="SECONDS", help="Longest time of a test file."
)
@click.option("--junit", metavar="FILE", help="Write all results to FILE as JUnit XML.")
@click.option("--report", metavar="FILE", help="Write a summary to FILE as Markdown tables.")
@jobs_option
@substitute_option
@click.pass_obj
def command(
    session: Session,
    targets: tuple[str, ...],
    artefact: bool,
    suite: str | None,
    tests: tuple[str, ...],
    timeout: int | None,
    junit: str | None,
    report: str | None,
    jobs: int | None,
    substitute: tuple[Path, ...],
) -> None:
    """Check interpreters: what their files are, and whether CPython's own tests pass, or those of a package.

    Tests run in a sandbox, each file in a process of its own. What is known to fail is listed in
    expectations.toml beside the recipe. Anything else that fails, and anything listed there that passes,
    fails the check. A TARGET for another architecture runs under the pinned qemu, by default only the core
    tests.

    Exit codes: 0 as expected, 104 not as expected.

    \b
    hermetic check cpython-x86_64
    hermetic check cpython-x86_64 --suite numpy-tests
    hermetic check cpython-aarch64 --tests 'test_json' --junit results.xml
    """
    for option, file in (("--junit", junit), ("--report", report)):
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise UsageError(f"{option} {file}: no such directory")
    for option, given in (("--tests", tests), ("--suite", suite)):
        if artefact and given:
            raise UsageError(
                f"--artefact runs no tests, so {option} has no meaning", hint="leave one of them out"
            )
    from hermetic.cli import checks

    with display() as listener:
        reports = session.check(
            targets,
            suite=suite,
            tests=tests,
            artefact_only=artefact,
            jobs=jobs,
            timeout=timeout,
            substitute=substitute,
            listener=listener,
        )
    checks.show(reports)
    checks.write(reports, junit, report)
    checks.conclude(reports)
