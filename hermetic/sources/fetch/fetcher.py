"""Gets a source from the first of its mirrors that has the right bytes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Generic, TypeVar

from blake3 import blake3

from hermetic import filesystem
from hermetic.errors import FetchError, HashMismatch, HermeticError
from hermetic.project.pin import Pin
from hermetic.sources.fetch import kinds
from hermetic.sources.fetch.download import Digests, Download, Partial, Rejected, Stopped
from hermetic.sources.fetch.failure import Failure, pause
from hermetic.sources.fetch.machine import Machine
from hermetic.sources.fetch.mirror import Location, redacted

Progress = Callable[[Pin, int, int, str], None]
Notice = Callable[[Pin, str], None]

REJECTED: Final = "rejected"
MAX_MEASURED: Final = 1 << 36  # bytes


class Cancelled(FetchError):
    """The caller asked to stop. What has arrived is kept for the next time."""


class Fetcher:
    """Downloads into one directory; safe to use from several threads.

    Args:
        download_dir: for partial and finished files; made when needed. Several processes may share it.
        offline: refuse everything that is not already there.
        progress: called with pin, bytes so far, bytes in all and the mirror; from other threads.
        notice: called with pin and a line for each mirror that failed, as it happens.
        cancel: when it is set, every `fetch` ends within half a second. `cancel()` sets it.
    """

    def __init__(
        self,
        download_dir: Path,
        *,
        offline: bool = False,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        notice: Notice | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.download_dir = download_dir
        self.offline = offline
        self.progress = progress
        self.notice = notice
        self.machine = machine or Machine()
        self._stop = cancel or threading.Event()

    def cancel(self) -> None:
        """End every fetch that is under way."""
        self._stop.set()

    def fetch(self, pin: Pin) -> Path:
        """The file that `pin` names, checked. It is the caller's to move away.

        Two callers that want the same pin at once get the same path: they must agree who moves it.

        Raises:
            FetchError: no mirror gave it, or offline; the details have a line for each attempt.
            HashMismatch: as before, and some mirror served other bytes; they are kept aside.
            StoreError: the directory cannot be written.
            Cancelled.
        """
        if self._stop.is_set():
            raise Cancelled(f"stopped before {_label(pin)} was fetched")
        with filesystem.translated(self.download_dir, "write"):
            self.download_dir.mkdir(parents=True, exist_ok=True)
        if self.offline and not self._is_here(pin):
            raise missing([pin])
        return _Fetch(self, pin).run()

    def measure(self, spec: str, *, max_bytes: int = MAX_MEASURED) -> Digests:
        """What a mirror serves, whatever it is: downloaded from the start, hashed, and thrown away.

        Args:
            max_bytes: one byte more is read of what is larger, and no further.

        Raises:
            FetchError: it does not answer; with the reason. StoreError, Cancelled.
        """
        if self.offline:
            raise FetchError("offline")
        with filesystem.translated(self.download_dir, "write"):
            self.download_dir.mkdir(parents=True, exist_ok=True)
        key = blake3(spec.encode()).hexdigest()
        return _Measure(self, Pin("", spec, "", "", f"measure-{key[:32]}", max_bytes, (spec,))).run()

    def _is_here(self, pin: Pin) -> bool:
        return finished_path(self.download_dir, pin).is_file()


def finished_path(directory: Path, pin: Pin) -> Path:
    """Where a finished download waits for its caller."""
    return directory / f"{pin.blake3[:16]}-{pin.file}"


def missing(pins: Iterable[Pin]) -> FetchError:
    """The error that names every source that would have to be fetched, for `--offline`."""
    wanted = sorted(pins, key=lambda pin: (pin.name, pin.version))
    what = "1 source is" if len(wanted) == 1 else f"{len(wanted)} sources are"
    return FetchError(
        f"offline, and {what} not in the store",
        hint="run once without --offline, or copy the store of a machine that has them",
        details=tuple(f"{_label(pin)}: {pin.file}, {pin.size} bytes, sha256 {pin.sha256}" for pin in wanted),
    )


def _label(pin: Pin) -> str:
    return f"{pin.name} {pin.version}"


T = TypeVar("T")


class _Job(Generic[T]):
    """One download, in a thread of its own: a caller who cancels need not wait for the network."""

    def __init__(self, fetcher: Fetcher, pin: Pin) -> None:
        self.fetcher = fetcher
        self.pin = pin
        self.stop = threading.Event()
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None
        self.download: Download | None = None
        self.attempts: list[str] = []
        self.spec = ""

    def run(self) -> T:
        """Wait for the result, or until the fetcher is told to stop."""
        # A daemon: a connection that hangs must not keep the process from ending.
        threading.Thread(target=self._work, name=f"fetch {self.pin.name}", daemon=True).start()
        try:
            while not self.done.wait(0.05):
                if self.fetcher._stop.is_set():
                    break
        finally:
            self.stop.set()
        if self.done.is_set():
            if self.result is not None:
                return self.result
            if self.error is not None and not isinstance(self.error, Stopped):
                raise self.error
        if self.download is not None:
            self.download.interrupt()
        raise Cancelled(f"stopped while {_label(self.pin).strip()} was being fetched")

    def _work(self) -> None:
        part = Partial(self.fetcher.download_dir, self.pin)
        try:
            part.acquire(self.stop)
            self.download = Download(self.fetcher.machine.http, self.pin, part, self._on_bytes, self.stop)
            self.result = self._get(part, self.download)
        except OSError as problem:
            self.error = filesystem.explain(problem, self.fetcher.download_dir, "write")
        except BaseException as problem:
            self.error = problem
        finally:
            part.release()
            self.done.set()

    def _get(self, part: Partial, download: Download) -> T:
        raise NotImplementedError

    def _rejected(self, spec: str, location: Location, problem: Rejected, part: Partial) -> bool:
        """Deal with other bytes than expected. True: take them."""
        raise NotImplementedError

    def _on_bytes(self, count: int) -> None:
        if self.fetcher.progress is not None and not self.stop.is_set():
            self.fetcher.progress(self.pin, count, self.pin.size, self.spec)

    def _note(self, spec: str, location: Location | None, reason: str) -> None:
        where = redacted(spec)
        if location is not None and redacted(location.url) != where:
            where = f"{where} ({redacted(location.url)})"
        line = f"{where}: {reason}"
        self.attempts.append(line)
        self._tell(line)

    def _try_mirror(self, spec: str, part: Partial, download: Download) -> bool:
        try:
            for location in kinds.of(spec).locate(self.fetcher.machine):
                if self._try_location(spec, location, part, download):
                    return True
        except FetchError as problem:
            hint = f" ({problem.hint})" if problem.hint else ""
            self._note(spec, None, problem.message.removeprefix(f"{spec}: ") + hint)
        return False

    def _try_location(self, spec: str, location: Location, part: Partial, download: Download) -> bool:
        """Try one address until it works or there is no point in trying on."""
        limits = self.fetcher.machine.http.limits
        tries, left = 0, limits.patience
        while True:
            try:
                download.run(location)
                return True
            except Rejected as problem:
                tries += 1
                if problem.resumed and tries < limits.tries:
                    # The beginning may be another mirror's fault: once more, from the start.
                    part.clear()
                    continue
                return self._rejected(spec, location, problem, part)
            except Failure as failure:
                tries += 1
                try:
                    if not failure.passing or tries >= limits.tries:
                        raise failure
                    seconds = pause(failure, tries, limits.backoff, left)
                except Failure as last:
                    again = f" ({tries} tries)" if tries > 1 else ""
                    self._note(spec, location, last.reason + again)
                    return False
                if failure.wait is not None:
                    left -= seconds
                    self._tell(f"{redacted(spec)}: {failure.reason}; waiting {seconds:.0f} s, as it asks")
                if self.stop.wait(seconds):
                    raise Stopped from None

    def _tell(self, line: str) -> None:
        if self.fetcher.notice is not None:
            self.fetcher.notice(self.pin, line)


class _Fetch(_Job[Path]):
    """Gets what is pinned."""

    def __init__(self, fetcher: Fetcher, pin: Pin) -> None:
        super().__init__(fetcher, pin)
        self.mismatch: tuple[Digests, Path, str] | None = None

    def _get(self, part: Partial, download: Download) -> Path:
        target = finished_path(self.fetcher.download_dir, self.pin)
        if _is_right(target, self.pin, self.stop):
            return target
        for spec in self.pin.mirrors:
            self.spec = spec
            if self._try_mirror(spec, part, download):
                part.move(target)
                return target
        raise self._failed()

    def _rejected(self, spec: str, location: Location, problem: Rejected, part: Partial) -> bool:
        """Put the wrong bytes aside for a person to look at, and note both values."""
        directory = self.fetcher.download_dir / REJECTED
        directory.mkdir(exist_ok=True)
        got = problem.digests
        kept = directory / f"{self.pin.file[:180]}-{got.sha256}"
        part.move(kept)
        size = f"more than {self.pin.size}" if problem.oversize else str(got.size)
        fact = f"served other bytes: sha256 {got.sha256}, blake3 {got.blake3}; kept as {kept}"
        if problem.oversize:
            fact = f"served more than the {self.pin.size} bytes that are pinned; their beginning is in {kept}"
        fact += f"; they are {problem.came}"
        self._note(spec, location, fact)
        if self.mismatch is None:
            self.mismatch = (got, kept, size)
        part.acquire(self.stop)
        return False

    def _failed(self) -> HermeticError:
        pin = self.pin
        count = len(pin.mirrors)
        mirrors = "its only mirror" if count == 1 else f"any of its {count} mirrors"
        if self.mismatch is None:
            return FetchError(
                f"cannot fetch {_label(pin)} ({pin.file}) from {mirrors}",
                hint="add a mirror that answers here to its entry in flake-like.lock",
                details=tuple(self.attempts),
            )
        got, kept, size = self.mismatch
        nobody = "its only mirror did not serve" if count == 1 else f"none of its {count} mirrors served"
        return HashMismatch(
            f"{_label(pin)} ({pin.file}): {nobody} the bytes that are pinned",
            hint=f"look at {kept}; if upstream meant the change, `hermetic lock --update {pin.name}` pins it",
            details=(
                f"expected sha256 {pin.sha256}",
                f"     got sha256 {got.sha256}",
                f"expected blake3 {pin.blake3}",
                f"     got blake3 {got.blake3}",
                f"expected {pin.size} bytes, got {size}",
                *self.attempts,
            ),
        )


class _Measure(_Job[Digests]):
    """Looks at what one mirror serves."""

    def _get(self, part: Partial, download: Download) -> Digests:
        self.spec = self.pin.mirrors[0]
        part.clear()
        try:
            if self._try_mirror(self.spec, part, download):
                return download.digests
        finally:
            part.clear()
        reasons = "; ".join(line.removeprefix(f"{redacted(self.spec)}: ") for line in self.attempts)
        raise FetchError(reasons or "no address to try")

    def _rejected(self, spec: str, location: Location, problem: Rejected, part: Partial) -> bool:
        return True


def _is_right(path: Path, pin: Pin, stop: threading.Event) -> bool:
    """Whether a finished download is there and whole. One that is not is removed."""
    if path.is_symlink():  # what it leads to is not ours, and must not even be touched
        path.unlink(missing_ok=True)
        return False
    digests = Digests()
    try:
        with os.fdopen(filesystem.opened(str(path)), "rb") as file:
            with contextlib.suppress(OSError):
                os.utime(file.fileno())  # it is in use again, and too young to be collected
            while chunk := file.read(1 << 20):
                digests.update(chunk)
                if stop.is_set():
                    raise Stopped
    except FileNotFoundError:
        return False
    if digests.match(pin):
        return True
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return False
