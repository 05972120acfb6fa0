"""What a list of realisations promises."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic import hashing
from hermetic.errors import HermeticError
from hermetic.store import published, records
from hermetic.store.published import PublishedError, agreement, parse
from hermetic.store.records import Published, Realisation
from tests.support.examples import examples


def digest(text: str) -> str:
    return hashing.digest(hashing.TREE, text.encode())


def entry(name: str = "zlib", output: str = "1", **fields: Any) -> Published:
    given = {
        "name": name,
        "version": "1.3.1",
        "system": "aarch64-linux-musl",
        "drv_id": digest(f"drv {name}"),
        "object": f"{digest(f'object {name} {output}')}-{name}-1.3.1",
    }
    return Published(**{**given, **fields})


def line(**changes: Any) -> bytes:
    record: dict[str, Any] = json.loads(published.format([entry()]))
    record.update(changes)
    return json.dumps({k: v for k, v in record.items() if v != "DROP"}).encode() + b"\n"


GOOD = published.format([entry("zlib"), entry("xz"), entry("source", system="")])


def test_what_is_written_is_read_back() -> None:
    entries = [entry("zlib"), entry("xz"), entry("source", system="")]
    assert sorted(parse(published.format(entries), "l"), key=str) == sorted(entries, key=str)


def test_equal_sets_of_entries_give_equal_bytes() -> None:
    entries = [entry("zlib"), entry("xz")]
    assert published.format(entries) == published.format([*entries[::-1], entries[0]])


def test_one_line_is_one_json_object_with_sorted_keys() -> None:
    (only,) = published.format([entry()]).splitlines()
    assert list(json.loads(only)) == ["drv_id", "name", "object", "system", "version"]


def test_empty_lines_are_allowed_and_counted() -> None:
    assert len(parse(b"\n" + line() + b"\r\n\n", "l")) == 1
    with pytest.raises(PublishedError, match=r"^l:3: "):
        parse(b"\n\nx\n", "l")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "l:1: not valid JSON"),
        (b"[]", "l:1: not a JSON object"),
        (b'"x"', "l:1: not a JSON object"),
        (b"\xff\n", "l:1: not UTF-8: byte 0xff"),
        (b"[" * 100_000, "l:1: not valid JSON"),
        (line() + b"1" * 10_000, "l:2: not valid JSON"),
        (line(drv_id="DROP"), 'l:1: the field "drv_id" is missing'),
        (line(drv_id="abc"), 'l:1: the field "drv_id" is not a hash (52 characters of base32): "abc"'),
        (line(drv_id=digest("x") + "\n"), 'the field "drv_id" is not a hash'),
        (line(object=digest("x")), 'the field "object" is not the name of a store object'),
        (line(object="A" * 52 + "-zlib-1.3.1"), 'the field "object" is not the name of a store object'),
        (line(object="a" * 51 + "b-zlib-1.3.1"), 'the field "object" is not the name of a store object'),
        (line(object=digest("x") + "-zlib-1.3.1\n"), 'the field "object" is not the name of a store object'),
        (line(object=digest("x") + "-xz-1"), 'the fields contradict each other: "'),
        (line(name="xz"), "is not an object of xz-1.3.1"),
        (line(name="../x"), 'the field "name" is not a name: "../x"'),
        (line(name=7), 'the field "name" is not a name: 7'),
        (line(name=["x"]), 'the field "name" is not a name'),
        (line(version=None), 'the field "version" is not a version: null'),
        (line(version="1 2"), 'the field "version" is not a version'),
        (line(system="linux"), 'the field "system" is not a system'),
        (line(system=None), 'the field "system" is not a system (such as aarch64-linux-musl): null'),
        (
            line(system="\x1b[31m"),
            r'the field "system" is not a system (such as aarch64-linux-musl): "\u001b[31m"',
        ),
        (line(sytem="x"), 'l:1: unknown field "sytem"'),
        (line()[:-2] + b', "name": "xz"}\n', 'l:1: the field "name" stands there twice'),
        (line() + line(), "l:2: zlib-1.3.1 is already on line 1"),
        (
            line() + line(object=f"{digest('other')}-zlib-1.3.1"),
            f"l:2: derivation {digest('drv zlib')} gave {digest('other')}-zlib-1.3.1, and",
        ),
    ],
)
def test_what_is_wrong_is_said_with_line_and_value(data: bytes, message: str) -> None:
    with pytest.raises(PublishedError) as caught:
        parse(data, "l")
    assert message in caught.value.message
    assert caught.value.message.startswith("l:")
    assert caught.value.message.isprintable()


def test_a_misspelt_field_gets_a_suggestion() -> None:
    with pytest.raises(PublishedError) as caught:
        parse(line(sytem="x"), "l")
    assert caught.value.hint == 'did you mean "system"?'


def made(published: Published, **others: Any) -> Realisation:
    """A store's record of what is published."""
    fields = {"build_key": digest("key"), "seconds": 1.0, "built_at": 7, "inputs": ("x",)}
    return Realisation(**{**msgspec.structs.asdict(published), **fields, **others})


