"""Damages bytes, texts, documents and files, as chance (a seeded one) has it."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

LONG: Final = 100_000  # characters

# Texts that have broken programs before.
ODD_TEXTS: Final = (
    *("", " ", "\0", "a\0b", "\n", "a\nb = 1", "\r", "\t", "\x1b[31m", "\x7f", "\ufeff", "\u202e", "\u2028"),
    *(
        "é",
        "e\u0301",
        "İ",
        "ß",
        "😀",
        "\U0010ffff",
        "\ud800",
        "%s%n",
        "{0}",
        "${HOME}",
        "$(id)",
        "`id`",
        "'",
        '"',
    ),
    *(
        "..",
        ".",
        "/",
        "//",
        "../../canary/secret",
        "a/../../b",
        "/dev/null",
        "/proc/self/mem",
        "~",
        "-",
        "--",
    ),
    *("CON", "App", "APP", "nan", "null", "true", "0", "-1", "1e999", "0x10", "1_0", "@", "@HEAD", "a@b@c"),
    *("a" * 256, "a" * 5000, "a/" * 2000, "é" * 200, "9" * 5000, "[" * 3000, "x" * LONG),
)
ODD_NUMBERS: Final = (
    *(0, -1, 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**30, 10**5000),
    *(0.5, -0.0, 1e308, float("inf"), float("nan")),
)


def nested(depth: int, around: Any = 1) -> Any:
    """Lists in lists. (What is deeper than Python itself goes, is put in as text.)"""
    for _ in range(depth):
        around = [around]
    return around


def odd_value(chance: Random) -> Any:
    """A value of any type."""
    makers: tuple[Callable[[], Any], ...] = (
        lambda: chance.choice(ODD_TEXTS),
        lambda: chance.choice(ODD_NUMBERS),
        lambda: chance.choice((None, True, False, [], {}, [[]], {"": ""}, [None], {"a": {"b": {}}})),
        lambda: [chance.choice(ODD_TEXTS) for _ in range(chance.choice((1, 2, 2000)))],
        lambda: nested(chance.choice((2, 150))),
    )
    return chance.choice(makers)()


def bytes_(chance: Random, data: bytes) -> bytes:
    """Some bytes flipped, cut, doubled, swapped or put in."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_BYTES)(chance, data)
    return data


def _flip(chance: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 16)) if data else 0):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(chance: Random, data: bytes) -> bytes:
    at, size = chance.randint(0, len(data)), chance.choice((1, 2, 4, 8, 64))
    filling = chance.choice((b"\0" * size, b"\xff" * size, chance.randbytes(size)))
    return data[:at] + filling + data[at + size :]


def _cut(chance: Random, data: bytes) -> bytes:
    return data[: chance.choice((0, 1, chance.randint(0, len(data)), max(0, len(data) - 1)))]


def _slice(chance: Random, data: bytes) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((1, 3, 16, 512, 5000)))


def _delete(chance: Random, data: bytes) -> bytes:
    start, end = _slice(chance, data)
    return data[:start] + data[end:]


def _double(chance: Random, data: bytes) -> bytes:
    start, end = _slice(chance, data)
    return data[:end] + data[start:end] * chance.choice((1, 1, 100)) + data[end:]


def _swap(chance: Random, data: bytes) -> bytes:
    (a, b), (c, d) = sorted((_slice(chance, data), _slice(chance, data)))
    return data if c < b else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _insert(chance: Random, data: bytes) -> bytes:
    at = chance.randint(0, len(data))
    odd = chance.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")
    return data[:at] + chance.choice((odd, b"\xff\xfe", b"\xc3\x28", b"\0" * 600)) + data[at:]


_BYTES: Final = (_flip, _flip, _overwrite, _cut, _delete, _double, _swap, _insert)


def text(chance: Random, data: bytes) -> bytes:
    """Lines doubled, dropped, swapped; words replaced by odd ones; now and then as `bytes_`."""
    if chance.random() < 0.3:
        return bytes_(chance, data)
    lines = data.split(b"\n")
    for _ in range(chance.choice((1, 1, 2, 5))):
        if lines:
            chance.choice(_LINES)(chance, lines)
    return chance.choice((b"\n",) * 8 + (b"\r\n", b"\r")).join(lines)


def _double_line(chance: Random, lines: list[bytes]) -> None:
    at = chance.randrange(len(lines))
    lines[at:at] = [lines[at]] * chance.choice((1, 1, 1, 3000))


def _drop_line(chance: Random, lines: list[bytes]) -> None:
    del lines[chance.randrange(len(lines))]


