"""A list of realisations as it is published: which derivation gave which store object. Pure.

One JSON object a line (https://jsonlines.org). A line holds the fields of a store's record of a realisation
(`.hermetic/realisations/`), but for those that differ from build to build. So equal results are equal lines:
lists can be joined with `sort -u`, and compared with `comm` or `diff`. `verify --against` reads such lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from hermetic.errors import HermeticError
from hermetic.errors import did_you_mean
from hermetic.project.toml import show_value
from hermetic.store.names import label_in
from hermetic.store.records import Published

Verdict: TypeAlias = Literal["agree", "disagree", "unknown"]

MAX_BYTES: Final = 256 << 20
_DIGEST: Final = re.compile(r"[a-z2-7]{51}[aq]")  # 256 bits: of the last character's five, four are zero


class PublishedError(HermeticError):
    """A list of realisations is not valid."""


_FIELDS: Final = Published.__struct_fields__
_ORDER: Final = ("name", "version", "system", "drv_id", "object")  # by which a list is sorted
_RULES: Final = {
    "drv_id": (_DIGEST, "a hash (52 characters of base32)"),
    "object": (re.compile(_DIGEST.pattern + "-.+"), "the name of a store object (HASH-NAME-VERSION)"),
    "name": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"), "a name"),
    "version": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}"), "a version"),
    "system": (re.compile(r"(?:[a-z0-9_]+(?:-[a-z0-9_]+){1,3})?"), "a system (such as aarch64-linux-musl)"),
}


def parse(data: bytes, origin: str) -> list[Published]:
    """The entries of a list, in its order. Empty lines are allowed.

    Args:
        origin: file name or address, as it should stand in messages.

    Raises:
        PublishedError: anything that `format` would not have written: not UTF-8, not an object of exactly
            these fields, a value of another form, a repeated line, two objects for one derivation. The
            message begins with `origin:line:` and shows the value.
    """
    if len(data) > MAX_BYTES:
        raise PublishedError(f"{origin}: {len(data):,} bytes are too many for a list of realisations")
    entries: list[Published] = []
    known: dict[str, tuple[int, Published]] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip(b" \t\r"):
            continue
        entry = _parse_line(line, f"{origin}:{number}")
        _refuse_contradiction(entry, number, origin, known)
        entries.append(entry)
    return entries


def _parse_line(line: bytes, where: str) -> Published:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PublishedError(f"{where}: not UTF-8: byte 0x{line[error.start]:02x}") from None
    try:
        value = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        fact = (
            error.msg
            if isinstance(error, json.JSONDecodeError)
            else "nested too deeply, or a number too long"
        )
        raise PublishedError(f"{where}: not valid JSON: {fact}: {_shown(text.strip())}") from None
    if not isinstance(value, _Pairs):
        raise PublishedError(f"{where}: not a JSON object: {_shown(text.strip())}")
    return _checked(value, where)


class _Pairs(list[tuple[str, object]]):
    """An object's pairs as they stand, so that a repeated key is seen."""


def _checked(pairs: _Pairs, where: str) -> Published:
    fields: dict[str, object] = {}
    for key, value in pairs:
        if key not in _FIELDS:
            hint = did_you_mean(key, _FIELDS)
            raise PublishedError(f"{where}: unknown field {_shown(key)}", hint=hint)
        if key in fields:
            raise PublishedError(f'{where}: the field "{key}" stands there twice')
        fields[key] = value
    for key in _FIELDS:
        if key not in fields:
            raise PublishedError(f'{where}: the field "{key}" is missing')
        _check_value(key, fields[key], where)
    entry = msgspec.convert(fields, Published)
    if label_in(entry.object) != _label(entry):
        fact = f"{_shown(entry.object)} is not an object of {_label(entry)}"
        raise PublishedError(f'{where}: the fields contradict each other: {fact}')
    return entry


def _check_value(key: str, value: object, where: str) -> None:
    pattern, what = _RULES[key]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PublishedError(f'{where}: the field "{key}" is not {what}: {_shown(value)}')


def _refuse_contradiction(
    entry: Published, number: int, origin: str, known: dict[str, tuple[int, Published]]
) -> None:
    """A derivation stands in a list once."""
    line, first = known.setdefault(entry.drv_id, (number, entry))
    if first.object != entry.object:
        raise PublishedError(
            f"{origin}:{number}: derivation {entry.drv_id} gave {entry.object}, and {first.object} on line {line}",
            hint="a list names one object for each derivation",
        )
    if line != number:
        raise PublishedError(f"{origin}:{number}: {_label(entry)} is already on line {line}")


def _label(entry: Published) -> str:
    return f"{entry.name}-{entry.version}"


def _shown(value: object) -> str:
    """The value on one short line, as JSON, with everything that is not ASCII escaped."""
    if isinstance(value, str):
        text = json.dumps(value)
        return text if len(text) <= 80 else text[:77] + "..."
    return "an object" if isinstance(value, _Pairs) else "null" if value is None else show_value(value)


def format(entries: Iterable[Published]) -> bytes:
    """The list, sorted and without repetition: equal sets of entries give equal bytes.

    Args:
        entries: realisations, too; what is not published of them is left out.

    Raises:
        PublishedError: an entry that `parse` would refuse.
    """
    rows = sorted({tuple(getattr(entry, key) for key in _ORDER) for entry in entries})
    lines = [msgspec.json.encode(dict(zip(_ORDER, row, strict=True)), order="sorted") for row in rows]
    data = b"".join(line + b"\n" for line in lines)
    parse(data, "the list to be published")
    return data


class Row(msgspec.Struct, frozen=True):
    """What both sides say of one derivation.

    Attributes:
        verdict: `unknown` where only one side has built it.
        mine, theirs: store objects; several where a side has got several, none where it has not built it.
    """

    drv_id: str
    name: str
    version: str
    system: str
    verdict: Verdict
    mine: tuple[str, ...]
    theirs: tuple[str, ...]


class Agreement(msgspec.Struct, frozen=True):
    """A table of all derivations of both sides, by name, version and system."""

    rows: tuple[Row, ...]

    def count(self, verdict: Verdict) -> int:
        """How many derivations have that verdict."""
        return sum(row.verdict == verdict for row in self.rows)


def agreement(mine: Sequence[Published], theirs: Sequence[Published]) -> Agreement:
    """Compares two lists derivation by derivation.

    They agree where each has got one object and it is the same one; a side that has got several for one
    derivation (a build that is not reproducible) agrees with nobody.
    """
    described = {entry.drv_id: entry for entry in (*theirs, *mine)}
    one, other = _objects(mine), _objects(theirs)
    rows = [_row(entry, one.get(drv, ()), other.get(drv, ())) for drv, entry in described.items()]
    return Agreement(tuple(sorted(rows, key=lambda r: (r.name, r.version, r.system, r.drv_id))))


def _objects(entries: Iterable[Published]) -> dict[str, tuple[str, ...]]:
    objects: dict[str, set[str]] = {}
    for entry in entries:
        objects.setdefault(entry.drv_id, set()).add(entry.object)
    return {drv: tuple(sorted(found)) for drv, found in objects.items()}


def _row(entry: Published, mine: tuple[str, ...], theirs: tuple[str, ...]) -> Row:
    verdict: Verdict = "disagree"
    if not mine or not theirs:
        verdict = "unknown"
    elif mine == theirs and len(mine) == 1:
        verdict = "agree"
    return Row(entry.drv_id, entry.name, entry.version, entry.system, verdict, mine, theirs)
