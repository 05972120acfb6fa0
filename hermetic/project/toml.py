"""The strict TOML reader for the lock file and the recipes.

Its errors name the line, show the value, and suggest a similar name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from hermetic.errors import HermeticError, did_you_mean

T = TypeVar("T")

# More than any real document needs. Longer input is refused before it is parsed.
MAX_TOML_BYTES: Final = 16 * 1024 * 1024
_LONGEST_SHOWN: Final = 80


def show_value(value: object) -> str:
    """A value in TOML notation, shortened to one line."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = ..." for key in value) + "}"
    elif isinstance(value, str):
        text = quote(value)
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def quote(text: str) -> str:
    """`text` as a TOML basic string, with escapes and quotes."""
    out = ['"']
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char in _SHORT_ESCAPES:
            out.append(_SHORT_ESCAPES[char])
        elif ord(char) < 0x20 or ord(char) == 0x7F:
            out.append(f"\\u{ord(char):04x}")
        else:
            out.append(char)
    out.append('"')
    return "".join(out)


_SHORT_ESCAPES: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


# Reading TOML strictly


def decode_toml(data: bytes, filename: str, type: type[T], error_class: type[HermeticError]) -> T:
    """Decode a TOML document into the msgspec struct `type`.

    The structs determine what is allowed. Declare them with `forbid_unknown_fields=True`.

    Args:
        filename: the name for messages.

    Raises:
        error_class: wrong syntax, encoding or type, or an unknown or missing field. The message begins with
            `filename:line:` and shows the value. The hint suggests a similar name.
    """
    text, document = parse_toml(data, filename, error_class)
    try:
        return msgspec.convert(document, type)
    except msgspec.ValidationError as problem:
        raise _explain(str(problem), document, text, filename, type, error_class) from None


