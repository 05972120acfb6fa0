"""One download: bytes from one address to a file on disk, hashed on the way, resumed where possible."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from blake3 import blake3

from hermetic import filesystem
from hermetic.project.pin import Pin
from hermetic.sources.fetch import answers, encoded
from hermetic.sources.fetch.failure import Failure
from hermetic.sources.fetch.http import Http
from hermetic.sources.fetch.mirror import Location, local_path, redacted

if TYPE_CHECKING:
    import httpx

_ORIGIN: Final = 1 << 20  # bytes of the note beside a part
_PROGRESS_EVERY: Final = 0.05  # seconds


class Stopped(Exception):
    """The caller wants no more."""


class Rejected(Exception):
    """What arrived is not what is pinned.

    Attributes:
        resumed: part of it was there before this download, so that another mirror may be to blame.
        came: type, size and first characters of what arrived.
    """

    def __init__(self, digests: Digests, *, resumed: bool, oversize: bool, came: str) -> None:
        super().__init__()
        self.digests = digests
        self.came = came
        self.resumed = resumed
        self.oversize = oversize


class Digests:
    """The running digests of a file."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._blake3 = blake3()

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)
        self._blake3.update(data)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def blake3(self) -> str:
        return self._blake3.hexdigest()

    def match(self, pin: Pin) -> bool:
        return (self.size, self.sha256, self.blake3) == (pin.size, pin.sha256, pin.blake3)


class _Origin(msgspec.Struct):
    """Where the first bytes of a partial file came from; kept beside it.

    Attributes:
        validator: the server's mark for this version of the file (a strong ETag or a date), for If-Range.
    """

    url: str
    validator: str


