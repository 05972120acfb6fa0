"""Keeps `flake-like.lock` true and up to date: `hermetic lock --check` and `hermetic lock --update NAME`."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from hermetic import filesystem
from hermetic.errors import FetchError, HashMismatch, LockError
from hermetic.project import lock as locks
from hermetic.project import worktree
from hermetic.project.lock import Lock
from hermetic.project.pin import Pin
from hermetic.sources import offers, versions
from hermetic.sources.fetch import Cancelled, Fetcher


class Report(msgspec.Struct, frozen=True):
    """What one mirror was found to serve.

    Attributes:
        pin: what is pinned. mirror: as it stands in the lock.
        problem: None: the pinned bytes. Otherwise what is wrong, one line.
        wrong_bytes: it answers, with other bytes: worse than not to answer.
    """

    pin: Pin
    mirror: str
    problem: str | None
    wrong_bytes: bool = False


def check(pins: Iterable[Pin], fetcher: Fetcher) -> Iterator[Report]:
    """Download every source from each of its mirrors, all bytes, and compare.

    Yields:
        One report for each mirror, as it is done.

    Raises:
        Cancelled, StoreError.
    """
    for pin in pins:
        for spec in pin.mirrors:
            try:
                found = fetcher.measure(spec, max_bytes=pin.size)
            except Cancelled:
                raise
            except FetchError as problem:
                yield Report(pin, spec, problem.message)
                continue
            if found.match(pin):
                yield Report(pin, spec, None)
            elif found.size > pin.size:
                yield Report(pin, spec, f"more than the {pin.size} bytes that are pinned", wrong_bytes=True)
            else:
                fact = f"other bytes: sha256 {found.sha256}, blake3 {found.blake3}, {found.size} bytes"
                yield Report(pin, spec, fact, wrong_bytes=True)


def conclude(reports: Iterable[Report]) -> None:
    """Judge what all mirrors of some sources serve.

    Raises:
        HashMismatch: a mirror serves other bytes than are pinned.
        LockError: a source has no mirror that serves it.
    """
    seen = list(reports)
    wrong = tuple(report.mirror for report in seen if report.wrong_bytes)
    if wrong:
        raise HashMismatch(f"{len(wrong)} mirrors serve other bytes than are pinned", details=wrong)
    served = {(r.pin.name, r.pin.version) for r in seen if r.problem is None}
    asked = dict.fromkeys((r.pin.name, r.pin.version) for r in seen)
    silent = [f"{name} {version}" for name, version in asked if (name, version) not in served]
    if silent:
        raise LockError(f"no mirror answers from here for: {', '.join(silent)}")


def newest(pin: Pin, fetcher: Fetcher) -> tuple[str, dict[str, str]]:
    """The newest version of a pin's line that a mirror lists: the first one that has a list.

    Versions before a release (3.14.0rc1) count only if the present one is such a version.

    Returns:
        the version, and that mirror to the address of the version there.

    Raises:
        FetchError: no mirror has a list; with the reason for each.
    """
    found = offers.survey(pin, fetcher)
    problems = [f"{spec}: {problem}" for spec, problem in found.problems.items()]
    for spec, offer in found.offers.items():
        if offer.own == pin.version:
            return offer.version, {spec: offer.spec}
        problems.append(f"{spec}: the version {pin.version} is called {offer.own} there")
    raise FetchError(
        f"cannot tell which version of {pin.name} is the newest",
        hint=f"name it: hermetic lock --update {pin.name} --to VERSION",
        details=tuple(problems),
    )


def update(
    lock: Lock,
    name: str,
    fetcher: Fetcher,
    *,
    to: str | None = None,
    mirrors: tuple[str, ...] = (),
    default: bool = True,
    note: Callable[[str], None] = lambda line: None,
) -> Lock:
    """A lock in which `name` is pinned in another version, too.

    Unless `mirrors` are given, the new ones are the old ones with the version replaced; of the mirror that
    listed the version, the address that it listed. The file is downloaded from each; those that give other
    bytes than the first that answers are left out, and so are those that do not answer, unless it is the
    first one (upstream's address may be out of reach from here). The old version stays pinned.

    Args:
        to: the version; None: the newest of its line that a mirror lists.
        default: make it the version that the name means; otherwise the present default stays.
        note: told in one line about each mirror that is left out or could not be checked.

    Raises:
        LockError: nothing to start from, or the address does not depend on the version.
        FetchError: no mirror gave the file.
    """
    if name not in lock.sources and not (to and mirrors):
        raise LockError(
            f'{locks.FILE_NAME} pins no source "{name}"',
            hint=f"a new one needs both: hermetic lock --update {name} --to VERSION --mirror ADDRESS",
        )
    old = lock.pin(name) if name in lock.sources else None
    version, known = to, dict[str, str]()
    if version is None:
        assert old is not None
        version, known = newest(old, fetcher)
    wanted = mirrors or _rewritten(old, version, known, note)
    pin = _measured(name, version, wanted, fetcher, note)
    return locks.set_pin(lock, pin, default=default)


def _rewritten(
    old: Pin | None, version: str, known: Mapping[str, str], note: Callable[[str], None]
) -> tuple[str, ...]:
    """The mirrors of another version. `known`: old mirror to new one."""
    assert old is not None
    out = []
    for spec in old.mirrors:
        if spec in known:
            out.append(known[spec])
        elif old.version in spec:
            out.append(versions.with_version(spec, old.version, version))
        elif version == old.version:
            out.append(spec)
        else:
            note(f"left out: {spec}: the version {old.version} does not stand in it")
    if not out:
        raise LockError(
            f"no mirror of {old.name} {old.version} has the version in its address",
            hint=f"name one: hermetic lock --update {old.name} --to {version} --mirror ADDRESS",
        )
    return tuple(out)


def _measured(
    name: str, version: str, mirrors: tuple[str, ...], fetcher: Fetcher, note: Callable[[str], None]
) -> Pin:
    """Download from each mirror; a pin with the mirrors that agree. The first of them names the file."""
    kept: list[str] = []
    problems: list[str] = []
    first: Pin | None = None
    for spec in mirrors:
        try:
            found = _measure(name, version, spec, fetcher)
        except Cancelled:
            raise
        except FetchError as problem:
            problems.append(f"{spec}: {problem.message}")
            if spec == mirrors[0]:
                kept.append(spec)
                note(f"not checked, it does not answer from here: {spec}: {problem.message}")
            else:
                note(f"left out: {spec}: {problem.message}")
            continue
        if first is None:
            first = found
        elif (found.sha256, found.blake3) != (first.sha256, first.blake3):
            note(f"left out: {spec}: other bytes (sha256 {found.sha256}) than {first.mirrors[0]}")
            continue
        kept.append(spec)
    if first is None:
        raise FetchError(f"no mirror gave {name} {version}", details=tuple(problems))
    return msgspec.structs.replace(first, file=file_name(kept[0]), mirrors=tuple(kept))


def _measure(name: str, version: str, spec: str, fetcher: Fetcher) -> Pin:
    """Download what one mirror serves, whatever it is, and say what it is."""
    found = fetcher.measure(spec)
    return Pin(name, version, file_name(spec), found.sha256, found.blake3, found.size, (spec,))


def file_name(spec: str) -> str:
    """The name of the file that a mirror serves."""
    if spec.startswith("pypi:"):
        return spec.rpartition("#")[2]
    return re.split(r"[?#]", spec)[0].rpartition("/")[2] or "source"


def load(path: Path) -> Lock:
    """Read the lock file.

    Raises:
        LockError: it is not valid.
        OSError: it cannot be read.
    """
    return locks.parse(filesystem.whole(str(path), worktree.MOST), path.name)


def save(path: Path, lock: Lock) -> None:
    """Write the lock file: at every instant either the old or the new one is there, whole.

    Raises:
        StoreError: it cannot be written.
    """
    text = locks.format(lock)
    locks.parse(text.encode(), path.name)  # never write what could not be read again
    with filesystem.translated(path, "write"):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
