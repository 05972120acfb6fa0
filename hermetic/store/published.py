"""A list of realisations as it is published: which derivation gave which store object. Pure.

One JSON object a line (https://jsonlines.org), so that lists can be joined, sorted and compared with the
usual tools. `verify --against` reads such lists of other stores; a lock file's `[expect.*]` is made from one.
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

Verdict: TypeAlias = Literal["agree", "disagree", "unknown"]

MAX_BYTES: Final = 256 << 20
_DIGEST: Final = re.compile(r"[a-z2-7]{51}[aq]")  # 256 bits: of the last character's five, four are zero


class PublishedError(HermeticError):
    """A list of realisations is not valid."""


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line: a derivation and the object that it gave.

    Attributes:
        drv: derivation id.
        target: what was asked for when it was built, such as `cpython-aarch64`.
        system: triple of the host system; None for what is the same for all, such as unpacked sources.
        object: content hash of the output.
    """

    name: str
    version: str
    system: str | None
    target: str
    drv: str
    object: str

    @property
    def label(self) -> str:
        """`NAME-VERSION`, the key under which a lock file expects it."""
        return f"{self.name}-{self.version}"


_FIELDS: Final = Published.__struct_fields__
_RULES: Final = {
    "drv": (_DIGEST, "a hash (52 characters of base32)"),
    "object": (_DIGEST, "a hash (52 characters of base32)"),
    "target": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,199}"), "a target"),
    "name": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"), "a name"),
    "version": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}"), "a version"),
    "system": (re.compile(r"[a-z0-9_]+(?:-[a-z0-9_]+){1,3}"), "a system (such as aarch64-linux-musl)"),
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
    lines: dict[tuple[str, str], int] = {}
    objects: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip(b" \t\r"):
            continue
        entry = _parse_line(line, f"{origin}:{number}")
        _refuse_contradiction(entry, number, origin, lines, objects)
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
    return msgspec.convert(fields, Published)


def _check_value(key: str, value: object, where: str) -> None:
    pattern, what = _RULES[key]
    if key == "system" and value is None:
        return
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PublishedError(f'{where}: the field "{key}" is not {what}: {_shown(value)}')


def _refuse_contradiction(
    entry: Published,
    number: int,
    origin: str,
    lines: dict[tuple[str, str], int],
    objects: dict[str, tuple[int, str]],
) -> None:
    """A derivation may stand under several targets, but under each once, and always with the same object."""
    first = lines.setdefault((entry.target, entry.drv), number)
    line, known = objects.setdefault(entry.drv, (number, entry.object))
    if known != entry.object:
        raise PublishedError(
            f"{origin}:{number}: derivation {entry.drv} gave {entry.object}, and {known} on line {line}",
            hint="a list names one object for each derivation",
        )
    if first != number:
        raise PublishedError(
            f"{origin}:{number}: {entry.label} for {entry.target} is already on line {first}"
        )


def _shown(value: object) -> str:
    """The value on one short line, as JSON, with everything that is not ASCII escaped."""
    if isinstance(value, str):
        text = json.dumps(value)
        return text if len(text) <= 80 else text[:77] + "..."
    return "an object" if isinstance(value, _Pairs) else "null" if value is None else show_value(value)


def format(entries: Iterable[Published]) -> bytes:
    """The list, sorted and without repetition: equal sets of entries give equal bytes.

    Raises:
        PublishedError: an entry that `parse` would refuse.
    """
    distinct = sorted(set(entries), key=_sort_key)
    data = b"".join(msgspec.json.encode(entry, order="sorted") + b"\n" for entry in distinct)
    parse(data, "the list to be published")
    return data


def _sort_key(entry: Published) -> tuple[str, ...]:
    return (entry.target, entry.name, entry.version, entry.system or "", entry.drv, entry.object)


def expected(entries: Iterable[Published]) -> dict[str, dict[str, str]]:
    """From system and `NAME-VERSION` to content hash, as a lock file's `[expect.*]` holds it.

    What has no system is left out: its content follows from pinned sources.

    Raises:
        PublishedError: two objects for one name and system, as from two revisions of a recipe.
    """
    tables: dict[str, dict[str, str]] = {}
    for entry in sorted(entries, key=_sort_key):
        if entry.system is not None:
            known = tables.setdefault(entry.system, {}).setdefault(entry.label, entry.object)
            if known != entry.object:
                what = f"{entry.label} for {entry.system}"
                raise PublishedError(f"{what}: one entry has the object {known}, another {entry.object}")
    return tables


class Row(msgspec.Struct, frozen=True):
    """What both sides say of one derivation.

    Attributes:
        verdict: `unknown` where only one side has built it.
        mine, theirs: content hashes; several where a side has got several, none where it has not built it.
    """

    drv: str
    name: str
    version: str
    system: str | None
    verdict: Verdict
    mine: tuple[str, ...]
    theirs: tuple[str, ...]


class Agreement(msgspec.Struct, frozen=True):
    """A table of all derivations of both sides, by name, version and system."""

    rows: tuple[Row, ...]

    def count(self, verdict: Verdict) -> int:
        """How many derivations have that verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    def having(self, verdict: Verdict) -> tuple[Row, ...]:
        """The rows with that verdict."""
        return tuple(row for row in self.rows if row.verdict == verdict)


def agreement(mine: Sequence[Published], theirs: Sequence[Published]) -> Agreement:
    """Compares two lists derivation by derivation.

    They agree where each has got one object and it is the same one; a side that has got several for one
    derivation (a build that is not reproducible) agrees with nobody.
    """
    described = {entry.drv: entry for entry in (*theirs, *mine)}
    one, other = _objects(mine), _objects(theirs)
    rows = [_row(entry, one.get(drv, ()), other.get(drv, ())) for drv, entry in described.items()]
    return Agreement(tuple(sorted(rows, key=lambda r: (r.name, r.version, r.system or "", r.drv))))


def _objects(entries: Iterable[Published]) -> dict[str, tuple[str, ...]]:
    objects: dict[str, set[str]] = {}
    for entry in entries:
        objects.setdefault(entry.drv, set()).add(entry.object)
    return {drv: tuple(sorted(found)) for drv, found in objects.items()}


def _row(entry: Published, mine: tuple[str, ...], theirs: tuple[str, ...]) -> Row:
    verdict: Verdict = "disagree"
    if not mine or not theirs:
        verdict = "unknown"
    elif mine == theirs and len(mine) == 1:
        verdict = "agree"
    return Row(entry.drv, entry.name, entry.version, entry.system, verdict, mine, theirs)
