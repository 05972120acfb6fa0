"""Keeps `flake-like.lock` true and up to date: `hermetic lock --check` and `hermetic lock --update NAME`."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from hermetic import filesystem
from hermetic.errors import FetchError, HashMismatch, LockError
from hermetic.project import lock as locks
from hermetic.project import worktree
from hermetic.project.lock import Lock
from hermetic.project.pin import Pin
from hermetic.sources.fetch import Cancelled, Fetcher, kinds

# Versions of a kind that `--update` chooses by itself only when the present one is of that kind, too.
_BEFORE_RELEASE: Final = re.compile(r"(?i)(?:\d|[._~-])(?:dev|alpha|beta|pre|rc|a|b)[.-]?\d")


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


def newest(pin: Pin, fetcher: Fetcher) -> str:
    """The newest version that the mirrors of `pin` list beside it.

    Mirrors are asked one after the other until one has a list. Versions before a release (3.14.0rc1)
    count only if the present one is such a version.

    Raises:
        FetchError: no mirror has a list; with the reason for each.
    """
    problems: list[str] = []
    for spec in pin.mirrors:
        file = spec.rpartition("#")[2] if spec.startswith("pypi:") else spec.rpartition("/")[2]
        pattern = _version_pattern(file, pin.version)
        if pattern is None:
            problems.append(f"{spec}: the version {pin.version} does not stand in the file's name")
            continue
        try:
            names = kinds.of(spec).siblings(fetcher.machine)
        except FetchError as problem:
            problems.append(f"{spec}: {problem.message}")
            continue
        found = {match[1] for name in names if (match := pattern.fullmatch(name))}
        if not _BEFORE_RELEASE.search(pin.version):
            found = {version for version in found if not _BEFORE_RELEASE.search(version)}
        if found:
            return max({*found, pin.version}, key=locks.version_key)
        problems.append(f"{spec}: nothing beside it looks like another version")
    raise FetchError(
        f"cannot tell which version of {pin.name} is the newest",
        hint=f"name it: hermetic lock --update {pin.name} --to VERSION",
        details=tuple(problems),
    )


def _version_pattern(file: str, version: str) -> re.Pattern[str] | None:
    before, found, after = file.partition(version)
    if not found:
        return None
    return re.compile(re.escape(before) + r"([0-9][A-Za-z0-9.+~_]*?)" + re.escape(after.replace(version, "")))


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

    The new mirrors are the old ones with the version replaced, unless `mirrors` are given. The file is
    downloaded from each; those that give other bytes than the first that answers are left out, and so are
    those that do not answer, unless it is the first one (upstream's address may be out of reach from here).
    The old version stays pinned.

    Args:
        to: the version; None: the newest that a mirror lists.
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
    version = to
    if version is None:
        assert old is not None
        version = newest(old, fetcher)
    wanted = mirrors or _rewritten(old, version, note)
    pin = _measured(name, version, wanted, fetcher, note)
    return locks.set_pin(lock, pin, default=default)


def _rewritten(old: Pin | None, version: str, note: Callable[[str], None]) -> tuple[str, ...]:
    assert old is not None
    out = []
    for spec in old.mirrors:
        if old.version in spec:
            out.append(with_version(spec, old.version, version))
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


def with_version(spec: str, old: str, new: str) -> str:
    """An address with another version: `python3.13/python3.13_3.13.5` becomes `python3.14/python3.14_3.14.7`.

    Beside the whole version, addresses hold its beginning: 3.13 in the name of a package or a directory, 313.
    A beginning is replaced only where no other number stands beside it, and only if it has two components or
    more: a single number may mean anything.
    """
    before, after = _NUMBERS.findall(old), _NUMBERS.findall(new)
    mark = "\0"
    text = spec.replace(old, mark)
    for length in range(len(before) - 1, 1, -1):
        if length < len(after) + 1:
            for joint in (".", "_", "-", ""):
                short, shorter = joint.join(before[:length]), joint.join(after[:length])
                text = re.sub(rf"(?<![\d.]){re.escape(short)}(?!\.?\d)", shorter, text)
    return text.replace(mark, new)


_NUMBERS: Final = re.compile(r"\d+")


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