def _swap_lines(chance: Random, lines: list[bytes]) -> None:
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _odd_word(chance: Random, lines: list[bytes]) -> None:
    at = chance.randrange(len(lines))
    words = lines[at].split(b" ")
    words[chance.randrange(len(words))] = chance.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")
    lines[at] = b" ".join(words)


def _odd_line(chance: Random, lines: list[bytes]) -> None:
    odd = chance.choice(ODD_TEXTS)
    made = chance.choice(
        (f'"{odd}" = "{odd}"', f"[{odd}]", f"[[{odd}]]", f"a = {'[' * 2000}", f"{odd}", "{" * 3000)
    )
    lines.insert(chance.randint(0, len(lines)), made.encode("utf-8", "surrogatepass"))


def _retype(chance: Random, lines: list[bytes]) -> None:
    at = chance.randrange(len(lines))
    key, equals, _ = lines[at].partition(b" = ")
    if equals:
        lines[at] = key + equals + toml_value(odd_value(chance)).encode("utf-8", "surrogatepass")


_LINES: Final = (_double_line, _drop_line, _swap_lines, _odd_word, _odd_line, _retype, _retype)


def document(chance: Random, value: Any) -> Any:
    """A copy of tables and lists with entries dropped, renamed, exchanged or of another type."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.choice(list(_containers(value)) or [None])
        if place:
            _edit(chance, place)
    return value


def _containers(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        yield value
        for child in value.values() if isinstance(value, dict) else value:
            yield from _containers(child)


def _edit(chance: Random, place: Any) -> None:
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    key, other = chance.choice(keys), chance.choice(keys)
    match chance.randrange(6):
        case 0:
            del place[key]
        case 1 | 2:
            place[key] = odd_value(chance)
        case 3:
            place[key], place[other] = place[other], place[key]
        case 4 if isinstance(place, dict):
            name = chance.choice((*ODD_TEXTS, str(key)[:-1], f"{key}s", str(key).upper()))
            place[name] = place.pop(key)
        case _ if isinstance(place, list):
            place.insert(chance.randint(0, len(place)), copy.deepcopy(place[key]))
        case _:
            place[chance.choice(ODD_TEXTS)] = odd_value(chance)


def toml_value(value: Any) -> str:
    """A value as TOML, or as near to it as it can be."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) > 10**4000:
            return "9" * 5000  # longer than Python converts
        case float() | int():
            return str(value)
        case str():
            return json.dumps(value)
        case list():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
        case _:
            return "null"


def toml(value: Any) -> bytes:
    """A document as TOML, its tables as sections."""
    lines: list[str] = []

    def put(table: dict[str, Any], path: tuple[str, ...]) -> None:
        if path:
            lines.append(f"[{'.'.join(map(json.dumps, path))}]")
        lines.extend(
            f"{json.dumps(k)} = {toml_value(v)}" for k, v in table.items() if not isinstance(v, dict)
        )
        for key, inner in table.items():
            if isinstance(inner, dict):
                put(inner, (*path, key))

    put(value if isinstance(value, dict) else {"": value}, ())
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def node(chance: Random, path: Path, canary: Path) -> str:
    """Put something that is no ordinary file in the place of one; says what."""
    kept = path.read_bytes() if path.is_file() else b""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(path.name + ".moved"))
    else:
        path.unlink(missing_ok=True)
    what = chance.choice(
        (
            *("nothing", "empty", "folder", "fifo", "socket", "loop", "dangling", "canary", "folder outside"),
            *("endless", "unreadable", "other case", "device", "huge"),
        )
    )
    match what:
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
            (path / "within").write_bytes(kept)
        case "fifo":
            os.mkfifo(path)
        case "socket":
            _socket(path)
        case "loop":
            path.symlink_to(path.name)
        case "dangling":
            path.symlink_to("nowhere/at/all")
        case "canary":
            path.symlink_to(canary / "secret")
        case "folder outside":
            path.symlink_to(canary)
        case "endless":
            path.symlink_to("/dev/zero")
        case "device":
            path.symlink_to("/dev/tty")
        case "unreadable":
            path.write_bytes(kept)
            path.chmod(0)
        case "other case":
            path.with_name(path.name.swapcase()).write_bytes(kept)
        case "huge":
            path.write_bytes(kept)
            os.truncate(path, 3 << 30)  # sparse
    return what


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    try:  # the name of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}"[:107])
    except OSError:
        path.mkdir()
    finally:
        os.close(here)
