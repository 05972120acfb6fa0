"""Is everything in the store what it says it is? And what to do when not."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from hermetic import tree
from hermetic.errors import HashMismatch, StoreError
from hermetic.filesystem import write_atomically
from hermetic.store import hasher, protect, records, registering
from hermetic.store.store import Store
from hermetic.store.names import content_hash_of, is_object_name, label_in
from hermetic.store.records import Realisation
from hermetic.tree.scanning import INLINE

LARGE: Final = 64 << 20  # bytes: objects from here on are hashed here, by threads; smaller ones by processes
WORTH_A_PROCESS: Final = 2000  # files: below, starting one takes longer than it saves


class Report(msgspec.Struct, frozen=True):
    """What a check of the store found.

    Attributes:
        checked: number of objects. size: bytes that were hashed.
        missing: names of registered objects that are not there.
        altered: names of objects whose content is not what they are named for, with what differs.
        unregistered: names of objects in the store's directory that the database does not know.
        foreign: other names in the store's directory.
        records: names of realisation records and manifests that are missing or damaged.
    """

    checked: int
    size: int
    missing: tuple[str, ...]
    altered: dict[str, tuple[str, ...]]
    unregistered: tuple[str, ...]
    foreign: tuple[str, ...]
    records: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing that is registered is lost or wrong."""
        return not self.missing and not self.altered


