"""What the command line and Python programs do with a project and a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hermetic.errors import HermeticError, UsageError
from hermetic.project import worktree
from hermetic.session.opened import Opened
from hermetic.session.outcome import Failure, Output, Pending, Realized
from hermetic.store.layout import Layout

if TYPE_CHECKING:
    from hermetic.check.report import TargetReport
    from hermetic.derivation.graph import Work
    from hermetic.derivation.step import Instance, Step
    from hermetic.gc.collection import Outcome as Collected
    from hermetic.gc.collection import Progress
    from hermetic.gc.plan import Options as GcOptions
    from hermetic.gc.plan import Plan
    from hermetic.project.lock import Lock
    from hermetic.project.pin import Pin
    from hermetic.realize.engine import Outcome
    from hermetic.realize.events import Listener
    from hermetic.realize.settings import Settings
    from hermetic.realize.substituter import Offer
    from hermetic.session.targets import TargetInfo
    from hermetic.sources import offers, update
    from hermetic.store.leftovers import Leftovers
    from hermetic.store.published import Agreement
    from hermetic.store.records import Published
    from hermetic.verify.verdict import Report


class Session(Opened):
    """One project and one store.

    The project's files are read once for each revision: a session does not see later edits. What it realizes
    is kept from collection until it is closed. Use it from one thread at a time.
    """

    # -- what there is

    def targets(self, names: Iterable[str] = ()) -> list[TargetInfo]:
        """The targets of recipes for every system and pinned version, and what is known of each.

        Args:
            names: `NAME`, or `NAME-VERSION` for one version; none for the recipes with a main program that
                are made for more than the build system.

        Raises:
            UsageError: a name is unknown or names a system.
            RecipeError, LockError: the project's files are not valid.
        """
        from hermetic.session import targets

        found = targets.known(self, names)
        if not Layout(self.store_path).exists():
            return found
        objects = [self._there(self.instantiate(info.target).graph.root) or "" for info in found]
        return [msgspec.structs.replace(i, object=name) for i, name in zip(found, objects, strict=True)]

    def for_all_systems(self, names: Iterable[str] = ()) -> list[str]:
        """Targets of recipes in one version, one for each system that they are made for.

        Args:
            names: as in `targets`, but `NAME` is for the default version alone.
        """
        from hermetic.session import targets

        return targets.for_all_systems(self, names)

    # -- realizing

    def pending(self, targets: Iterable[str], *, substitute: Iterable[Path] = ()) -> list[Pending]:
        """What may have to be fetched, unpacked, built or substituted for targets, inputs first.

        Args:
            substitute: as in `realize`.
        """
        from hermetic.derivation import graph
        from hermetic.realize import run

        work = graph.merge(self.instances(targets))
        substituters = run.substituters(self.store, substitute)
        offers: dict[str, Offer] = {}

        def offered(drv_ids: list[str]) -> dict[str, Offer]:
            found = substituters.by_derivation([work.steps[d] for d in drv_ids])
            offers.update(found)
            return found

        todo = graph.pending(
            work.derivations, work.roots.values(), lambda d: self._there(d) is not None, offered
        )
        return [Pending(work.steps[d], offers[d].source.name if d in offers else "") for d in todo]

    def realize(
        self,
        targets: Iterable[str],
        *,
        jobs: int | None = None,
        keep_going: bool = False,
        keep_failed: bool = False,
        offline: bool = False,
        substitute: Iterable[Path] = (),
        listener: Listener | None = None,
    ) -> Realized:
        """Build targets, or find them built. Their objects are kept from collection until the session ends.

        Args:
            jobs: cores to use; None for all.
            keep_going: after a failure go on with what does not depend on it.
            keep_failed: keep the work directory of a build that fails.
            offline: download nothing.
            substitute: directories of other stores on this machine, asked for outputs in this order before
                anything is fetched or built.
            listener: told of what goes on, from several threads. It is not called when all is built.

        Raises:
            UsageError: a directory to substitute from is no store.
            HermeticError: the first failure, unless `keep_going`.
        """
        instances = self.instances(targets)
        objects = self._all_there(instances)
        if objects is not None:
            return Realized(self._outputs(instances, objects))
        from hermetic.derivation import graph
        from hermetic.realize.settings import Settings

        settings = Settings(
            jobs=jobs,
            keep_going=keep_going,
            keep_failed=keep_failed,
            offline=offline,
            substitute=tuple(substitute),
        )
        work = graph.merge(instances)
        outcome = self._run(work, settings, listener)
        origins = {drv_id: done.origin for drv_id, done in outcome.done.items()}
        return Realized(
            self._outputs(instances, outcome.objects, origins),
            tuple(Failure(d, work.steps[d].label, error) for d, error in outcome.failures.items()),
            tuple(work.steps[d].label for d in outcome.skipped),
        )

    def realize_inputs(
        self,
        target: str,
        *,
        jobs: int | None = None,
        substitute: Iterable[Path] = (),
        listener: Listener | None = None,
    ) -> dict[str, Path]:
        """Realize what the build of a target needs, but not the build itself. Arguments as in `realize`.

        Returns:
            derivation id to path of the store object.
        """
        from hermetic.derivation.value import inputs_of
        from hermetic.realize.settings import Settings

        instance = self.instantiate(target)
        needed = inputs_of(instance.graph[instance.graph.root])
        settings = Settings(jobs=jobs, substitute=tuple(substitute))
        objects, _ = self._realize_derivations([instance], needed, settings, listener)
        return {drv_id: self.store.path(name) for drv_id, name in objects.items()}

    def command_line(
        self,
        target: str,
        *,
        program: str | None = None,
        substitute: Iterable[Path] = (),
        listener: Listener | None = None,
    ) -> list[str]:
        """Realize a target; how its program is started here, under the pinned emulator if it is foreign.

        Args:
            program: path in the output; None for the recipe's main program.
            substitute: as in `realize`.

        Raises:
            HermeticError: the target cannot be realized, or has no such program.
        """
        from hermetic.session import program as programs

        return programs.command_line(self, target, program, substitute, listener)

    def failed_work(self, target: str) -> Path | None:
        """The work directory of the last build of a target that failed and was kept (`keep_failed`)."""
        from hermetic.realize import shell

        return shell.failed_work(self.store, self._build_step(target))

    def enter(self, target: str, *, script: str | None = None, work: Path | None = None) -> int:
        """Run a shell in the sandbox of a target's build, on this process's terminal.

        Args:
            script: run this instead of an interactive shell.
            work: a kept work directory (`failed_work`); None for a new one.

        Returns:
            the exit status.
        """
        from hermetic.realize import shell

        step = self._build_step(target)
        return shell.enter(self.store, step, self.realize_inputs(target), script=script, work=work)

    def _build_step(self, target: str) -> Step:
        graph = self.instantiate(target).graph
        step = graph.steps[graph.root]
        if step.kind == "build":
            return step
        raise UsageError(
            f"{target} is unpacked, not built, and so has no sandbox",
            hint=f"`hermetic realize {target}` prints where it is unpacked",
        )

    def _realize_derivations(
        self,
        instances: list[Instance],
        wanted: Iterable[str],
        settings: Settings,
        listener: Listener | None,
    ) -> tuple[dict[str, str], dict[str, HermeticError]]:
        """Realize some derivations of targets' graphs: by id, their store objects, and why others failed."""
        wanted = list(wanted)
        there = {drv_id: found for drv_id in wanted if (found := self._there(drv_id)) is not None}
        if len(there) == len(set(wanted)):
            return there, {}
        from hermetic.derivation import graph

        work = msgspec.structs.replace(graph.merge(instances), roots={drv_id: drv_id for drv_id in wanted})
        outcome = self._run(work, settings, listener)
        return outcome.objects, outcome.failures

    def _run(self, work: Work, settings: Settings, listener: Listener | None) -> Outcome:
        from hermetic.realize import run

        with run.engine(self.store, work, settings, listener) as engine:
            outcome = engine.run()
            self.store.keep(*outcome.objects.values())  # what follows uses them: a link, a program that runs
        return outcome

    def _there(self, drv_id: str) -> str | None:
        """The store object of a derivation, if it is there and whole; kept from collection from now on."""
        return self.store.usable(self.store.realisation(drv_id))

    def _all_there(self, instances: list[Instance]) -> dict[str, str] | None:
        """The objects of all targets if they are there; noted for `store.quick`, which answers next time."""
        objects: dict[str, str] = {}
        for instance in instances:
            found = self._there(instance.graph.root)
            if found is None:
                return None
            objects[instance.target.label] = found
        for target, name in objects.items():
            if "@" not in target:
                self.store.put_answer(self.fingerprint(), target, name)
        return objects

    def _outputs(
        self, instances: list[Instance], objects: dict[str, str], origins: Mapping[str, str] | None = None
    ) -> dict[str, Output]:
        """`origins`: derivation id to the substituter's name, for what was substituted."""
        outputs = {}
        for instance in instances:
            label, root = instance.target.label, instance.graph.root
            if label in objects:
                path = self.store.path(objects[label])
                outputs[label] = Output(label, root, objects[label], path, (origins or {}).get(root, ""))
        return outputs

    # -- verifying

    def verify(
        self,
        targets: Iterable[str],
        *,
        closure: bool = False,
        rounds: int = 1,
        jobs: int | None = None,
        keep_going: bool = False,
        perturb: Collection[str] | None = None,
        keep: str | os.PathLike[str] | None = None,
        substitute: Iterable[Path] = (),
        listener: Listener | None = None,
    ) -> Report:
        """Rebuild targets under varied conditions and compare with the store, bit for bit.

        Args:
            closure: every build below the targets, too.
            rounds: how often each is rebuilt.
            jobs: cores to use; None for all.
            keep_going: if something cannot be built, which is a verdict then, verify the rest.
            perturb: which conditions vary (`hermetic.verify.perturb.NAMES`); None for all.
            keep: directory in which both trees of what differs are left; None to leave nothing.
            substitute: as in `realize`: where the outputs that are verified may come from.
            listener: told of what goes on, from several threads.

        Returns:
            a verdict for each rebuild. A rebuild that differs or fails is a verdict, not an error.

        Raises:
            HermeticError: a target cannot be realized (unless `keep_going`), or there is nothing to rebuild.
        """
        from hermetic.derivation import graph
        from hermetic.derivation.value import inputs_of
        from hermetic.realize.settings import Settings
        from hermetic.verify import perturb as perturbing
        from hermetic.verify.rebuild import Rebuilder
        from hermetic.verify.verdict import Report, unbuilt

        varied = perturbing.Perturbations() if perturb is None else perturbing.exactly(perturb)
        instances = self.instances(targets)
        work = graph.merge(instances)
        roots = list(work.roots.values())
        scope = graph.closure(work.derivations, roots) if closure else roots
        builds = {d: work.steps[d] for d in scope if work.steps[d].kind == "build"}
        if not builds:
            raise UsageError(
                f"{', '.join(work.roots)}: there is nothing to rebuild",
                hint="fetched and unpacked sources are verified by their hashes in flake-like.lock",
            )
        everything = graph.closure(work.derivations, builds)
        settings = Settings(jobs=jobs, keep_going=keep_going, substitute=tuple(substitute))
        objects, failures = self._realize_derivations(instances, everything, settings, listener)
        needed = {d: {d, *inputs_of(step.derivation)} for d, step in builds.items()}
        missing = [d for d in builds if not needed[d] <= objects.keys()]
        rebuilder = Rebuilder(
            self.store,
            {d: step for d, step in builds.items() if d not in missing},
            objects,
            varied,
            listener or (lambda event: None),
            jobs=jobs or os.cpu_count() or 1,
            keep=Path(keep).absolute() if keep is not None else None,
        )
        verdicts = rebuilder.run(rounds, lambda verdict: None)
        for d in missing:
            verdicts.append(unbuilt(builds[d], graph.closure(work.derivations, [d]), failures))
        return Report(", ".join(work.roots), tuple(sorted(varied.on)), tuple(verdicts))

    def accept(self, report: Report) -> list[str]:
        """Write the content hashes that were verified to the lock; see `verify.expectation.accept`."""
        from hermetic.verify import expectation

        return expectation.accept(self.root / worktree.LOCK_FILE, self.store, report)

    def published(self, targets: Iterable[str]) -> Sequence[Published]:
        """What this store holds of the targets' builds, in the form in which it is published."""
        from hermetic.verify import agreement

        return agreement.ours(self.existing_store, self.instances(targets))

    def agreement(self, targets: Iterable[str], source: str) -> Agreement:
        """Compare the targets' builds in this store with what others have published. Nothing is built.

        Args:
            source: another store's directory, a directory with a list, a list, or the URL of one.

        Raises:
            HermeticError: it cannot be read, or is not valid.
        """
        from hermetic.store import published
        from hermetic.verify import agreement

        mine = agreement.ours(self.store, self.instances(targets))
        asked = {entry.drv_id for entry in mine}
        return published.agreement(
            mine, [entry for entry in agreement.theirs(source) if entry.drv_id in asked]
        )

    def check(
        self,
        targets: Iterable[str],
        *,
        suite: str | None = None,
        tests: Sequence[str] = (),
        artefact_only: bool = False,
        jobs: int | None = None,
        timeout: float | None = None,
        substitute: Iterable[Path] = (),
        listener: Listener | None = None,
    ) -> tuple[TargetReport, ...]:
        """Check interpreters: what their files are, and a test suite.

        Args:
            suite: the recipe of a package with its test suite; None for CPython's own.
            tests: names of test files; `*` matches anything. None: all, or the core if an emulator is needed.
            artefact_only: run no tests.
            jobs: how many test files run at the same time; None: one for each core.
            timeout: seconds for each test file; None for the usual limit.
            substitute, listener: as in `realize`.

        Returns:
            a report for each target. What is not as it should be is told there, and is no error.

        Raises:
            HermeticError: a target cannot be realized, or is no interpreter.
        """
        from hermetic.session import checking

        return tuple(
            checking.check(
                self,
                targets,
                suite=suite,
                tests=tests,
                artefact_only=artefact_only,
                jobs=jobs,
                timeout=timeout,
                substitute=substitute,
                listener=listener,
            )
        )

    # -- the lock

    @property
    def lock(self) -> Lock:
        """What `flake-like.lock` pins and expects now.

        Raises:
            LockError: it is not valid.
        """
        from hermetic.sources import update

        return update.load(self.root / worktree.LOCK_FILE)

    def update_lock(
        self,
        name: str,
        *,
        to: str | None = None,
        mirrors: tuple[str, ...] = (),
        default: bool = True,
        note: Callable[[str], None] = lambda line: None,
    ) -> list[str]:
        """Pin a source in another version; see `sources.update.update` for arguments and errors.

        Returns:
            the changes of the lock, one a line.
        """
        from hermetic.project import lock as locks
        from hermetic.sources import update
        from hermetic.sources.fetch import Fetcher

        old = self.lock
        fetcher = Fetcher(self.store.layout.downloads)
        new = update.update(old, name, fetcher, to=to, mirrors=mirrors, default=default, note=note)
        if new != old:
            update.save(self.root / worktree.LOCK_FILE, new)
        return locks.diff(old, new)

    def check_lock(
        self,
        names: Collection[str] = (),
        *,
        tell: Callable[[update.Report], None],
        tell_newer: Callable[[offers.Survey], None] = lambda survey: None,
    ) -> None:
        """Download sources from every mirror and compare; and ask the mirrors for newer versions.

        Args:
            names: of the sources; none for all.
            tell: called with what each mirror serves.
            tell_newer: called for each source with what its mirrors list. Newer versions are no error.

        Raises:
            HashMismatch: a mirror serves other bytes than are pinned.
            LockError: a source has no mirror that answers, or the lock is not valid.
        """
        from hermetic.sources import offers, update
        from hermetic.sources.fetch import Fetcher

        pins = self.pins(names)
        fetcher = Fetcher(self.store.layout.downloads)
        reports = []
        for report in update.check(pins, fetcher):
            tell(report)
            reports.append(report)
        for pin in pins:
            tell_newer(offers.survey(pin, fetcher))
        update.conclude(reports)

    def pins(self, names: Collection[str] = ()) -> list[Pin]:
        """What the lock pins of some sources, by name and version.

        Args:
            names: of the sources; none for all.

        Raises:
            LockError: one is not pinned, or the lock is not valid.
        """
        lock = self.lock
        for name in names:
            lock.pin(name)  # an unknown name is an error, with a suggestion
        return [pin for pin in lock.pins() if not names or pin.name in names]

    # -- collecting garbage

    def garbage(self, options: GcOptions | None = None, *, keep_seeds: bool = True) -> Plan:
        """What a collection would delete now.

        Args:
            options: what is kept beside the roots (`hermetic.gc.plan.Options`).
            keep_seeds: the seeds that the project pins are roots, too.
        """
        from hermetic.gc import collection

        return collection.plan(self.existing_store, self._gc_options(options, keep_seeds))

    def leftovers(self, options: GcOptions | None = None) -> Leftovers:
        """What a collection would delete now beside objects. Arguments as in `garbage`."""
        from hermetic.gc import collection

        return collection.leftovers(self.existing_store, self._gc_options(options, keep_seeds=False))

    def collect_garbage(
        self,
        options: GcOptions | None = None,
        *,
        keep_seeds: bool = True,
        progress: Callable[[Progress], None] | None = None,
    ) -> Collected:
        """Delete what nothing keeps, and what dead processes have left. Arguments as in `garbage`.

        Raises:
            StoreError: something cannot be deleted.
        """
        from hermetic.gc import collection

        options = self._gc_options(options, keep_seeds)
        return collection.collect_garbage(self.existing_store, options, progress=progress)

    def why_live(self, name: str) -> list[str] | None:
        """Why a store object is not garbage: the root in words, then objects, each made from the next.

        None: nothing keeps it.
        """
        from hermetic.gc import collection

        return collection.why_live(self.existing_store, name, self._gc_options(None, True))

    def _gc_options(self, options: GcOptions | None, keep_seeds: bool) -> GcOptions:
        from hermetic.gc.plan import Options

        pinned = frozenset(self.pinned_seeds() if keep_seeds else ())
        return msgspec.structs.replace(options or Options(), pinned=pinned)
