"""What the comparison of two trees promises."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermetic.verify.compare.model import BuildFacts, Difference
from hermetic.verify.compare.render import describe
from hermetic.verify.compare.tree import compare_trees

Compare = Callable[..., list[Difference]]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compares two contents as the file `name` of two trees."""

    def run(
        left: bytes, right: bytes, name: str = "file", facts: BuildFacts | None = None
    ) -> list[Difference]:
        for side, content in (("left", left), ("right", right)):
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return compare_trees(tmp_path / "left", tmp_path / "right", facts=facts)

    return run


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    left, right = tmp_path / "left", tmp_path / "right"
    left.mkdir()
    right.mkdir()
    return left, right


def only(found: list[Difference]) -> Difference:
    assert len(found) == 1, found
    return found[0]


# Entries


def test_equal_trees_have_no_differences(trees: tuple[Path, Path]) -> None:
    for side in trees:
        (side / "d").mkdir()
        (side / "d/file").write_text("x")
        (side / "link").symlink_to("d/file")
    os.utime(trees[0] / "d/file", (1, 1))
    assert compare_trees(*trees) == []
    assert describe([]) == "the trees are the same"


def test_every_entry_that_is_in_one_tree_only_is_named(trees: tuple[Path, Path]) -> None:
    (trees[0] / "sub").mkdir()
    (trees[0] / "sub/a").write_text("a")
    (trees[1] / "b").symlink_to("nowhere")
    assert [(d.path, d.kind, d.words) for d in compare_trees(*trees)] == [
        ("b", "only-right", "a symbolic link only in the rebuild"),
        ("sub", "only-left", "a directory only in the first build"),
        ("sub/a", "only-left", "a file only in the first build"),
    ]


def test_every_differing_file_is_named_not_only_the_first(trees: tuple[Path, Path]) -> None:
    for number in range(200):
        for side in trees:
            (side / f"{number:03}").write_text(f"{side.name} {number}")
    assert len({d.path for d in compare_trees(*trees)}) == 200


def test_kinds_are_compared(trees: tuple[Path, Path]) -> None:
    (trees[0] / "x").mkdir()
    (trees[1] / "x").write_text("")
    assert only(compare_trees(*trees)).words == "a directory against a file"


def test_the_executable_bit_is_compared_and_no_other(trees: tuple[Path, Path]) -> None:
    for name, modes in (("exec", (0o755, 0o644)), ("same", (0o644, 0o400))):
        for side, mode in zip(trees, modes, strict=True):
            (side / name).write_text("x")
            (side / name).chmod(mode)
    found = only(compare_trees(*trees))
    assert (found.path, found.kind) == ("exec", "mode")
    assert found.words == "the executable bit: set against not set"


def test_link_targets_are_compared_as_they_are_written(trees: tuple[Path, Path]) -> None:
    for side, target in zip(trees, ("./a/b", "a/b"), strict=True):
        os.symlink(target, side / "l")  # noqa: PTH211 (a Path would make both the same)
    found = only(compare_trees(*trees))
    assert (found.kind, found.left, found.right) == ("link", "./a/b", "a/b")


def test_links_are_not_followed(trees: tuple[Path, Path]) -> None:
    for side in trees:
        (side / "loop").symlink_to(".")
        (side / "out").symlink_to("/")
    assert compare_trees(*trees) == []


