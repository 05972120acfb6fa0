"""Errors that name the line, the value and what was probably meant."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import LockError, RecipeError, did_you_mean, nearest
from hermetic.project.toml import decode_toml, quote, toml_line


class Part(msgspec.Struct, forbid_unknown_fields=True):
    env: dict[str, str] = {}


class Document(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    name: str
    build_inputs: list[str] = []
    toolchain: Literal["clang", "none"] = "clang"
    target: dict[str, Part] = {}
    env: dict[str, str] = {}


def complaint(text: str | bytes) -> tuple[str, str | None]:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(RecipeError) as caught:
        decode_toml(data, "r.toml", Document, RecipeError)
    return caught.value.message, caught.value.hint


def test_a_valid_document_is_decoded() -> None:
    assert decode_toml(b'name = "x"', "r.toml", Document, RecipeError).name == "x"


def test_an_unknown_field_names_line_and_nearest_field() -> None:
    message, hint = complaint('name = "x"\n\n# note\nbuild-input = []\n')
    assert message == 'r.toml:4: unknown field "build-input"'
    assert hint == 'did you mean "build-inputs"?'


def test_an_underscore_for_a_dash_is_understood() -> None:
    assert complaint('name = "x"\nbuild_inputs = []')[1] == 'did you mean "build-inputs"?'


def test_an_unknown_field_of_a_table_names_the_table() -> None:
    message, hint = complaint('name = "x"\n[target.aarch64]\nenvv = 1')
    assert message == 'r.toml:3: unknown field "envv" in [target.aarch64]'
    assert hint == 'did you mean "env"?'


def test_a_wrong_type_shows_line_and_value() -> None:
    assert complaint("name = 3")[0] == "r.toml:1: name = 3: expected a string, got an integer"


def test_a_wrong_type_in_a_mapping_names_the_key() -> None:
    message, _ = complaint('name = "x"\n[env]\nA = "1"\nB = true\nC = "3"')
    assert message == "r.toml:4: env.B = true: expected a string, got true or false"


def test_a_wrong_element_of_a_list_names_its_own_line() -> None:
    message, _ = complaint('name = "x"\nbuild-inputs = [\n  "a",\n  7,\n]')
    assert message == "r.toml:4: build-inputs[1] = 7: expected a string, got an integer"


def test_a_wrong_word_suggests_the_right_one() -> None:
    message, hint = complaint('name = "x"\ntoolchain = "clagn"')
    assert message.startswith('r.toml:2: toolchain = "clagn"')
    assert hint == 'did you mean "clang"?'


def test_a_missing_field_is_named() -> None:
    assert complaint("")[0] == 'r.toml:1: the field "name" is missing'


def test_a_syntax_error_shows_the_line() -> None:
    message, _ = complaint('name = "x"\nenv = {')
    assert message.startswith("r.toml:2: not valid TOML:")
    assert "env = {" in message


def test_a_key_twice_is_an_error() -> None:
    assert complaint('name = "x"\nname = "y"')[0].startswith("r.toml:2: not valid TOML")


def test_bytes_that_are_not_utf8_name_line_and_byte() -> None:
    assert complaint(b'name = "x"\n# \xff')[0] == "r.toml:2: not UTF-8: byte 0xff"


def test_absurd_nesting_is_an_error_and_no_crash() -> None:
    assert "nested too deeply" in complaint("a = " + "[" * 20_000)[0]


@pytest.mark.parametrize(
    ("table", "key", "line"),
    [
        (["a", "b c"], "x", 3),
        (["a", "b c"], None, 2),
        (["a"], "y", 5),
        (["a"], None, 4),
        (["a", "inline"], "k", 6),
        (["a", "dotted", "deep"], "k", 7),
        (["a", "dotted"], None, 7),
        ([], "top", 1),
        (["many"], "last", 13),
        (["none"], "x", None),
        (["a"], "none", None),
    ],
)
def test_a_key_is_found_on_its_line(table: list[str], key: str | None, line: int | None) -> None:
    text = (
        'top = "# [a]"\n'
        '[a."b c"]\nx = 1\n'
        "[a]\ny = 2\ninline = { k = 1 }\ndotted.deep.k = 1\n"
        '\n[many]\nlist = [\n  "[a]", # y = 2\n]\nlast = 1\n'
    )
    assert toml_line(text, table, key) == line


@given(st.text(max_size=200))
def test_finding_a_line_never_fails(text: str) -> None:
    toml_line(text, ["a"], "b")


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_a_clean_error(data: bytes) -> None:
    try:
        decode_toml(data, "x.toml", Document, LockError)
    except LockError as problem:
        assert problem.message.startswith("x.toml")


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=50))
def test_quoted_text_reads_back_as_itself(text: str) -> None:
    import tomllib

    assert tomllib.loads(f"x = {quote(text)}") == {"x": text}


def test_nearest_is_none_when_nothing_is_near() -> None:
    assert nearest("zlib", ["openssl", "perl"]) is None
    assert nearest("zlb", ["openssl", "zlib"]) == "zlib"


def test_a_small_choice_is_listed_when_nothing_is_near() -> None:
    assert did_you_mean("q", ["b", "a"]) == "known here: a, b"
