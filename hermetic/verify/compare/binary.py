"""Content without a format: lines if it is text; otherwise strings, and where the first difference is."""

from __future__ import annotations

import re
from typing import Final

from hermetic.verify.compare import recognise
from hermetic.verify.compare.lines import compare_lines
from hermetic.verify.compare.model import CHUNK, MAX_UNPACKED, Data, Difference, Scope, common_prefix

_SAMPLE: Final = 64 << 10  # bytes that tell whether it is text
_CONTROL: Final = re.compile(rb"[\0-\x06\x0e-\x1a\x1c-\x1f]")
_STRING: Final = re.compile(rb"[\t\x20-\x7e]{4,}")
_STRINGS: Final = 16 << 20  # bytes searched for strings at most


def is_text(data: Data) -> bool:
    """Whether it begins like UTF-8 text."""
    sample = data[:_SAMPLE].tobytes()
    if _CONTROL.search(sample):
        return False
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(sample) == _SAMPLE and error.start > len(sample) - 4
    return True


def compare_unknown(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Differences of two contents that are not the same; at least one."""
    if max(len(left), len(right)) <= MAX_UNPACKED // 2 and is_text(left) and is_text(right):
        return compare_lines(scope, left.tobytes().split(b"\n"), right.tobytes().split(b"\n"))
    found = _compare_strings(scope, left, right)
    first = _first_difference(left, right)
    dumps = hexdump(left, first), hexdump(right, first)
    what = recognise.in_integers(left, right, first, scope.facts)
    if what and not found:
        found = [scope.found(what[0], f"offset {first:#x}", what[1], *dumps)]
    sizes = f"{len(left):,} bytes" + (f" against {len(right):,}" if len(left) != len(right) else "")
    kind = "content" if len(left) == len(right) else "size"
    return [*found, scope.found(kind, "", f"{sizes}, first difference at offset {first:#x}", *dumps)]


def _compare_strings(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """What is recognised in the strings of both, or their order. The rest is in the bytes."""
    if max(len(left), len(right)) > _STRINGS:
        return []
    one, other = (_STRING.findall(data) for data in (left, right))
    found = compare_lines(scope, one, other, "string")
    once = {d.words: d for d in reversed(found) if d.kind == "order" or d.kind.startswith("embedded-")}
    return list(once.values())[::-1]


def _first_difference(left: Data, right: Data) -> int:
    for base in range(0, min(len(left), len(right)), CHUNK):
        one, other = left[base : base + CHUNK].tobytes(), right[base : base + CHUNK].tobytes()
        if one != other:
            return base + common_prefix(one, other)
    return min(len(left), len(right))


def hexdump(data: Data, at: int) -> str:
    """Two rows of sixteen bytes from the one that holds the offset `at`, in hex and as text."""
    first = at - at % 16
    lines = []
    for base in range(first, min(first + 32, len(data)), 16):
        row = data[base : base + 16].tobytes()
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{base:08x}  {row.hex(' '):<47}  |{text}|")
    return "\n".join(lines) or f"{first:08x}  (ends here)"