def test_two_files_can_be_compared_as_trees(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\n")
    (tmp_path / "b").write_text("two\n")
    assert only(compare_trees(tmp_path / "a", tmp_path / "b")).path == "."


def test_sockets_and_fifos_are_never_opened(trees: tuple[Path, Path]) -> None:
    for side in trees:
        os.mkfifo(side / "fifo")
    (trees[0] / "s").write_text("")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(trees[1])  # a socket's path has at most 108 bytes
        try:
            server.bind("s")
        finally:
            os.chdir(here)
        assert only(compare_trees(*trees)).words == "a file against a special file"


def test_a_missing_tree_is_unreadable_not_an_exception(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    found = compare_trees(tmp_path / "a", tmp_path / "missing")
    assert {d.kind for d in found} == {"unreadable", "only-left"}


def test_names_that_are_not_utf_8_are_shown_escaped(trees: tuple[Path, Path]) -> None:
    (trees[0] / os.fsdecode(b"\xff\x1b[31m")).write_text("x")
    found = compare_trees(*trees)
    assert only(found).path == r"\xff\x1b[31m"


# Text


def test_text_is_compared_by_line_with_its_number(compare: Compare) -> None:
    found = only(compare(b"one\ntwo\nthree\n", b"one\ntoo\nthree\n"))
    assert (found.where, found.left, found.right) == ("line 2", "two", "too")


def test_the_same_lines_in_another_order_are_said_to_be_so(compare: Compare) -> None:
    lines = [f"line {n}\n".encode() for n in range(312)]
    found = only(compare(b"".join(lines), b"".join(reversed(lines))))
    assert (found.kind, found.words) == ("order", "the same 312 lines in another order")


def test_a_list_in_another_order_is_found_inside_a_text_that_differs_elsewhere_too(compare: Compare) -> None:
    middle = [f"item {n}\n".encode() for n in range(50)]
    left = b"head\n" + b"".join(middle) + b"tail\nold\n"
    right = b"head\n" + b"".join(middle[25:] + middle[:25]) + b"tail\nnew\n"
    kinds = {d.kind: d for d in compare(left, right)}
    assert kinds["order"].words == "25 lines in another order"
    assert kinds["content"].left == "old"


def test_the_same_words_of_a_line_in_another_order_are_said_to_be_so(compare: Compare) -> None:
    found = only(compare(b"SRCS = a.c b.c c.c\n", b"SRCS = c.c a.c b.c\n"))
    assert (found.kind, found.words) == ("order", "the same 5 words in another order")


def test_inserted_lines_do_not_make_all_that_follow_differ(compare: Compare) -> None:
    lines = [f"line {n}\n".encode() for n in range(100)]
    found = only(compare(b"".join(lines), b"".join([*lines[:40], b"new\n", *lines[40:]])))
    assert (found.where, found.words, found.right) == ("line 41", "a line only in the rebuild", "new")


def test_a_missing_line_feed_at_the_end_is_named(compare: Compare) -> None:
    assert "line feed at the end" in only(compare(b"a\nb\n", b"a\nb")).words


def test_line_endings_are_shown(compare: Compare) -> None:
    assert only(compare(b"a\nb\n", b"a\r\nb\n")).right == r"a\r"


# Recognised


@pytest.mark.parametrize(
    ("left", "right", "kind", "words"),
    [
        (
            "prefix=/build/source/x",
            "prefix=/tmp/other/x",
            "embedded-path",
            "an embedded path: '/build/source/x' against '/tmp/other/x'",
        ),
        (
            "-I/build/a/include -g",
            "-I/tmp/b/include -g",
            "embedded-path",
            "an embedded path: '/build/a/include'",
        ),
        ("x /tmp/tmp.Xa81/y", "x", "embedded-path", "an embedded path, in the first build only"),
        (
            "in /tmp/b.20261122/x",
            "in /tmp/b.20261123/x",
            "embedded-path",
            "an embedded path: '/tmp/b.20261122/x'",
        ),
        ("built 2026-11-22", "built 2026-11-23", "embedded-time", "(ISO 8601 date): '2026-11-22'"),
        ("at 2026-11-22T15:55:18Z.", "at 2026-11-22T16:01:02Z.", "embedded-time", "(ISO 8601 time)"),
        ("Nov 22 2026", "Nov 23 2026", "embedded-time", "(`__DATE__`)"),
        ("Nov  2 2026, 15:55:18", "Nov  3 2026, 15:55:18", "embedded-time", "`__DATE__` and `__TIME__`"),
        ("(15:55:18)", "(15:56:18)", "embedded-time", "(`__TIME__`)"),
        ("Sun Nov 22 15:55:18 UTC 2026", "Sun Nov 22 15:55:19 UTC 2026", "embedded-time", "(date and time)"),
        ("release 20261122", "release 20261123", "embedded-time", "(date)"),
        ("at 0x7f12a4c0d010>", "at 0x7fd5a4c0d010>", "embedded-random", "an address of memory"),
        (
            "id 4b1bbf1e-3a21-4f49-9a53-0d4e2d3c1f10",
            "id 9b1bbf1e-3a21-4f49-9a53-0d4e2d3c1f10",
            "embedded-random",
            "a UUID",
        ),
        ("MAKEFLAGS = -j8", "MAKEFLAGS = -j1", "embedded-host", "the number of jobs: '-j8' against '-j1'"),
    ],
)
def test_what_leaks_is_recognised(compare: Compare, left: str, right: str, kind: str, words: str) -> None:
    found = only(compare(f"a\n{left}\n".encode(), f"a\n{right}\n".encode()))
    assert found.kind == kind
    assert words in found.words


def test_a_path_beside_a_difference_is_not_blamed_for_it(compare: Compare) -> None:
    assert only(compare(b"/usr/bin/cc -O2\n", b"/usr/bin/cc -O3\n")).kind == "content"


@pytest.mark.parametrize(
    ("facts", "left", "right", "words"),
    [
        (
            BuildFacts(host_names=("vm-3", "vm-4")),
            "on vm-3.",
            "on vm-4.",
            "the host name: 'vm-3' against 'vm-4'",
        ),
        (BuildFacts(users=("ann", "bob")), "by ann", "by bob", "the user's name: 'ann' against 'bob'"),
        (
            BuildFacts(kernels=("6.9", "7.1")),
            "k 6.9",
            "k 7.1",
            "the kernel's release or version: '6.9' against '7.1'",
        ),
        (BuildFacts(paths=("/s p",)), "at /s p/x", "at /q/y", "an embedded path: '/s p/x' against '/q/y'"),
    ],
)
def test_facts_of_the_two_builds_are_recognised(
    compare: Compare, facts: BuildFacts, left: str, right: str, words: str
) -> None:
    found = only(compare(left.encode(), right.encode(), facts=facts))
    assert found.kind.startswith("embedded-")
    assert words in found.words


def test_unix_seconds_near_the_build_are_recognised_in_text(compare: Compare) -> None:
    now = int(time.time())
    found = only(compare(f"t={now - 60}\n".encode(), f"t={now}\n".encode()))
    assert found.kind == "embedded-time"
    assert "Unix seconds" in found.words


def test_numbers_that_are_no_time_of_the_build_are_left_alone(compare: Compare) -> None:
    facts = BuildFacts(times=(1_700_000_000,))
    assert only(compare(b"t=1500000000\n", b"t=1500000001\n", facts=facts)).kind == "content"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("built in 2026-11", "built in 2027-12"),
        ("(c) 2026 us", "(c) 2027 us"),
        ("in Nov", "in Dec"),
        ("on Tuesday", "on Wednesday"),
        ("24", "29"),
        ("day 328", "day 363"),
    ],
)
def test_parts_of_dates_count_if_they_are_those_of_the_builds(
    compare: Compare, left: str, right: str
) -> None:
    both = BuildFacts(times=(1_795_510_000, 1_830_070_000))  # 2026-11-24 and 2027-12-29, forenoon
    found = only(compare(left.encode(), right.encode(), facts=both))
    assert (found.kind, "(part of a date)" in found.words) == ("embedded-time", True)
    others = BuildFacts(times=(1_700_000_000, 1_710_500_000))
    assert only(compare(left.encode(), right.encode(), facts=others)).kind == "content"


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("width", [4, 8])
def test_time_stamps_in_binary_are_recognised_in_both_byte_orders(
    compare: Compare, order: str, width: int
) -> None:
    now = int(time.time())
    one, other = ((now - back).to_bytes(width, order) for back in (4000, 0))  # type: ignore[arg-type]
    found = compare(b"\0\xff" * 20 + one + b"\xfe" * 30, b"\0\xff" * 20 + other + b"\xfe" * 30)[0]
    assert found.kind == "embedded-time"
    assert order in found.words