def parse_toml(data: bytes, filename: str, error_class: type[HermeticError]) -> tuple[str, dict[str, Any]]:
    """The text of a TOML document and its parsed content, without type checks.

    Raises:
        error_class: the data is not UTF-8, not TOML, too large or nested too deeply.
    """
    import tomllib

    if len(data) > MAX_TOML_BYTES:
        raise error_class(
            f"{filename}: the file has {len(data)} bytes, but at most {MAX_TOML_BYTES} are allowed"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise error_class(f"{filename}:{line}: not UTF-8: byte 0x{data[problem.start]:02x}") from None
    try:
        # A lone carriage return is an error in TOML; tomllib converts only CRLF to LF.
        return text, tomllib.loads(text)
    except RecursionError:
        raise error_class(f"{filename}: values are nested too deeply") from None
    except ValueError as problem:
        raise _explain_syntax(str(problem), text, filename, error_class) from None


def _explain_syntax(
    problem: str, text: str, filename: str, error_class: type[HermeticError]
) -> HermeticError:
    position = re.search(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)$", problem)
    if position is None:
        if limit := re.search(r"limit \((\d+) digits\)", problem):
            return _too_many_digits(int(limit[1]), text, filename, error_class)
        return error_class(f"{filename}: not valid TOML: {problem}")
    fact = problem[: position.start()]
    fact = fact[:1].lower() + fact[1:]
    lines = text.split("\n")
    line = int(position[1]) if position[1] else len(text.rstrip("\n").split("\n"))
    found = lines[line - 1].strip() if line <= len(lines) else ""
    return error_class(f"{filename}:{line}: not valid TOML: {fact}: {_shorten(found)}")


def _too_many_digits(most: int, text: str, filename: str, error_class: type[HermeticError]) -> HermeticError:
    """The error for a number that Python refuses to convert, with its line, which Python does not report."""
    for number, line in enumerate(text.split("\n"), 1):
        if re.search(rf"\d[\d_]{{{most},}}", line):
            return error_class(f"{filename}:{number}: a number of more than {most} digits: {_shorten(line)}")
    return error_class(f"{filename}: a number of more than {most} digits")


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`(?: - at `(.*)`)?$", re.S)
_MISSING: Final = re.compile(r"Object missing required field `(.*?)`(?: - at `(.*)`)?$", re.S)
_OTHER: Final = re.compile(r"(.*?)(?: - at `(key` in `)?(.*)`)?$", re.S)


def _explain(
    problem: str,
    document: dict[str, Any],
    text: str,
    filename: str,
    type: type[Any],
    error_class: type[HermeticError],
) -> HermeticError:
    """Turn an error of msgspec into one with line, value and a similar name."""
    if match := _UNKNOWN.match(problem):
        path = _real_path(match[2], document, type, problem)
        name = match[1]
        known = _fields_at(path, type)
        line = _line_of(text, [*path, name])
        return error_class(
            f'{filename}{line}: unknown field "{name}"{_in_table(path)}', hint=did_you_mean(name, known)
        )
    if match := _MISSING.match(problem):
        path = _real_path(match[2], document, type, problem)
        line = _line_of(text, path)
        return error_class(f'{filename}{line}: the field "{match[1]}" is missing{_in_table(path)}')
    match = _OTHER.match(problem)
    assert match is not None
    path = _real_path(match[3], document, type, problem)
    value = _value_at(path, document)
    line = _line_of(text, path, value)
    fact = _in_words(match[1])
    if match[2]:
        return error_class(f"{filename}{line}: a name{_in_table(path)}: {fact}")
    where = _dotted(path) or "the document"
    shown = f"{filename}{line}: {where} = {show_value(value)}: {fact}"
    return error_class(shown, hint=_choices(path, value, type))


# msgspec's names of types, and their names in TOML
_TYPES: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
    "null": "nothing",
}


def _in_words(problem: str) -> str:
    """`Expected `str | null`, got `int`` → `expected a string, got an integer`."""

    def named(match: re.Match[str]) -> str:
        words = [_TYPES.get(word, word) for word in match[1].split(" | ") if word != "null"]
        return " or ".join(words) or "nothing"

    return problem[:1].lower() + re.sub(r"`([^`]*)`", named, problem)[1:]


_Step = str | int


def _line_of(text: str, path: Sequence[_Step], value: object = None) -> str:
    """`:LINE`, or an empty string if the line is unknown."""
    names = [step for step in path if isinstance(step, str)]
    line = toml_line(text, names[:-1], names[-1]) if names else 1
    if line is None:
        line = toml_line(text, names[:-1], None)
    if line is not None and path and isinstance(path[-1], int):
        line = _line_of_element(text, line, value)
    return "" if line is None else f":{line}"


def _line_of_element(text: str, first: int, value: object) -> int:
    """The line of a value in a list that begins on line `first` and may span several lines."""
    pattern = re.compile(r"(?<![\w.])" + re.escape(show_value(value)) + r"(?![\w.])")
    for number, content in enumerate(text.split("\n")[first - 1 : first + 500], first):
        if pattern.search(content):
            return number
    return first


def _in_table(path: Sequence[_Step]) -> str:
    return f" in [{_dotted(path)}]" if path else ""


def _dotted(path: Sequence[_Step]) -> str:
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            out += ("." if out else "") + key_text(step)
    return out


def key_text(key: str) -> str:
    """A TOML key: bare if that is allowed, otherwise quoted."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quote(key)


def _real_path(shown: str | None, document: Any, type: type[Any], problem: str) -> list[_Step]:
    """Turn msgspec's path into real keys.

    msgspec writes `[...]` for the key of a mapping. The key is found by trial: a document with only that
    entry must give the same error.
    """
    path: list[_Step] = []
    value = document
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\.\.\.|\d+)\]", shown or ""):
        if index == "...":
            guilty = _guilty_key(document, path, type, problem)
            if guilty is None:
                break
            path.append(guilty)
        else:
            path.append(name or int(index))
        value = _value_at(path, document)
        if value is None:
            break
    return path


def _guilty_key(document: Any, path: Sequence[_Step], type: type[Any], problem: str) -> str | None:
    mapping = _value_at(path, document)
    if not isinstance(mapping, dict):
        return None
    for key, value in mapping.items():
        alone = _with_value(document, path, {key: value})
        try:
            msgspec.convert(alone, type)
        except msgspec.ValidationError as again:
            if str(again) == problem:
                return str(key)
    return None


def _with_value(document: Any, path: Sequence[_Step], value: Any) -> Any:
    """A copy of `document` with `value` at `path`."""
    if not path:
        return value
    step = path[0]
    if isinstance(document, dict):
        return {**document, step: _with_value(document[step], path[1:], value)}
    copy = list(document)
    copy[int(step)] = _with_value(copy[int(step)], path[1:], value)
    return copy


def _value_at(path: Sequence[_Step], document: Any) -> Any:
    value = document
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _type_at(path: Sequence[_Step], type: type[Any]) -> Any:
    """msgspec's description of the type at `path`, or None."""
    from msgspec import inspect

    info: Any = inspect.type_info(type)
    for step in path:
        if isinstance(info, inspect.UnionType):
            inside = (inspect.StructType, inspect.DictType, inspect.CollectionType)
            info = next((t for t in info.types if isinstance(t, inside)), None)
        if isinstance(info, inspect.StructType):
            info = next((f.type for f in info.fields if f.encode_name == step), None)
        elif isinstance(info, inspect.DictType):
            info = info.value_type
        else:
            info = getattr(info, "item_type", None)
    return info


def _fields_at(path: Sequence[_Step], type: type[Any]) -> list[str]:
    from msgspec import inspect

    info = _type_at(path, type)
    if isinstance(info, inspect.StructType):
        return [field.encode_name for field in info.fields]
    return []


def _choices(path: Sequence[_Step], value: object, type: type[Any]) -> str | None:
    """If only certain words are allowed, a hint with a similar one."""
    from msgspec import inspect

    info = _type_at(path, type)
    if not isinstance(info, (inspect.LiteralType, inspect.EnumType)):
        return None
    words = info.values if isinstance(info, inspect.LiteralType) else [e.value for e in info.cls]
    return did_you_mean(str(value), [str(word) for word in words])


# Finding a line


def toml_line(text: str, table_path: Sequence[str], key: str | None) -> int | None:
    """The line, counted from 1, that sets `key` of the table at `table_path`.

    Without `key`: the line on which that table begins. For a key in an inline table or a dotted key: the line
    of that statement. None if there is no such key, or if the text is not TOML.
    """
    wanted = [*table_path, key] if key is not None else list(table_path)
    around: tuple[int, int] | None = None
    within: int | None = None
    for path, line, is_header in _statements(text):
        if path == wanted:
            return line
        if not is_header and path == wanted[: len(path)]:
            around = max(around or (0, 0), (len(path), line))  # an inline table that contains the key
        elif path[: len(wanted)] == wanted:
            within = within or line  # the table has no header of its own
    return within or (around[1] if around else None)


def _statements(text: str) -> Iterator[tuple[list[str], int, bool]]:
    """Each table header and each assignment of a TOML text.

    Yields:
        Its full path, its first line, and whether it is a header.
    """
    import tomllib

    table: list[str] = []
    lines = text.replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith("["):
            found = _key_path(stripped, tomllib.loads)
            if found is None:
                return
            table = found
            yield table, number, True
            continue
        start, statement = number, line
        while (found := _key_path(statement, tomllib.loads)) is None:
            if number >= len(lines) or number - start > 2000:
                return
            statement += "\n" + lines[number]
            number += 1
        yield table + found, start, False


def _key_path(statement: str, loads: Any) -> list[str] | None:
    """The key path that a TOML statement sets, or None if it is not a complete statement."""
    try:
        value: Any = loads(statement)
    except (ValueError, RecursionError):
        return None
    depth = _dots(statement)
    path: list[str] = []
    while len(path) < depth:
        if isinstance(value, list):
            value = value[0]
        name = next(iter(value))
        path.append(name)
        value = value[name]
    return path


_KEY: Final = re.compile(r"""\s*\[{0,2}\s*((?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*)?)""")
_NEXT: Final = re.compile(r"""((?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*)?)""")


def _dots(statement: str) -> int:
    """The number of keys, joined by dots, at the start of a valid statement."""
    match = _KEY.match(statement)
    count = 0
    while match is not None:
        count += 1
        if not match[1].rstrip().endswith("."):
            break
        match = _NEXT.match(statement, match.end())
    return count
