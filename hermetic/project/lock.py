"""`flake-like.lock`: every source by its content, and where it can be had.

What a source *is* is its bytes (sha256, blake3, size). Mirrors only say where to look for them; they are
never hashed. `format` writes the one canonical text of a lock: `format(parse(text)) == text` for every text
that it wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from hermetic.errors import LockError, did_you_mean
from hermetic.hashing import DIGEST_CHARS, is_digest
from hermetic.project.pin import Pin
from hermetic.project.toml import decode_toml, key_text, quote, show_value, toml_line

FORMAT: Final = 1
FILE_NAME: Final = "flake-like.lock"
HEADER: Final = (
    "# Every source by its content. Mirrors are tried in order, upstream first; no hash covers them.\n"
    "# Written by `hermetic lock`; it may be edited by hand, but comments do not survive the next update.\n"
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~-]*")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MIRROR: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+")
_MAX_SIZE: Final = 1 << 40


class Lock(msgspec.Struct, frozen=True):
    """The whole lock file.

    Attributes:
        default: from a source's name to the version that is meant when none is given.
        sources: from name and version to what is pinned.
        expect: from triple and `NAME-VERSION` of a derivation to the content hash that its output had.
    """

    default: Mapping[str, str]
    sources: Mapping[str, Mapping[str, Pin]]
    expect: Mapping[str, Mapping[str, str]]

    def pin(self, name: str, version: str | None = None) -> Pin:
        """What is pinned as `name`, in its default version unless one is given.

        Raises:
            LockError: no such source or version; with the nearest name as a hint.
        """
        versions = self.sources.get(name)
        if versions is None:
            raise LockError(
                f'{FILE_NAME} pins no source "{name}"',
                hint=did_you_mean(name, self.sources) or f"`hermetic lock --update {name}` adds one",
            )
        wanted = self.default_version(name) if version is None else version
        if wanted not in versions:
            pinned = ", ".join(sorted(versions, key=version_key))
            raise LockError(f"{FILE_NAME} does not pin {name} {wanted}", hint=f"pinned: {pinned}")
        return versions[wanted]

    def default_version(self, name: str) -> str:
        """The version that `name` means when none is given. `name` must be pinned."""
        versions = self.sources[name]
        if name in self.default:
            return self.default[name]
        if len(versions) == 1:
            return next(iter(versions))
        raise LockError(f'{FILE_NAME} pins "{name}" in {len(versions)} versions, and none is the default')

    def pins(self) -> tuple[Pin, ...]:
        """Everything that is pinned, by name and version."""
        return tuple(
            self.sources[name][version]
            for name in sorted(self.sources)
            for version in sorted(self.sources[name], key=version_key)
        )


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts versions as people do: 1.9 before 1.10, 3.13.0rc1 before 3.13.0, 1.0.2 before 1.0.2a."""
    key: list[tuple[int, int, str]] = []
    for number, before_release, other in _VERSION_PARTS.findall(version):
        if number:
            key.append((2, int(number), number))
        elif before_release:
            key.append((0, 0, before_release.lower()))
        else:
            key.append((3, 0, other))
    return (*key, (1, 0, ""))


# A letter before a number (3.14.0a1) marks what precedes a release; one at the end (1.0.2a) what follows it.
_VERSION_PARTS: Final = re.compile(r"(\d{1,60})|((?i:dev|alpha|beta|pre|rc|a|b))(?=[.-]?\d)|([A-Za-z]+)")


# Reading


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    file: str
    sha256: str
    blake3: str
    size: int
    mirrors: list[str]


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    default: dict[str, str] = {}
    source: dict[str, dict[str, _Entry]] = {}
    expect: dict[str, dict[str, str]] = {}


def parse(data: bytes, filename: str = FILE_NAME) -> Lock:
    """Read a lock file strictly.

    Args:
        filename: as it should stand in messages.

    Raises:
        LockError: anything that is not a valid lock, with `filename:line:`, the value, and a suggestion.
    """
    document = decode_toml(data, filename, _Document, LockError)
    check = _Checker(data.decode("utf-8"), filename)
    if document.format != FORMAT:
        check.fail((), "format", document.format, f"this hermetic reads format {FORMAT}")
    sources = {
        name: {version: check.entry(name, version, entry) for version, entry in versions.items()}
        for name, versions in document.source.items()
    }
    check.defaults(document.default, sources)
    check.expected(document.expect)
    return Lock(default=document.default, sources=sources, expect=document.expect)