def test_a_time_stamp_that_only_one_build_lacks_is_recognised(compare: Compare) -> None:
    now = int(time.time()).to_bytes(4, "little")
    assert (
        compare(b"\xff" * 16 + now + b"\xfe" * 8, b"\xff" * 16 + bytes(4) + b"\xfe" * 8)[0].kind
        == "embedded-time"
    )


def test_paths_in_binary_are_recognised(compare: Compare) -> None:
    found = compare(b"\0\1\2\0/build/source/x.c\0\3", b"\0\1\2\0/tmp/work12/y.c\0\3\0\0")
    assert found[0].words == "an embedded path: '/build/source/x.c' against '/tmp/work12/y.c'"


# Bytes


def test_bytes_without_structure_get_an_offset_and_a_hexdump(compare: Compare) -> None:
    left = bytearray(b"\0\xff" * 500)
    right = bytearray(left)
    right[100:103] = b"abc"
    right[900] = 1
    found = only(compare(bytes(left), bytes(right)))
    assert found.words == "1,000 bytes, first difference at offset 0x64"
    assert found.left.startswith("00000060  00 ff 00 ff 00")
    assert "|....abc" in found.right


def test_contents_of_another_length_say_so(compare: Compare) -> None:
    found = only(compare(b"\0\xff" * 50, b"\0\xff" * 20 + b"\1\2\3" + b"\0\xff" * 30))
    assert (found.kind, found.words) == ("size", "100 bytes against 103, first difference at offset 0x28")


