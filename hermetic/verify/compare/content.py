"""Tells a content's format and hands it to the module that knows it; bytes and text are the last resort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from hermetic.verify.compare import archive, binary, bitcode, compressed, elf, pyc, text
from hermetic.verify.compare.model import Data, Difference, Malformed, Scope, most_telling_first

_DEPTH: Final = 4  # archives in archives


class _Format(NamedTuple):
    name: str
    magic: tuple[bytes, ...]
    compare: Callable[[Scope, Data, Data], list[Difference]]
    at: int = 0  # offset of the magic


_FORMATS: Final = (
    _Format("an ELF file", (b"\x7fELF",), elf.compare_elf),
    _Format("an ar archive", (b"!<arch>\n", b"!<thin>\n"), archive.compare_ar),
    _Format("LLVM bitcode", (b"BC\xc0\xde", b"\xde\xc0\x17\x0b"), bitcode.compare_bitcode),
    _Format("a gzip file", (b"\x1f\x8b\x08",), compressed.compare_gzip),
    _Format("an xz file", (b"\xfd7zXZ\0",), compressed.compare_xz),
    _Format("a bzip2 file", (b"BZh",), compressed.compare_bzip2),
    _Format("a zip archive", (b"PK\x03\x04", b"PK\x05\x06"), archive.compare_zip),
    _Format("a tar archive", (b"ustar",), archive.compare_tar, 257),
)
_PYC: Final = _Format("a .pyc file", (), pyc.compare_pyc)


def compare_content(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Differences of two contents, the telling ones first; at least one if a byte differs. Never raises."""
    if binary.same(left, right):
        return []
    one, other = _format(scope.name, left), _format(scope.name, right)
    found: list[Difference] = []
    if one is not other:
        words = f"{_named(one, left)} against {_named(other, right)}"
        return [scope.found("type", "", words, binary.hexdump(left, 0), binary.hexdump(right, 0))]
    if one is not None and len(scope.trail) < _DEPTH:
        found.extend(_in_format(scope, one, left, right))
        if any(difference.kind != "unreadable" for difference in found):
            return most_telling_first(found)
    if text.is_text(left) and text.is_text(right):
        found.extend(text.compare_text(scope, left, right))
    else:
        found.extend(binary.compare_binary(scope, left, right))
    return most_telling_first(found)


def _in_format(scope: Scope, which: _Format, left: Data, right: Data) -> list[Difference]:
    """What the format's own module finds, or that it could not read it."""
    try:
        return which.compare(scope, left, right)
    except Malformed as error:
        reason = str(error)
    except RecursionError:
        reason = "nested too deeply"
    return [
        scope.found(
            "unreadable",
            "",
            f"looks like {which.name} but cannot be read as one ({reason}); compared as bytes",
        )
    ]


def _format(name: str, data: Data) -> _Format | None:
    for known in _FORMATS:
        if any(data[known.at : known.at + len(magic)] == magic for magic in known.magic):
            return known
    return _PYC if pyc.is_pyc(name, data) else None


def _named(known: _Format | None, data: Data) -> str:
    if known is not None:
        return known.name
    return "an empty file" if not len(data) else "text" if text.is_text(data) else "other bytes"
