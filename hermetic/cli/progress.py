"""Shows a run while it goes on: a live board on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hermetic.cli.visible import cut, visible
from hermetic.realize.events import (
    Event,
    Failed,
    Finished,
    Listener,
    Notice,
    Phase,
    Planned,
    Skipped,
    Started,
    Transfer,
    Waiting,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

_HEARTBEAT: Final = 30.0  # seconds between signs of life of one step, off a terminal
_PHASE_MARK: Final = b"==> "  # build scripts announce their phases with it
_TAIL: Final = 4096
_PIECE: Final = 1 << 20  # bytes of a log that are read at once
_VERBS: Final = {
    "build": "building",
    "check": "testing",
    "fetch": "fetching",
    "substitute": "substituting",
    "unpack": "unpacking",
}


class Row:
    """One step that is under way."""

    def __init__(self, event: Started) -> None:
        self.label = event.label
        self.kind = event.kind
        self.log = event.log
        self.began = self.told = time.monotonic()
        self.text = ""
        self.done = self.total = 0
        self.followed = 0  # bytes of the log that have been shown
        self._read_at = 0.0

    def detail(self) -> str:
        """Bytes and rate of a download, phase of a build."""
        elapsed = time.monotonic() - self.began
        if self.total:
            rate = self.done / elapsed if elapsed > 0 else 0
            return f"{size(self.done)} of {size(self.total)}, {size(int(rate))}/s"
        if self.log is not None and not self.text and elapsed - self._read_at > 0.5:
            self._read_at = elapsed
            self._phase = _phase(self.log)
        return self.text or getattr(self, "_phase", "")


class Board:
    """What is running and what has been done: the state behind both ways to show it."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.waiting: dict[str, Waiting] = {}
        self.plan: Planned | None = None
        self.finished = 0
        self.began = time.monotonic()
        self.lock = threading.Lock()

    def take(self, event: Event) -> str | None:
        """Take an event in; the line that it is worth, if any."""
        with self.lock:
            if isinstance(event, Planned):
                self.plan, self.finished = event, 0
                if event.checks:
                    return counted(event.checks, "test file")
                downloads = (
                    f" and {counted(event.fetches, 'download')} ({size(event.bytes)})"
                    if event.fetches
                    else ""
                )
                taken = f", {event.substitutes:,} to substitute" if event.substitutes else ""
                steps, builds = counted(event.total, "step"), counted(event.builds, "build")
                return f"at most {steps}: {builds}{downloads}{taken}"
            if isinstance(event, Started):
                self.rows[event.drv_id] = Row(event)
                self.waiting.pop(event.drv_id, None)
                return f"{_VERBS[event.kind]} {event.label}" if event.kind != "check" else None
            if isinstance(event, Waiting):
                self.waiting[event.drv_id] = event
                return f"waiting for {event.label}: {event.holder} is working on it"
            if isinstance(event, Notice):
                return f"{event.label}: {event.text}"
            if isinstance(event, Transfer) and event.drv_id in self.rows:
                self.rows[event.drv_id].done, self.rows[event.drv_id].total = event.done, event.total
            elif isinstance(event, Phase) and event.drv_id in self.rows:
                self.rows[event.drv_id].text = event.text
            elif isinstance(event, (Finished, Failed, Skipped)):
                return self._end(event)
        return None

    def _end(self, event: Finished | Failed | Skipped) -> str:
        self.rows.pop(event.drv_id, None)
        self.waiting.pop(event.drv_id, None)
        if isinstance(event, Failed):
            self.finished += self.plan is not None and self.plan.checks > 0  # what failed has run to its end
            return f"FAILED {event.label}"
        if isinstance(event, Skipped):
            return f"skipped {event.label}: needs {event.because}, which failed"
        self.finished += 1
        if event.how == "cut off":
            return f"unchanged {event.label}: its inputs have the same bytes as before, nothing to build"
        origin = f" from {event.origin}" if event.origin else ""
        line = f"{event.how} {event.label}{origin} in {duration(event.seconds)}"
        if event.how == "by another process":
            line = f"{event.label}: finished by another process ({duration(event.seconds)})"
        if event.unexpected:
            line += f"; flake-like.lock expects other bytes: {event.unexpected}"
        return line

    def count(self) -> str:
        """How many of how many."""
        total = self.plan.total if self.plan else 0
        return f"[{self.finished}/{total}]"


