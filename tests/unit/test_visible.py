"""Text of other origin cannot do anything to a terminal."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.cli import progress, visible
from hermetic.realize import local
from hermetic.realize.events import Started

EVIL = "\x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x9b6n\x08\r\x00\u202e"


def harmless(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" or c.isspace() for c in text) and "\r" not in text


def test_control_characters_are_escaped_and_the_rest_stays() -> None:
    assert visible.visible("a\tb\nü 😀\u00a0c") == "a\tb\nü 😀\u00a0c"
    assert visible.visible("\x1b[2J") == "\\x1b[2J"
    assert harmless(visible.visible(EVIL))


def test_colours_are_dropped() -> None:
    assert visible.visible("\x1b[1;31merror:\x1b[0m no") == "error: no"
    assert visible.visible("\x1b[31mred", colours=True) == "\\x1b[31mred"


def test_a_dropped_colour_does_not_make_another_sequence() -> None:
    assert "\x1b" not in visible.visible("\x1b\x1b[0m[2J")


@given(st.text())
def test_nothing_but_printable_text_remains(text: str) -> None:
    shown = visible.visible(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in shown)


def test_of_an_endless_line_both_ends_are_shown() -> None:
    assert visible.cut("short") == "short"
    shown = visible.cut("a" * 10_000 + "b" * 10_000)
    assert len(shown) < 2100
    assert shown.startswith("aaa")
    assert shown.endswith("bbb")


@pytest.mark.parametrize("length", [1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 200_000])
def test_a_log_is_printed_piece_by_piece(length: int) -> None:
    text = "ü" * length + "\r\nnext\x1b[2J\r\n"
    out = io.StringIO()
    visible.copy(io.BytesIO(text.encode()), out)
    assert out.getvalue() == "ü" * length + "\nnext\\x1b[2J\n"


def test_a_log_that_is_not_text_is_printed() -> None:
    out = io.StringIO()
    visible.copy(io.BytesIO(bytes(range(256)) * 2 + b"\xc3"), out)
    assert harmless(out.getvalue())


def huge(path: Path) -> Path:
    """A log of 3 GB without a line feed but for its end; it takes no space on the disk."""
    with path.open("wb") as log:
        log.truncate(3 << 30)
        log.seek(0, 2)
        log.write(b"\nthe reason\n")
    return path


def test_the_end_of_a_huge_log_takes_little_memory(tmp_path: Path) -> None:
    log = huge(tmp_path / "log")
    tracemalloc.start()
    lines = local._report(log)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines[1] == "| the reason"
    assert len(lines[0]) < 1100
    assert peak < 1 << 20


def test_an_endless_line_is_followed_in_pieces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n" + b"x" * (20 << 20))
    row = progress.Row(Started("id", "app", "build", log))
    tracemalloc.start()
    progress._follow(row, ended=False)
    with log.open("ab") as more:
        more.write(b"y\nlast")
    progress._follow(row, ended=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "app> first"
    assert said[-1] == "app> last"
    assert max(map(len, said)) < 2100
    assert peak < 12 << 20