class _Checker:
    """What a lock must satisfy beyond its types; every complaint names the line."""

    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.filename = filename

    def fail(
        self, table: tuple[str, ...], key: str | None, value: object, fact: str, hint: str | None = None
    ) -> NoReturn:
        line = toml_line(self.text, table, key) or toml_line(self.text, table, None)
        at = f"{self.filename}:{line}" if line else self.filename
        shown = " = ".join(part for part in (key, show_value(value)) if part is not None)
        raise LockError(f"{at}: {shown}: {fact}", hint=hint)

    def entry(self, name: str, version: str, entry: _Entry) -> Pin:
        table = ("source", name, version)
        if not _NAME.fullmatch(name):
            self.fail(table, None, name, "not a valid name: letters, digits and + . _ - only")
        if not _VERSION.fullmatch(version):
            self.fail(table, None, version, "not a valid version: letters, digits and + . _ ~ - only")
        for key, value in (("sha256", entry.sha256), ("blake3", entry.blake3)):
            if not _HEX.fullmatch(value):
                self.fail(table, key, value, "must be 64 characters of lower-case hexadecimal")
        if not 0 < entry.size < _MAX_SIZE:
            self.fail(table, "size", entry.size, "not a possible number of bytes")
        if not _is_file_name(entry.file):
            self.fail(table, "file", entry.file, "must be a plain file name")
        if not entry.mirrors:
            self.fail(table, "mirrors", "", "at least one is needed")
        for mirror in entry.mirrors:
            if not _MIRROR.fullmatch(mirror):
                self.fail(table, "mirrors", mirror, "not an address: KIND:REST, ASCII without spaces")
        if len(set(entry.mirrors)) != len(entry.mirrors):
            twice = next(m for m in entry.mirrors if entry.mirrors.count(m) > 1)
            self.fail(table, "mirrors", twice, "stands here twice")
        return Pin(name, version, entry.file, entry.sha256, entry.blake3, entry.size, tuple(entry.mirrors))

    def defaults(self, default: Mapping[str, str], sources: Mapping[str, Mapping[str, Pin]]) -> None:
        for name, version in default.items():
            if name not in sources:
                hint = did_you_mean(name, sources)
                self.fail(("default",), name, version, f'no source "{name}" is pinned', hint)
            if version not in sources[name]:
                pinned = "pinned: " + ", ".join(sorted(sources[name], key=version_key))
                self.fail(("default",), name, version, f"{name} is not pinned in that version", pinned)
        for name, versions in sources.items():
            if not versions:
                self.fail(("source", name), None, name, "no version of it is pinned")
            if len(versions) > 1 and name not in default:
                hint = f'add {key_text(name)} = "{max(versions, key=version_key)}" to [default]'
                fact = "several versions are pinned and none is the default"
                self.fail(("source", name), None, name, fact, hint)

    def expected(self, expect: Mapping[str, Mapping[str, str]]) -> None:
        for triple, hashes in expect.items():
            for name, value in hashes.items():
                if not is_digest(value):
                    fact = f"not a content hash ({DIGEST_CHARS} characters of base32)"
                    self.fail(("expect", triple), name, value, fact)


def _is_file_name(name: str) -> bool:
    fits = 0 < len(name.encode()) <= 200
    return fits and name.isprintable() and "/" not in name and not name.startswith(".")


# Writing


def format(lock: Lock) -> str:
    """The canonical text of a lock: sorted, one form for each value."""
    blocks = [HEADER + f"format = {FORMAT}\n"]
    if lock.default:
        lines = [f"{key_text(name)} = {quote(version)}\n" for name, version in sorted(lock.default.items())]
        blocks.append("[default]\n" + "".join(lines))
    blocks += [_format_pin(pin) for pin in lock.pins()]
    for triple, hashes in sorted(lock.expect.items()):
        lines = [f"{quote(name)} = {quote(value)}\n" for name, value in sorted(hashes.items())]
        blocks.append(f"[expect.{key_text(triple)}]\n" + "".join(lines))
    return "\n".join(blocks)