def test_the_same_strings_of_a_binary_in_another_order_are_said_to_be_so(compare: Compare) -> None:
    found = compare(b"\0\1alpha\0beta1\0gamma!\0", b"\0\1gamma!\0alpha\0beta1\0\0")
    assert found[0].words == "the same 3 strings in another order"


def test_another_kind_of_content_is_named(compare: Compare) -> None:
    found = compare(b"#!/bin/sh\n", b"\x7fELF" + bytes(80))
    assert found[0].words == "text against an ELF file"


def test_files_that_differ_everywhere_take_bounded_time(compare: Compare) -> None:
    started = time.monotonic()
    found = compare(b"\0\1" * (10 << 20), b"\1\0" * (10 << 20))
    assert time.monotonic() - started < 20
    assert found


def test_a_text_of_one_long_line_takes_bounded_time(compare: Compare) -> None:
    started = time.monotonic()
    found = only(compare(b"/a b " * (4 << 20) + b"x", b"/a b " * (4 << 20) + b"y"))
    assert time.monotonic() - started < 20
    assert (found.where, len(found.left) < 200) == ("line 1", True)


# Rendering


def test_the_text_has_a_headline_per_file_and_at_most_n_details(compare: Compare) -> None:
    lines = [f"{n} /build/{n}\n" for n in range(30)]
    found = compare("".join(lines).encode(), "".join(lines).replace("build", "tmp/x").encode())
    text = describe(found, details=2)
    assert text.splitlines()[:4] == [
        "1 entry differs",
        "file: an embedded path (30)",
        "  line 1: an embedded path: '/build/0' against '/tmp/x/0'",
        "    - 0 /build/0",
    ]
    assert text.splitlines()[-1] == "  … and 28 more"


def test_a_file_with_very_many_differences_says_how_many_are_not_listed(compare: Compare) -> None:
    lines = [f"x {n}\ncommon {n}\n" for n in range(5000)]
    found = compare("".join(lines).encode(), "".join(lines).replace("x", "y").encode())
    assert len(found) == 41
    assert (found[-1].kind, found[-1].words) == ("omitted", "4,960 further differences")
    assert describe(found).splitlines()[-1] == "  … and 4,995 more"


def test_control_characters_never_reach_the_terminal(compare: Compare) -> None:
    text = describe(compare(b"a\x1b[31mred\n", b"a\x1b]0;title\x07\n"))
    assert all(c.isprintable() or c == "\n" for c in text)


def test_the_same_trees_always_give_the_same_answer(compare: Compare) -> None:
    arguments = (b"\0\1/build/x\0beta", b"\0\1/tmp/xy\0gamma!")
    assert compare(*arguments) == compare(*arguments)
