"""Canonical encoding and domain-separated BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs).

Each kind of value is hashed in its own domain (`derive_key_context`), so that a digest of one kind cannot be
mistaken for one of another kind. The domain's text contains the version of the format. A change of what is
hashed must change the version; the golden digests in the tests check this.
"""

from __future__ import annotations

from blake3 import blake3

# Instead of `typing.TYPE_CHECKING`: importing `typing` is slow (see `store.quick`).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

DERIVATION: Final = "hermetic 2026-11-22 derivation id v1"
BUILD_KEY: Final = "hermetic 2026-11-22 build key v1"
TREE: Final = "hermetic 2026-11-22 tree manifest v1"
EVALUATION: Final = "hermetic 2026-11-22 evaluation cache v1"

DIGEST_CHARS: Final = 52  # 256 bits in base32
_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"


def digest(context: str, data: bytes) -> str:
    """Hash of `data` in the domain `context`, as 52 characters of base32."""
    return encode_base32(blake3(data, derive_key_context=context).digest())


def encode_base32(raw: bytes) -> str:
    """RFC 4648 base32, lower case, without padding: safe in file names on any file system."""
    bits = 8 * len(raw)
    number = int.from_bytes(raw, "big") << -bits % 5
    return "".join([_DIGITS[number >> shift & 31] for shift in range(bits + -bits % 5 - 5, -1, -5)])


def is_digest(text: str) -> bool:
    """Whether `text` has the form of a digest."""
    return len(text) == DIGEST_CHARS and not text.strip(_DIGITS)


def canonical(value: Any) -> bytes:
    """The canonical encoding of a value made of str, int, bool, None, list and dict with str keys.

    JSON with sorted keys, no white space, UTF-8, nothing omitted. Floats are refused: their text varies.

    Raises:
        TypeError: `value` contains another type.
    """
    import msgspec

    _refuse_foreign(value)
    return msgspec.json.encode(value, order="sorted")


def _refuse_foreign(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"a key of a hashed record must be a string, not {key!r}")
            _refuse_foreign(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_foreign(item)
    elif value is not None and type(value) not in (str, int, bool):
        raise TypeError(f"{value!r} ({type(value).__name__}) cannot be hashed canonically")