def _format_pin(pin: Pin) -> str:
    mirrors = "".join(f"  {quote(mirror)},\n" for mirror in pin.mirrors)
    return (
        f"[source.{key_text(pin.name)}.{quote(pin.version)}]\n"
        f"file = {quote(pin.file)}\n"
        f"sha256 = {quote(pin.sha256)}\n"
        f"blake3 = {quote(pin.blake3)}\n"
        f"size = {pin.size}\n"
        f"mirrors = [\n{mirrors}]\n"
    )


# Changing: each returns a new lock


def set_pin(lock: Lock, pin: Pin, *, default: bool = False) -> Lock:
    """`lock` with `pin` added, or put in the place of what has its name and version.

    Args:
        default: make it the version that the name means. A name's first version needs no such mention; when a
            second joins it, the first stays the default and is written down as such.
    """
    versions = dict(lock.sources.get(pin.name, {}))
    defaults = dict(lock.default)
    if versions and pin.name not in defaults:
        defaults[pin.name] = lock.default_version(pin.name)
    versions[pin.version] = pin
    if default or len(versions) == 1:
        defaults[pin.name] = pin.version
    if len(versions) == 1 and pin.name not in lock.default:
        del defaults[pin.name]
    return msgspec.structs.replace(lock, default=defaults, sources={**lock.sources, pin.name: versions})


def set_expected(lock: Lock, triple: str, name: str, content_hash: str) -> Lock:
    """`lock` with the content hash that the derivation `name` (`NAME-VERSION`) has for `triple`."""
    hashes = {**lock.expect.get(triple, {}), name: content_hash}
    return msgspec.structs.replace(lock, expect={**lock.expect, triple: hashes})


# Comparing


def diff(old: Lock, new: Lock) -> list[str]:
    """What changed between two locks, one sentence each. Empty when they mean the same."""
    out: list[str] = []
    for name in sorted({*old.sources, *new.sources}):
        before, after = old.sources.get(name, {}), new.sources.get(name, {})
        for version in sorted({*before, *after}, key=version_key):
            out += _diff_pin(before.get(version), after.get(version))
        if before and after and (was := old.default_version(name)) != (now := new.default_version(name)):
            out.append(f"{name}: the default is now {now}; it was {was}")
    for triple in sorted({*old.expect, *new.expect}):
        out += _diff_expected(triple, old.expect.get(triple, {}), new.expect.get(triple, {}))
    return out


def _diff_pin(old: Pin | None, new: Pin | None) -> list[str]:
    if old is None or new is None:
        pin = old or new
        assert pin is not None
        how = "added" if old is None else "removed"
        return [f"{pin.name} {pin.version}: {how} ({pin.file}, {pin.size} bytes, sha256 {pin.sha256})"]
    what = f"{new.name} {new.version}"
    out = [
        f"{what}: {field} is now {_value(new, field)}; it was {_value(old, field)}"
        for field in ("file", "sha256", "blake3", "size")
        if _value(old, field) != _value(new, field)
    ]
    out += [f"{what}: mirror added: {mirror}" for mirror in new.mirrors if mirror not in old.mirrors]
    out += [f"{what}: mirror removed: {mirror}" for mirror in old.mirrors if mirror not in new.mirrors]
    if old.mirrors != new.mirrors and set(old.mirrors) == set(new.mirrors):
        out.append(f"{what}: mirrors are tried in another order: {', '.join(new.mirrors)}")
    return out


def _value(pin: Pin, field: str) -> Any:
    return getattr(pin, field)


def _diff_expected(triple: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    out = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was is None:
            out.append(f"{name} for {triple}: the expected output is {now}; none was recorded")
        elif now is None:
            out.append(f"{name} for {triple}: no output is expected any more; it was {was}")
        elif was != now:
            out.append(f"{name} for {triple}: the expected output is now {now}; it was {was}")
    return out
