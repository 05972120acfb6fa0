"""Joins the store, the sandbox, the fetcher and the engine, for every command that may have to build."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from hermetic.cli.progress import showing, size
from hermetic.derivation import graph
from hermetic.derivation.graph import Work
from hermetic.derivation.instantiate import Instance
from hermetic.errors import BuildFailure, HermeticError
from hermetic.project.lock import Pin
from hermetic.realize.engine import Engine
from hermetic.realize.events import Notice, Transfer
from hermetic.realize.local import LocalExecutor
from hermetic.realize.steps import Steps
from hermetic.session import Session

if TYPE_CHECKING:
    from hermetic.sources.fetch import Fetcher


class Options(msgspec.Struct, frozen=True):
    """How to realize; see `hermetic realize --help`."""

    jobs: int
    keep_going: bool = False
    keep_failed: bool = False
    offline: bool = False
    dry_run: bool = False
    verbose: bool = False


def realize_all(
    session: Session, instances: list[Instance], options: Options
) -> tuple[dict[str, str], HermeticError | None]:
    """Realize targets.

    Returns:
        target label to store object; and with `keep_going`, what failed in the end.

    Raises:
        HermeticError: the first failure, without `keep_going`.
    """
    with engine(session, graph.merge(instances), options) as run:
        if options.dry_run:
            _print_plan(run)
            return {}, None
        outcome = run.run()
        session.store.keep(*outcome.objects.values())  # what follows uses them: a link is made, a program run
    if outcome.failures:
        return outcome.objects, _summary(run, outcome.failures, outcome.skipped)
    return outcome.objects, None


def realize_derivations(
    session: Session, instances: list[Instance], wanted: Iterable[str], options: Options
) -> dict[str, str]:
    """Realize some derivations of targets' graphs; derivation id to store object."""
    work = graph.merge(instances)
    work = msgspec.structs.replace(work, roots={drv_id: drv_id for drv_id in wanted})
    with engine(session, work, options) as run:
        objects = run.run().objects
        session.store.keep(*objects.values())
        return objects


@contextmanager
def engine(session: Session, work: Work, options: Options) -> Iterator[Engine]:
    """An engine over the session's store, with progress shown while the block runs."""
    store = session.store
    fetch_ids = {step.pin: drv_id for drv_id, step in work.steps.items() if step.pin is not None}
    with showing(options.verbose) as listener, store.workspace("run") as space:
        executor = LocalExecutor(space, options.jobs, listener)

        def fetcher(stop: threading.Event) -> Fetcher:
            from hermetic.sources.fetch import Fetcher  # slow to load, and most runs fetch nothing

            def progress(pin: Pin, done: int, total: int, mirror: str) -> None:
                listener(Transfer(fetch_ids[pin], done, total, mirror))

            def notice(pin: Pin, line: str) -> None:
                listener(Notice(fetch_ids[pin], f"{pin.name}-{pin.version}", line))

            return Fetcher(
                store.layout.downloads, offline=options.offline, progress=progress, notice=notice, cancel=stop
            )

        steps = Steps(
            store,
            executor,
            fetcher,
            listener,
            offline=options.offline,
            keep_failed=options.keep_failed,
        )
        try:
            yield Engine(steps, work, executor, keep_going=options.keep_going, listener=listener)
        finally:
            steps.close()
            executor.close()


def _print_plan(run: Engine) -> None:
    todo = run.pending()
    if not todo:
        print("nothing to do", file=sys.stderr)
    for drv_id in todo:
        step = run.work.steps[drv_id]
        extra = f"  {size(step.pin.size)}" if step.pin is not None else ""
        print(f"would {step.kind} {step.label}{extra}", file=sys.stderr)


def _summary(run: Engine, failures: dict[str, HermeticError], skipped: list[str]) -> HermeticError:
    if len(failures) == 1 and not skipped:
        return next(iter(failures.values()))
    lines = []
    for drv_id, error in failures.items():
        name = run.work.steps[drv_id].label
        named = error.message if error.message.startswith(name) else f"{name}: {error.message}"
        lines += [named, *error.details]
    worst = max((e.exit_code for e in failures.values()), default=BuildFailure.exit_code)
    summary = BuildFailure(
        f"{len(failures)} failed, {len(skipped)} not tried because of them", details=tuple(lines)
    )
    summary.exit_code = (
        worst if len({e.exit_code for e in failures.values()}) == 1 else BuildFailure.exit_code
    )
    return summary