def test_records_of_two_stores_give_equal_lists_where_their_results_are_equal() -> None:
    one, other = made(entry()), made(entry(), seconds=2.0, built_at=8, inputs=("y",), build_key=digest("z"))
    assert published.format([one]) == published.format([other]) == published.format([entry()])
    assert published.format([one, other]) == published.format([entry()])


def test_a_record_with_the_fields_of_a_list_is_a_line_of_one() -> None:
    record = json.loads(records.encode(made(entry())))
    kept = {key: record[key] for key in ("drv_id", "name", "object", "system", "version")}
    assert parse(json.dumps(kept).encode(), "l") == [entry()]


def test_nothing_is_written_that_would_not_be_read() -> None:
    with pytest.raises(PublishedError):
        published.format([entry(), entry(output="2")])
    with pytest.raises(PublishedError):
        published.format([entry(name="a b")])


@examples(100)
@given(st.data())
def test_damaged_lists_give_errors_never_tracebacks(data: st.DataObject) -> None:
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged)))
        removed = data.draw(st.integers(0, 8))
        damaged[at : at + removed] = data.draw(
            st.binary(max_size=8) | st.sampled_from((b'"', b"{", b"\\u", b"\n"))
        )
    try:
        entries = parse(bytes(damaged), "l")
    except HermeticError as error:
        assert error.message.startswith("l")
        assert error.message.isprintable()
    else:
        assert set(parse(published.format(entries), "l")) == set(entries)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_an_error(data: bytes) -> None:
    try:
        parse(data, "l")
    except PublishedError as error:
        assert error.message.isprintable()


def test_agreement_tells_apart_same_other_and_unknown() -> None:
    mine = [entry("a"), entry("b"), entry("c")]
    theirs = [entry("a"), entry("b", "2"), entry("d")]
    table = agreement(mine, theirs)
    assert [(r.name, r.verdict) for r in table.rows] == [
        ("a", "agree"),
        ("b", "disagree"),
        ("c", "unknown"),
        ("d", "unknown"),
    ]
    assert [table.count(v) for v in ("agree", "disagree", "unknown")] == [1, 1, 2]
    (differing,) = [r for r in table.rows if r.verdict == "disagree"]
    assert (differing.mine, differing.theirs) == ((entry("b").object,), (entry("b", "2").object,))


def test_agreement_goes_by_derivation_not_by_name() -> None:
    table = agreement([entry("a")], [entry("a", drv_id=digest("another"))])
    assert [r.verdict for r in table.rows] == ["unknown", "unknown"]


def test_who_got_two_objects_for_one_derivation_agrees_with_nobody() -> None:
    mine = [entry("a"), entry("a", "2")]
    assert agreement(mine, [entry("a")]).rows[0].verdict == "disagree"
    assert agreement(mine, mine).rows[0].verdict == "disagree"


def test_records_are_compared_with_lists() -> None:
    table = agreement([made(entry("a")), made(entry("b"))], [entry("a"), entry("b", "2")])
    assert [r.verdict for r in table.rows] == ["agree", "disagree"]
