"""The project that is struck, what an undisturbed run of it gives, and what must hold after a fault."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from hermetic import tree
from hermetic.derivation.step import label
from hermetic.session import Session
from hermetic.store import integrity
from hermetic.store.store import Store
from tests.faults.traces import Watch, adopting
from tests.support.project import Project, Ran, archive, make_template
from tests.support.servers import Server, ranged, serving

TARGETS: Final = ("top",)
WITHIN: Final = 90.0  # seconds for any one process; more is a hang
PHASES: Final = ("fetch", "unpack", "build", "hash", "rename", "register", "gc")
_SOURCES: Final = {"alpha": 150, "beta": 60, "gamma": 20}  # files in each
_PIECES: Final = 3
_DONE: Final = re.compile(r"^\[\d+/\d+\] (?:built|fetched|unpacked) (.+) in [0-9.ms]+$", re.MULTILINE)
_PATCH: Final = "--- a/f0\n+++ b/f0\n@@ -1 +1 @@\n-alpha 0\n+patched\n"


class Lost(Exception):
    """A promise was broken."""


class Case(NamedTuple):
    """One fault: which kind, in which phase of the work, and the number that decides the rest."""

    kind: str
    phase: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.phase}:{self.seed}"


class Untried(Exception):
    """The fault did not come about, e.g. because the work was done before."""


class Bench:
    """A project with its server and stores. One case at a time.

    Attributes:
        project: its `store` is that of the case that runs.
        base: a store with the seed and an older build; every case begins with a copy.
        full: the same after an undisturbed run.
        names: target to the object that it must give.
        objects: label of each step to the object that it must give. realisations: by derivation id.
        rooted: the objects of roots. kept: with all that they keep.
        effects: how many effects an undisturbed run has, by phase and place.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder.resolve()
        (self.folder / "template").mkdir()
        seeded, pin, deb = make_template(self.folder / "template")
        self.project = Project(self.folder, server, pin, deb)
        del self.project.environment["PYTHONDONTWRITEBYTECODE"]
        self.data = {f"/{pin.file}": deb}
        self._write_project()
        self.base, self.full = self.folder / "base", self.folder / "full"
        self._make_base(seeded)
        self._make_full()

    # -- the project

    def _write_project(self) -> None:
        project = self.project
        for name, count in _SOURCES.items():
            files = {f"f{n}": f"{name} {n}\n" * (1 if n == 0 else n % 40 + 1) for n in range(count)}
            files["large"] = name * 60_000
            self.data[project.source(name, files)] = archive(f"{name}-1.0", files)
        project.write("patches/alpha/0001-change.patch", _PATCH)
        copy = 'mkdir -p "$out/share"; cp -r . "$out/share/"; echo "$PATH" > "$out/path"; sleep 0.2\n'
        project.recipe("alpha", copy, source="alpha", patches=["0001-change.patch"])
        project.recipe("beta", copy, source="beta", host_inputs=["alpha"])
        project.recipe("gamma", copy, source="gamma")
        project.recipe("slow", 'for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo done > "$out/x"')
        link = 'for i in $(seq 1 60); do echo $i > "$out/f$i"; done; cat "$beta/share/f1" > "$out/f0"\n'
        project.recipe("top", link, host_inputs=["beta", "gamma", "slow"])
        project.recipe("endless", "sleep 60")
        project.recipe("old", 'echo old > "$out/x"')
        lock = (project.root / "flake-like.lock").read_text()
        for path in self.data:
            url = project.server.url(path)
            lock = lock.replace(f'["{url}"]', f'["{url}", "{project.server.url("/second" + path)}"]')
        project.write("flake-like.lock", lock)
        self.serve()

    def serve(self) -> None:
        """Let the server behave: every source, in some pieces, so that fetching takes a while."""
        routes = self.project.server.routes
        routes.clear()
        for path, data in self.data.items():
            routes[path] = _in_pieces(data)

    def _make_base(self, seeded: Path) -> None:
        shutil.copytree(seeded, self.base, symlinks=True)
        self.project.store = self.base
        (old,) = self.project.ok("realize", "old").paths
        self.project.ok("root", "add", "old", old.name)

    def _make_full(self) -> None:
        self.project.store = self.full
        shutil.copytree(self.base, self.full, symlinks=True)
        counts = self.folder / "counts"
        ran = self.run("realize", "-j4", *TARGETS, spec={"counts": str(counts)})
        if ran.code != 0:
            raise Lost(f"an undisturbed run fails: {ran.err}")
        self.names = [path.name for path in ran.paths]
        self.effects = _by_phase(counts)
        session = Session(str(self.project.root), str(self.full))
        graph = session.instantiate(TARGETS[0]).graph
        with Store.open(self.full, read_only=True) as store:
            made = store.realisations()
            self.realisations = {one.drv_id: one.object for one in made}
            self.objects = {
                label(graph[i]): o for i, o in self.realisations.items() if i in graph.derivations
            }
            self.rooted = {root.object for root in store.roots()}
        with self.copy(self.full) as store_path:
            self.project.store = store_path
            self.run("gc", spec={"counts": str(counts)})
            self.kept = _registered(store_path)
            self.effects["gc"] = _by_phase(counts)["gc"]

    # -- what cases use

    @contextmanager
    def copy(self, original: Path, place: Path | None = None) -> Iterator[Path]:
        """A store for one case."""
        path = place or self.folder / "store"
        shutil.copytree(original, path, symlinks=True)
        try:
            yield path
        finally:
            tree.remove(path)

    @contextmanager
    def case(self, original: Path | None, place: Path | None = None) -> Iterator[Aftermath]:
        """The block does the damage, and then asks what it has done; at its end nothing may be left.

        Args:
            original: which store to begin with; None for none.
            place: where.
        """
        with adopting():
            watch = Watch(self.folder)
            self.serve()
            if original is None:
                self.project.store = place or self.folder / "store"
                try:
                    yield Aftermath(self, watch, set())
                finally:
                    tree.remove(self.project.store)
            else:
                with self.copy(original, place) as self.project.store:
                    yield Aftermath(self, watch, _registered(original))

    def start(self, *args: str, spec: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        """A hermetic process, armed if there is a specification for `victim`."""
        command = self.project.command(*args)
        if spec is not None:
            command = [sys.executable, "-m", "tests.faults.victim", json.dumps(spec), *command[3:]]
        settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        settings |= {"stdin": subprocess.DEVNULL, "start_new_session": True, "cwd": "/"}
        return subprocess.Popen(command, env=self.project.environment, **settings)

    def run(self, *args: str, spec: dict[str, Any] | None = None, within: float = WITHIN) -> Ran:
        """Run one to its end."""
        return finished(self.start(*args, spec=spec), within)


class Aftermath:
    """What must hold when a fault has struck.

    Attributes:
        before: objects that were registered and must still be.
        collected: inputs of what is there may have been collected.
    """

    def __init__(self, bench: Bench, watch: Watch, before: set[str]) -> None:
        self.bench = bench
        self.before = before
        self.collected = False
        self._watch = watch

    def collected_too(self) -> None:
        """A collection was part of the case: only what roots keep must be there."""
        self.collected = True
        self.before &= self.bench.kept

    def check(self, *said: str) -> None:
        """Whatever happened: all is well, and a plain retry gives what an undisturbed run gives.

        Args:
            said: stderr of the processes that were struck: what they called done must be there.

        Raises:
            Lost.
        """
        self.nothing_left()
        promised = {self.bench.objects[label] for text in said for label in _DONE.findall(text)}
        self.nothing_lost(promised | self.before)
        self.retry()
        self.nothing_left()

    def nothing_left(self) -> None:
        """No process and no mount is left."""
        if left := self._watch.left():
            raise Lost(f"left behind: {left}")

    def nothing_lost(self, kept: set[str]) -> None:
        """`store verify` is clean, and what was registered is there and what it should be."""
        ran = self.bench.run("store", "verify", "--json")
        no_traceback(ran)
        if ran.code != 0:
            raise Lost(f"store verify ended with {ran.code}: {ran.err} {ran.out}")
        report = ran.json()
        if not report["clean"] or report["records"] or report["foreign"]:
            raise Lost(f"store verify: {report}")
        with Store.open(self.bench.project.store, read_only=True) as store:
            there = {info.name for info in store.objects()}
            made = {one.drv_id: one.object for one in store.realisations()}
        if kept - there:
            raise Lost(f"lost: {sorted(kept - there)}")
        for drv_id, name in made.items():
            if self.bench.realisations.get(drv_id) != name:
                raise Lost(f"registered, and wrong: {drv_id} as {name}")
            if name not in there:
                raise Lost(f"registered without its object: {name}")

    def retry(self) -> None:
        """The same command again succeeds, gives the same objects, and clears away what is left."""
        bench = self.bench
        bench.serve()
        if self.collected:  # what a killed collection had unregistered, the next one deletes
            ended_in_words(bench.run("gc"), (0,))
        ran = bench.run("realize", "-j4", *TARGETS)
        no_traceback(ran)
        if (ran.code, [path.name for path in ran.paths]) != (0, bench.names):
            raise Lost(f"a plain retry ended with {ran.code}, {ran.out}: {ran.err}")
        with Store.open(bench.project.store, read_only=True) as store:
            report = integrity.verify(store, jobs=1)
            made = {one.drv_id: one.object for one in store.realisations()}
        if not report.clean or report.unregistered or report.foreign or report.records:
            raise Lost(f"after the retry: {report}")
        if wrong := made.items() - bench.realisations.items():
            raise Lost(f"after the retry other things are registered: {wrong}")
        wanted = set(bench.names) if self.collected else set(bench.objects.values())
        if missing := wanted - set(made.values()):
            raise Lost(f"after the retry there is no {missing}")
        if left := leftovers(bench.project.store):
            raise Lost(f"after the retry there is left: {left}")


def _by_phase(counts: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for where, count in sorted(json.loads(counts.read_text()).items()):
        if not where.endswith(":<module>"):  # nothing can be lost while modules are loaded
            found.setdefault(where.partition(" ")[0], {})[where] = count
    return found


def _registered(path: Path) -> set[str]:
    with Store.open(path, read_only=True) as store:
        return {info.name for info in store.objects()}


def leftovers(store: Path) -> list[str]:
    """Work in progress that lies about in a store."""
    found = []
    for name in ("tmp", "trash", "failed", "download"):
        with suppress(FileNotFoundError):
            found += [f"{name}/{path.name}" for path in (store / ".hermetic" / name).iterdir()]
    return [name for name in found if name != "download/rejected"]


def finished(process: subprocess.Popen[str], within: float = WITHIN) -> Ran:
    """Wait for a process.

    Raises:
        Lost: it hangs.
    """
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise Lost(f"still running after {within:.0f} s: {err}") from None
    return Ran(process.returncode, out, err)


def no_traceback(ran: Ran) -> None:
    """However it ended: in words."""
    if "Traceback (most recent call last)" in ran.err or "Exception ignored" in ran.err:
        raise Lost(f"a traceback: {ran.err}")


def ended_in_words(ran: Ran, codes: tuple[int, ...]) -> None:
    """It failed with one of the codes, and said why."""
    no_traceback(ran)
    if ran.code not in codes:
        raise Lost(f"ended with {ran.code}, not one of {codes}: {ran.err}")
    if ran.code not in (0, -9) and "hermetic: error: " not in ran.err:
        raise Lost(f"ended with {ran.code} and no reason: {ran.err}")


@contextmanager
def benches(folder: Path) -> Iterator[Bench]:
    """A bench in a folder, with its server."""
    with serving() as server:
        yield Bench(folder, server)


def _in_pieces(data: bytes) -> Any:
    plain = ranged(data)

    def answer(handler: Any) -> None:
        file = handler.wfile

        class Slowly:
            def write(self, body: bytes) -> None:
                size = len(body) // _PIECES + 1
                for start in range(0, len(body), size):
                    file.write(body[start : start + size])
                    time.sleep(0.05)

            def flush(self) -> None:
                file.flush()

        if len(data) < 1_000_000:  # not the seed
            handler.wfile = Slowly()
        try:
            plain(handler)
        finally:
            handler.wfile = file

    return answer
