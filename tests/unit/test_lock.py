"""`flake-like.lock`: strict to read, one way to write, changes in words."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import LockError
from hermetic.project import lock
from hermetic.project.pin import Pin
from tests.support.examples import examples

PIN = Pin("zlib", "1.3.1", "zlib.tar.xz", "a" * 64, "b" * 64, 5, ("https://x.test/y", "debian:pool/x"))
CONTENT = "z" * 52
EMPTY = lock.Lock(default={}, sources={}, expect={})


def with_version(version: str) -> Pin:
    return msgspec.structs.replace(PIN, version=version)


def example() -> lock.Lock:
    made = lock.set_pin(EMPTY, PIN)
    made = lock.set_pin(made, with_version("1.10"))
    made = lock.set_pin(made, msgspec.structs.replace(PIN, name="make"))
    return lock.set_expected(made, "aarch64-linux-musl", "zlib-1.3.1", CONTENT)


TEXT = lock.format(example())


def test_what_is_written_reads_back_and_writes_the_same_bytes() -> None:
    assert lock.parse(TEXT.encode()) == example()
    assert lock.format(lock.parse(TEXT.encode())) == TEXT


def test_the_canonical_text_is_sorted_and_complete() -> None:
    assert (
        TEXT.index("[source.make.") < TEXT.index('[source.zlib."1.3.1"]') < TEXT.index('[source.zlib."1.10"]')
    )
    assert '[expect.aarch64-linux-musl]\n"zlib-1.3.1" = ' in TEXT


def test_layout_and_comments_do_not_matter() -> None:
    loose = TEXT.replace("\n\n", "\n\n# a comment\n\n").replace(" = ", "=").replace("\n", "\r\n")
    assert lock.parse(loose.encode()) == example()


def test_the_first_version_stays_the_default_when_another_joins() -> None:
    assert example().pin("zlib").version == "1.3.1"
    assert lock.set_pin(example(), with_version("2"), default=True).pin("zlib").version == "2"


def test_a_single_version_needs_no_default() -> None:
    assert example().default == {"zlib": "1.3.1"}
    assert example().pin("make").version == "1.3.1"


def test_an_unknown_source_suggests_the_nearest() -> None:
    with pytest.raises(LockError, match='pins no source "zilb"') as caught:
        example().pin("zilb")
    assert caught.value.hint == 'did you mean "zlib"?'


def test_an_unknown_version_lists_those_that_are_pinned() -> None:
    with pytest.raises(LockError, match="does not pin zlib 9") as caught:
        example().pin("zlib", "9")
    assert caught.value.hint == "pinned: 1.3.1, 1.10"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("size = 5", "size = -5", "size = -5: not a possible number of bytes", None),
        ("size = 5", 'size = "5"', 'size = "5": expected an integer, got a string', None),
        (
            '"1.3.1"\n\n',
            '"1.11"\n\n',
            'zlib = "1.11": zlib is not pinned in that version',
            "pinned: 1.3.1, 1.10",
        ),
        ("zlib = ", "zilb = ", 'no source "zilb" is pinned', 'did you mean "zlib"?'),
        ("https://x.test/y", "x y", "not an address", None),
        ("https://x.test/y", "debian:pool/x", "stands here twice", None),
        ("aaaa", "AAAA", "64 characters of lower-case hexadecimal", None),
        ("mirrors =", "mirors =", 'unknown field "mirors"', 'did you mean "mirrors"?'),
        ('file = "', 'file = "../', "must be a plain file name", None),
        ('file = "', 'file = ".', "must be a plain file name", None),
        ("format = 1", "format = 2", "this hermetic reads format 1", None),
        ("[default]\nzlib = ", "[default]\nmake = ", "none is the default", 'add zlib = "1.10" to [default]'),
        (CONTENT, "short", "not a content hash", None),
        ('"1.10"]', '"1/10"]', "not a valid version", None),
        ("[source.make.", '[source."../make".', "not a valid name", None),
        ('sha256 = "', 'sha265 = "', "sha265", 'did you mean "sha256"?'),
    ],
)
def test_mistakes_are_refused_with_line_value_and_hint(
    old: str, new: str, message: str, hint: str | None
) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(LockError) as caught:
        lock.parse(text.encode(), "some.lock")
    assert message in caught.value.message
    assert caught.value.hint == hint
    place, _, line = caught.value.message.partition(": ")[0].partition(":")
    assert place == "some.lock"
    changed = next(
        n for n, (a, b) in enumerate(zip(TEXT.split("\n"), text.split("\n"), strict=True), 1) if a != b
    )
    assert abs(int(line) - changed) <= 20


def test_a_mistake_is_reported_on_its_own_line() -> None:
    line = TEXT.split("\n").index("size = 5") + 1
    with pytest.raises(LockError, match=f"^flake-like.lock:{line}: "):
        lock.parse(TEXT.replace("size = 5", "size = 0", 1).encode())


def test_an_empty_lock_is_valid_only_with_its_format() -> None:
    assert lock.parse(b"format = 1\n") == EMPTY
    with pytest.raises(LockError, match='"format" is missing'):
        lock.parse(b"")


def test_a_diff_says_in_words_what_changed() -> None:
    new = lock.set_pin(example(), with_version("2"), default=True)
    new = lock.set_pin(new, msgspec.structs.replace(PIN, sha256="c" * 64, mirrors=PIN.mirrors[::-1]))
    new = lock.set_expected(new, "aarch64-linux-musl", "zlib-1.3.1", "b" * 52)
    without = {name: versions for name, versions in new.sources.items() if name != "make"}
    lines = lock.diff(example(), msgspec.structs.replace(new, sources=without))
    assert lines == [
        f"make 1.3.1: removed (zlib.tar.xz, 5 bytes, sha256 {PIN.sha256})",
        f"zlib 1.3.1: sha256 is now {'c' * 64}; it was {PIN.sha256}",
        "zlib 1.3.1: mirrors are tried in another order: debian:pool/x, https://x.test/y",
        f"zlib 2: added (zlib.tar.xz, 5 bytes, sha256 {PIN.sha256})",
        "zlib: the default is now 2; it was 1.3.1",
        f"zlib-1.3.1 for aarch64-linux-musl: the expected output is now {'b' * 52}; it was {CONTENT}",
    ]
    assert lock.diff(new, new) == []


def test_versions_sort_as_people_do() -> None:
    ordered = ["1.0.2", "1.0.2a", "1.9", "1.10", "3.13.0a1", "3.13.0rc1", "3.13.0", "3.13.5", "3.13.15"]
    assert sorted(set(ordered), key=lock.version_key) == ordered


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,12}", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
MIRRORS = st.lists(
    st.from_regex(r"[a-z]{1,6}:[!-~]{1,30}", fullmatch=True), min_size=1, max_size=3, unique=True
)
PINS = st.builds(
    Pin,
    name=NAMES,
    version=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9+._~-]{0,9}", fullmatch=True),
    file=st.from_regex(r"[A-Za-z0-9][ -.0-~é]{0,20}", fullmatch=True),
    sha256=HEX,
    blake3=HEX,
    size=st.integers(1, 1 << 39),
    mirrors=MIRRORS.map(tuple),
)


@examples(20)
@given(st.lists(PINS, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_every_lock_survives_a_round_trip(pins: list[Pin], defaults: list[bool]) -> None:
    made = EMPTY
    for pin, default in zip(pins, defaults, strict=False):
        made = lock.set_pin(made, pin, default=default)
    text = lock.format(made)
    assert lock.parse(text.encode()) == made
    assert lock.format(lock.parse(text.encode())) == text


@examples(40)
@given(st.data())
def test_a_mutated_lock_is_read_or_refused_cleanly(data: st.DataObject) -> None:
    raw = bytearray(TEXT.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        cut = data.draw(st.integers(0, 5))
        raw[at : at + cut] = data.draw(st.binary(max_size=5))
    try:
        lock.parse(bytes(raw))
    except LockError as problem:
        assert problem.message.startswith("flake-like.lock")