class Partial:
    """The file that a download grows in: `<blake3>.part`. Locked: one process at a time writes to it."""

    def __init__(self, directory: Path, pin: Pin) -> None:
        self.path = directory / f"{pin.blake3}.part"
        self._origin = directory / f"{pin.blake3}.part.json"
        self.fd = -1

    def acquire(self, stop: threading.Event) -> None:
        """Open and lock it; waits while another process downloads the same.

        Raises:
            Stopped: while waiting.
        """
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                while not _try_lock(fd):
                    if stop.wait(0.1):
                        raise Stopped
                # Whoever had the lock may have moved the file away.
                with contextlib.suppress(FileNotFoundError):
                    if os.fstat(fd).st_ino == self.path.stat().st_ino:
                        self.fd, fd = fd, -1
                        return
            finally:
                if fd >= 0:
                    os.close(fd)

    def release(self) -> None:
        """Close it; an empty one is removed."""
        if self.fd < 0:
            return
        with contextlib.suppress(OSError):
            if os.fstat(self.fd).st_size == 0 and os.fstat(self.fd).st_nlink:
                self.path.unlink()
                self._origin.unlink(missing_ok=True)
        os.close(self.fd)
        self.fd = -1

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def clear(self) -> None:
        os.ftruncate(self.fd, 0)
        self._origin.unlink(missing_ok=True)

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def beginning(self) -> bytes:
        return os.pread(self.fd, answers.BEGINNING, 0)

    def digest(self, stop: threading.Event) -> Digests:
        """The digests of what is there; leaves the file at its end."""
        digests = Digests()
        os.lseek(self.fd, 0, os.SEEK_SET)
        while chunk := os.read(self.fd, 1 << 20):
            digests.update(chunk)
            if stop.is_set():
                raise Stopped
        return digests

    def move(self, target: Path) -> None:
        """Give the file another name; the next `acquire` makes a new one."""
        self.path.replace(target)
        self._origin.unlink(missing_ok=True)
        os.close(self.fd)
        self.fd = -1

    def origin(self) -> _Origin | None:
        try:
            return msgspec.json.decode(filesystem.whole(str(self._origin), _ORIGIN), type=_Origin)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def remember(self, url: str, headers: httpx.Headers) -> None:
        etag = headers.get("ETag", "")
        validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
        self._origin.write_bytes(msgspec.json.encode(_Origin(url, validator)))


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Download:
    """The download of one source; tried on one address after the other.

    Args:
        on_bytes: told how many bytes are there, at most every 50 ms.
        stop: set by the caller to end it.
    """

    def __init__(
        self, http: Http, pin: Pin, part: Partial, on_bytes: Callable[[int], None], stop: threading.Event
    ) -> None:
        self.http = http
        self.pin = pin
        self.part = part
        self.on_bytes = on_bytes
        self.stop = stop
        self.digests = Digests()
        self._socket: socket.socket | None = None
        self._told = 0.0
        self._encoding = ""  # Content-Encoding of what is there
        self._headers: httpx.Headers | None = None

    def interrupt(self) -> None:
        """Wake a read that waits for the network. May be called from any thread, after `stop` is set."""
        waiting = self._socket
        if waiting is not None:
            with contextlib.suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def run(self, location: Location) -> None:
        """Get the file from `location`; afterwards the partial file is whole and right.

        Raises:
            Failure: it did not arrive. Rejected: it did, and is something else. Stopped.
            OSError: it cannot be written.
        """
        had = self.part.size()
        if had > self.pin.size or self._encoding:
            self.part.clear()
            had = 0
        self.digests = self.part.digest(self.stop)
        if had < self.pin.size:
            if location.url.startswith("file:"):
                self._copy(location)
                had = 0
            else:
                had = self._download(location, had)
        if not self.digests.match(self.pin) and self._encoding:
            self._decode()
        if not self.digests.match(self.pin):
            oversize = self.digests.size > self.pin.size
            size = None if oversize else self.digests.size
            headers = self._headers if self._headers is not None else {}
            came = answers.described(headers, self.part.beginning(), size)
            raise Rejected(self.digests, resumed=had > 0, oversize=oversize, came=came)
        self.on_bytes(self.digests.size)

    def _decode(self) -> None:
        """Undo a compression that was not asked for. What cannot be undone stays as it came.

        Some servers call an archive `Content-Encoding: gzip` that is stored so: its bytes match as they come.
        """
        with tempfile.TemporaryFile(dir=self.part.path.parent) as plain:
            if not encoded.decode(self.part.fd, plain, self.pin.size):
                return
            digests = Digests()
            plain.seek(0)
            while chunk := plain.read(1 << 20):
                digests.update(chunk)
            if digests.match(self.pin):
                self._restart()
                plain.seek(0)
                while chunk := plain.read(1 << 20):
                    self.part.append(chunk)
                self.digests = digests

    def _most(self) -> int:
        """The largest number of bytes that can be right."""
        return self.pin.size + (encoded.slack(self.pin.size) if self._encoding else 0)

    def _restart(self) -> None:
        self._encoding = ""
        self.part.clear()
        os.lseek(self.part.fd, 0, os.SEEK_SET)
        self.digests = Digests()

    def _take(self, data: bytes) -> bool:
        """Write what arrived. False when it is already more than is pinned: then no more is read."""
        if self.stop.is_set():
            raise Stopped
        data = data[: self._most() + 1 - self.digests.size]
        self.part.append(data)
        self.digests.update(data)
        now = time.monotonic()
        if now - self._told > _PROGRESS_EVERY:
            self._told = now
            self.on_bytes(self.digests.size)
        return self.digests.size <= self._most()

    def _copy(self, location: Location) -> None:
        self._restart()
        try:
            source = local_path(location.url).open("rb")
        except OSError as problem:
            raise Failure(problem.strerror or str(problem)) from problem
        with source:
            while chunk := source.read(1 << 20):
                if not self._take(chunk):
                    return

    def _download(self, location: Location, had: int) -> int:
        """Returns how many bytes were there before and were kept."""
        import httpx

        self.http.check_host(location)
        headers = {}
        if had:
            headers["Range"] = f"bytes={had}-"
            origin = self.part.origin()
            if origin is not None and origin.validator and origin.url == location.url:
                headers["If-Range"] = origin.validator
        try:
            with self.http.stream(location, headers) as response:
                stream = response.extensions.get("network_stream")
                self._socket = stream.get_extra_info("socket") if stream is not None else None
                try:
                    return self._receive(response, location, had)
                finally:
                    self._socket = None
        except _DiskError as problem:
            raise problem.error from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError) as problem:
            if self.stop.is_set():
                raise Stopped from None
            raise self.http.explain(problem, location) from problem

    def _receive(self, response: httpx.Response, location: Location, had: int) -> int:
        if response.status_code == 416 and had:
            self.part.clear()
            raise Failure("the server has no such range; starting over", passing=True)
        self.http.refuse(response)
        self._headers = response.headers
        # Without a chunk size: httpx would hold back, and lose at a cut, what does not fill a chunk.
        chunks = response.iter_raw()
        first = next(chunks, b"")
        if answers.is_page(response.headers, first) and not self._wants_page():
            raise Failure(f"sent a page instead of the file: {_came(response, first, location)}")
        if response.status_code == 206:
            _, _, said = response.headers.get("Content-Range", "").partition(" ")
            if not had or said.partition("-")[0] != str(had):
                self.part.clear()
                raise Failure(f"the server sent the range {said!r} for {had}-; starting over", passing=True)
        elif had:
            self._restart()
            had = 0
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        self._encoding = encoding if encoding in encoded.SUPPORTED else ""
        if not had:
            self.part.remember(location.url, response.headers)
        self._read_body(itertools.chain([first], chunks))
        whole = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
        if self.digests.size < self.pin.size and (not whole or had):
            raise Failure(f"ended after {self.digests.size} of {self.pin.size} bytes", passing=True)
        return had

    def _wants_page(self) -> bool:
        """Whether the file may be a page itself."""
        return self.pin.file.lower().endswith((".html", ".htm", ".xhtml"))

    def _read_body(self, chunks: Iterable[bytes]) -> None:
        limits = self.http.limits
        since, counted = time.monotonic(), self.digests.size
        for chunk in chunks:
            try:
                if not self._take(chunk):
                    return
            except OSError as problem:
                raise _DiskError(problem) from problem
            elapsed = time.monotonic() - since
            if elapsed >= limits.rate_window:
                rate = (self.digests.size - counted) / elapsed
                if rate < limits.min_rate:
                    raise Failure(f"too slow: {rate:.0f} bytes a second", passing=True)
                since, counted = time.monotonic(), self.digests.size


def _came(response: httpx.Response, first: bytes, location: Location) -> str:
    """What an answer is, for a report."""
    told = f"{answers.status_words(response.status_code)}, {answers.described(response.headers, first)}"
    return f"{told}, from {redacted(str(response.url))}" if str(response.url) != location.url else told


class _DiskError(Exception):
    """Writing failed: no fault of the mirror."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error