@contextmanager
def showing(verbose: bool) -> Iterator[Listener]:
    """Show what the listener is told until the block ends."""
    if sys.stderr.isatty() and not verbose:
        with _live() as listener:
            yield listener
    else:
        with _plain(verbose) as listener:
            yield listener


@contextmanager
def _plain(verbose: bool) -> Iterator[Listener]:
    board = Board()
    stop = threading.Event()
    printing = threading.Lock()

    def say(line: str) -> None:
        with printing:
            print(f"{board.count()} {visible(cut(line))}", file=sys.stderr, flush=True)

    def follow(row: Row, *, ended: bool = False) -> None:
        with printing:
            _follow(row, ended)

    def listener(event: Event) -> None:
        if verbose and isinstance(event, (Finished, Failed)) and event.drv_id in board.rows:
            follow(board.rows[event.drv_id], ended=True)
        line = board.take(event)
        if line:
            say(line)

    def tick() -> None:
        while not stop.wait(0.2 if verbose else 1.0):
            with board.lock:
                rows = list(board.rows.values())
            for row in rows:
                if verbose and row.log is not None:
                    follow(row)
                elif time.monotonic() - row.told >= _HEARTBEAT:
                    row.told = time.monotonic()
                    detail = row.detail()
                    elapsed = duration(time.monotonic() - row.began)
                    say(f"{_VERBS[row.kind]} {row.label}, {elapsed}{f': {detail}' if detail else ''}")

    thread = threading.Thread(target=tick, daemon=True, name="progress")
    thread.start()
    try:
        yield listener
    finally:
        stop.set()
        thread.join()


def _follow(row: Row, ended: bool) -> None:
    """Print what has been added to a log: whole lines, and once it has ended, the rest."""
    if row.log is None:
        return
    try:
        with row.log.open("rb") as file:
            file.seek(row.followed)
            while data := file.read(_PIECE):
                # A piece without any line feed is part of an endless line.
                whole = data[: data.rfind(b"\n") + 1] or (data if len(data) == _PIECE else b"")
                if ended and len(data) < _PIECE:
                    whole = data
                if not whole:
                    return
                row.followed += len(whole)
                file.seek(row.followed)
                for line in whole.decode("utf-8", "replace").splitlines():
                    print(f"{row.label}> {visible(cut(line))}", file=sys.stderr)
    except OSError:
        return


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.live import Live

    board = Board()
    console = Console(stderr=True)
    with Live(
        get_renderable=lambda: _render(board), console=console, refresh_per_second=8, transient=True
    ) as live:

        def listener(event: Event) -> None:
            line = board.take(event)
            if line and isinstance(event, (Planned, Notice, Finished, Failed, Skipped, Waiting)):
                live.console.print(f"{board.count()} {visible(cut(line))}", markup=False, highlight=False)

        yield listener


def _render(board: Board) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    with board.lock:
        rows, waiting = list(board.rows.values()), list(board.waiting.values())
        head = f"{board.count()} {len(rows)} running, {duration(time.monotonic() - board.began)}"
    table.add_row(Text(head, style="bold"))
    for row in rows:
        elapsed = duration(time.monotonic() - row.began)
        table.add_row(
            Text(f"  {_VERBS[row.kind]} {row.label}"), Text(elapsed, style="cyan"), Text(row.detail())
        )
    for wait in waiting:
        table.add_row(Text(f"  waiting for {wait.label}", style="yellow"), Text(""), Text(wait.holder))
    return table


def _phase(log: Path) -> str:
    """The last phase that a build has announced in its log."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - 256 * _TAIL))
            data = file.read()
    except OSError:
        return ""
    at = data.rfind(_PHASE_MARK)
    if at < 0:
        return ""
    return visible(data[at + len(_PHASE_MARK) : at + 200].split(b"\n", 1)[0].decode("utf-8", "replace"))


def duration(seconds: float) -> str:
    """`0.3s`, `12s`, `3m05s`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 object`, `2 objects`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(count: int) -> str:
    """Bytes for people, in powers of 1024."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