def verify(
    store: Store,
    names: Iterable[str] | None = None,
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Hash objects and compare.

    Args:
        names: the objects; by default, all that are registered.
        jobs: how many hash at a time; by default one for each CPU.
        progress: called with the number of objects and bytes done so far.

    Raises:
        StoreError: the database or the store's directory cannot be read, or a name is not registered.
    """
    infos = {info.name: info for info in store.objects()}
    chosen = list(infos) if names is None else list(dict.fromkeys(names))
    for name in chosen:
        if name not in infos:
            raise StoreError(f"{name} is not in the store")
    present = [name for name in chosen if os.path.lexists(store.path(name))]
    missing = [name for name in chosen if not os.path.lexists(store.path(name))]
    wanted = [(name, infos[name].size, infos[name].files) for name in present]
    altered: dict[str, tuple[str, ...]] = {}
    done = size = 0
    for name, result in hash_objects(store.root, wanted, jobs or os.cpu_count() or 1):
        done, size = done + 1, size + result.size
        if result.content_hash != content_hash_of(name):
            if not os.path.lexists(store.path(name)):
                if store.info(name) is not None:  # else it was collected meanwhile
                    missing.append(name)
                continue
            altered[name] = tuple(_differences(store, name, result))
        if progress is not None:
            progress(done, size)
    found = sorted(path.name for path in store.root.iterdir() if path.name not in (".hermetic", ".gitkeep"))
    return Report(
        checked=done,
        size=size,
        missing=tuple(sorted(missing)),
        altered=dict(sorted(altered.items())),
        unregistered=tuple(n for n in found if is_object_name(n) and n not in infos and not store.info(n)),
        foreign=tuple(n for n in found if not is_object_name(n)),
        records=tuple(_records(store, chosen)),
    )


def _differences(store: Store, name: str, result: hasher.Result) -> Iterator[str]:
    if result.error:
        yield result.error
        return
    try:
        expected, found = store.manifest(name), tree.scan(store.path(name))
    except StoreError as error:
        yield error.message
    else:
        yield from tree.compare(expected, found)


def _records(store: Store, names: list[str]) -> Iterator[str]:
    """Records beside the database that could not serve to rebuild it."""
    chosen = set(names)
    for name in names:
        try:
            store.manifest(name)
        except StoreError:
            yield f"manifests/{name}"
    for realisation in store.realisations():
        if realisation.object in chosen:
            path = store.layout.realisation(realisation.drv_id)
            if records.read(path) != realisation:
                yield f"realisations/{path.name}"


def hash_objects(
    root: Path, objects: list[tuple[str, int, int]], jobs: int
) -> Iterator[tuple[str, hasher.Result]]:
    """Hash objects in parallel, in no particular order.

    Args:
        objects: name, bytes and number of files (as far as known) of each.
    """
    large = [name for name, size, files in objects if size >= LARGE and size > files * INLINE]
    small = [o for o in objects if o[0] not in set(large)]
    # Side by side rather than all threads on one: that takes a quarter less processor time.
    share = max(1, jobs // max(1, len(large)))
    with ThreadPoolExecutor(jobs) as pool:
        paths = [os.fspath(root / name) for name in large]
        yield from zip(large, pool.map(lambda path: hasher.hash_tree(path, threads=share), paths), strict=True)
    small.sort(key=lambda o: -(o[1] + o[2] * 50_000))  # the longest first; a file costs as much as 50 kB
    names = [o[0] for o in small]
    workers = min(jobs, 1 + sum(o[2] for o in small) // WORTH_A_PROCESS, len(names))
    if workers <= 1:
        for name in names:
            yield name, hasher.hash_tree(os.fspath(root / name))
        return
    yield from _by_processes(root, names, workers)


def _by_processes(root: Path, names: list[str], workers: int) -> Iterator[tuple[str, hasher.Result]]:
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[str, hasher.Result]] = queue.SimpleQueue()
    for name in names:
        waiting.put(name)

    def feed() -> None:
        with _Worker() as worker, suppress(queue.Empty):
            while True:
                name = waiting.get_nowait()
                results.put((name, worker.ask(os.fspath(root / name))))

    threads = [threading.Thread(target=feed, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for _ in names:
        yield results.get()
    for thread in threads:
        thread.join()


class _Worker:
    """A process that hashes. When it dies, this process does its work."""

    def __enter__(self) -> _Worker:
        self.process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hermetic.store.hasher"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
        return self

    def ask(self, path: str) -> hasher.Result:
        if self.process is not None and self.process.stdin and self.process.stdout and "\n" not in path:
            try:
                self.process.stdin.write(os.fsencode(path) + b"\n")
                self.process.stdin.flush()
                return msgspec.json.decode(self.process.stdout.readline(), type=hasher.Result)
            except (OSError, msgspec.DecodeError):
                self.process.kill()
                self.process.wait()
                self.process = None
        return hasher.hash_tree(path)

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            with suppress(OSError):
                self.process.communicate(timeout=10)


def repair(store: Store, name: str, remake: Callable[[list[Realisation], Path], Path]) -> None:
    """Put right bytes in the place of a missing or altered object.

    The old one stays until there are right bytes; then both change places in one step.

    Args:
        remake: builds or fetches the object once more. It gets what is known of its making, the newest first,
            and an empty directory; it returns the path of the tree that it made there.

    Raises:
        HashMismatch: what was made has another content. The store is as it was.
        StoreError: the object is not registered, or the store cannot be written.
    """
    if store.info(name) is None:
        raise StoreError(f"{name} is not in the store")
    with store.temp_roots() as keep, store.workspace(f"repair-{label_in(name)}") as space:
        keep.add(name)
        made = remake(store.realisations_of(name), space)
        with registering.prepared(store.layout, made, label_in(name)) as prepared:
            if prepared.name != name:
                raise HashMismatch(
                    f"{name} was made once more, with other content",
                    details=(
                        f"expected: {content_hash_of(name)}",
                        f"made:     {content_hash_of(prepared.name)}",
                    ),
                    hint="nothing was changed; it is not reproducible, or its inputs are altered too",
                )
            prepared.sync()
            registering.register(store.layout, store.database, prepared, None, keep, replace=True)


def restore_records(store: Store) -> int:
    """Write realisation records and manifests that are missing or damaged; returns how many.

    Manifests are made only of objects whose content is right.
    """
    count = 0
    with protect.shared(store.layout):
        for record in _records(store, [info.name for info in store.objects()]):
            kind, _, file = record.partition("/")
            if kind == "realisations":
                realisation = store.realisation(file.removesuffix(".json"))
                if realisation is None:
                    continue
                write_atomically(store.layout.realisation(realisation.drv_id), records.encode(realisation))
            else:
                manifest = registering.right_manifest(store.layout, file)
                if manifest is None:
                    continue
                with suppress(StoreError):
                    write_atomically(store.layout.manifest(file), manifest.encode())
            count += 1
    return count
