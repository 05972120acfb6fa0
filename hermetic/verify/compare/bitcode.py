"""LLVM bitcode: texts that are packed in it at 7 or 8 bits a character and begin at any bit.

The module's source name and its metadata are where paths leak into objects for LTO. The stream is not
decoded; around the first difference it is read as text in all the ways in which text can lie there.
"""

from __future__ import annotations

import re
from typing import Final

from hermetic.verify.compare import recognise
from hermetic.verify.compare.binary import common_head, compare_binary, compare_strings
from hermetic.verify.compare.model import Data, Difference, Scope, excerpts

_BEFORE: Final = 160  # bytes around the first difference
_BEHIND: Final = 320
_WORDY: Final = re.compile(r"[\w./+@~:,= -]{6,}")


def compare_bitcode(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Differences of two modules: texts that are recognised, and the bytes."""
    found = compare_strings(scope, "LLVM bitcode", left, right)
    packed = _packed_text(scope, left, right)
    if packed is not None:
        found.append(packed)
    return found or compare_binary(scope, left, right)


def _packed_text(scope: Scope, left: Data, right: Data) -> Difference | None:
    """The text at the first differing bit, if it can be read and is known to leak."""
    head = common_head(left, right)
    base = max(0, head - _BEFORE) // 4 * 4
    one, other = (int.from_bytes(d[base : head + _BEHIND], "little") for d in (left, right))
    bit = ((one ^ other) & -(one ^ other)).bit_length() - 1
    for width in (7, 8):
        for shift in range(width):
            at = (bit - shift) // width
            texts = [_word_at(_characters(number, shift, width), at) for number in (one, other)]
            if not all(texts):
                continue
            what = _recognised(texts[0], texts[1], scope)
            if what is not None:
                where = f"LLVM bitcode, a text of {width} bits a character at offset {head:#x}"
                return scope.found(what.kind, where, what.words, *excerpts(texts[0], texts[1]))
    return None


def _recognised(left: str, right: str, scope: Scope) -> recognise.Recognised | None:
    """What the texts are; what stands before a path may be other bits that happen to look like letters."""
    what = recognise.in_text(left, right, scope.facts)
    if what is None and "/" in left and "/" in right:
        what = recognise.in_text(left[left.index("/") :], right[right.index("/") :], scope.facts)
    return what


def _characters(number: int, shift: int, width: int) -> str:
    mask = (1 << width) - 1
    number >>= shift
    characters = []
    for _ in range((_BEFORE + _BEHIND) * 8 // width):
        characters.append(chr(number & mask))
        number >>= width
    return "".join(characters)


def _word_at(text: str, at: int) -> str:
    return next((m.group() for m in _WORDY.finditer(text) if m.start() <= at < m.end()), "")
