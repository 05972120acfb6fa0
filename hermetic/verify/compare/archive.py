"""Archives: ar, tar, zip. Which members, in which order, what their headers say, and what is in them."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from hermetic.verify.compare.model import (
    MAX_PARSED,
    Data,
    Difference,
    Kind,
    Malformed,
    Scope,
    excerpts,
    moment,
    shown,
    view,
)

_MEMBERS: Final = 100_000
_AR_HEADER: Final = 60
_INDEXES: Final = ("/", "//", "/SYM64/", "__.SYMDEF", "__.SYMDEF SORTED", "__.SYMDEF_64")
_LEAKING: Final[dict[str, Kind]] = {
    "mtime": "embedded-time",
    "uid": "embedded-host",
    "gid": "embedded-host",
    "user": "embedded-host",
    "group": "embedded-host",
}
_WORDS: Final = {
    "mtime": "the time stamp (mtime)",
    "uid": "the owner's number (uid)",
    "gid": "the group's number (gid)",
    "user": "the owner's name",
    "group": "the group's name",
    "mode": "the mode",
}


class Member(NamedTuple):
    """A member of an archive, with the fields of its header as text, and a way to its content."""

    name: str
    fields: dict[str, str]
    read: Callable[[], Data]


class Reader(io.RawIOBase):
    """Bytes as a file, without a copy of them."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file; a place before the beginning is a ValueError."""
        base = (0, self._at, len(self._data))[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """The current offset."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """As of any file."""
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def compare_ar(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Members of two ar archives (GNU, BSD, thin). Raises Malformed."""
    one, other = list(_ar_members(left)), list(_ar_members(right))
    if bytes(left[:8]) != bytes(right[:8]):
        return [scope.found("metadata", "", "a thin archive against one that holds its members")]
    found = _compare_members(
        scope, [m for m in one if m.name not in _INDEXES], [m for m in other if m.name not in _INDEXES]
    )
    # The symbol index and the table of long names follow from the members: alone, they are news.
    return found or _compare_members(
        scope, [m for m in one if m.name in _INDEXES], [m for m in other if m.name in _INDEXES]
    )


def _ar_members(data: Data) -> Iterator[Member]:
    thin = bytes(data[:8]) == b"!<thin>\n"
    names = b""
    at, count = 8, 0
    while at < len(data):
        header = data[at : at + _AR_HEADER].tobytes()
        if len(header) < _AR_HEADER or header[58:] != b"`\n":
            raise Malformed(f"no member's header at offset {at:#x}")
        size = _decimal(header[48:58], at)
        start, label = at + _AR_HEADER, header[:16].rstrip(b" ")
        stored = 0 if thin and label not in (b"/", b"//", b"/SYM64/") else size
        if start + stored > len(data):
            raise Malformed(f"the member at offset {at:#x} is longer than the archive")
        content = data[start : start + stored]
        if label == b"//":
            names = content.tobytes()
        name, content = _ar_name(label, content, names)
        fields = {"mtime": _time(header[16:28]), "uid": _field(header[28:34]), "gid": _field(header[34:40])}
        yield Member(shown(name), {**fields, "mode": _field(header[40:48])}, lambda content=content: content)  # type: ignore[misc]
        at = start + stored + stored % 2
        count += 1
        if count > _MEMBERS:
            raise Malformed(f"more than {_MEMBERS:,} members")


def _ar_name(label: bytes, content: Data, names: bytes) -> tuple[bytes, Data]:
    """The member's name, and its content without it, in the ways of GNU and BSD."""
    if label in (b"/", b"//", b"/SYM64/"):
        return label, content
    if label.startswith(b"/") and label[1:].isdigit():
        return names[int(label[1:]) :].partition(b"\n")[0].removesuffix(b"/"), content
    if label.startswith(b"#1/") and label[3:].isdigit():
        length = int(label[3:])
        return content[:length].tobytes().rstrip(b"\0"), content[length:]
    return label.removesuffix(b"/"), content


def _decimal(field: bytes, at: int) -> int:
    text = field.strip()
    if not text.isdigit():
        raise Malformed(f"the size of the member at offset {at:#x} is {shown(field)}")
    return int(text)


def _field(field: bytes) -> str:
    return shown(field.rstrip())


def _time(field: bytes) -> str:
    text = field.strip()
    return moment(int(text)) if text.isdigit() else shown(field)


def compare_tar(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Members of two tar archives. Raises Malformed."""
    return _compare_members(scope, _tar_members(left), _tar_members(right))


def _tar_members(data: Data) -> list[Member]:
    members = []
    try:
        file = io.BufferedReader(Reader(data))
        archive = tarfile.open(fileobj=file, mode="r:", errors="backslashreplace")  # noqa: SIM115
        for info in archive:
            members.append(_tar_member(archive, info))
            if len(members) > _MEMBERS:
                raise Malformed(f"more than {_MEMBERS:,} members")
    except Malformed:
        raise
    except Exception as error:  # what tarfile raises on damaged archives is not limited to its own errors
        raise Malformed(f"{type(error).__name__}: {error}") from error
    return members


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    fields = {
        "mtime": moment(info.mtime),
        "uid": str(info.uid),
        "gid": str(info.gid),
        "user": shown(info.uname),
        "group": shown(info.gname),
        "mode": f"{info.mode:o}",
        "type": shown(info.type),
        "link": shown(info.linkname),
        "PAX headers": shown(repr(sorted((k, v) for k, v in info.pax_headers.items() if k != "mtime"))),
    }

    def read() -> Data:
        return _bounded(lambda: archive.extractfile(info) if info.isreg() else None)

    return Member(shown(info.name), fields, read)


def compare_zip(scope: Scope, left: Data, right: Data) -> list[Difference]:
    """Members of two zip archives. Raises Malformed."""
    return _compare_members(scope, _zip_members(left), _zip_members(right))


def _zip_members(data: Data) -> list[Member]:
    try:
        archive = zipfile.ZipFile(io.BufferedReader(Reader(data)))
        infos = archive.infolist()
    except Exception as error:  # as above: struct.error, UnicodeDecodeError, NotImplementedError and more
        raise Malformed(f"{type(error).__name__}: {error}") from error
    if len(infos) > _MEMBERS:
        raise Malformed(f"more than {_MEMBERS:,} members")
    return [_zip_member(archive, info) for info in infos]


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    year, month, day, hour, minute, second = info.date_time
    fields = {
        "mtime": f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}",
        "mode": stat.filemode(info.external_attr >> 16),
        "system": str(info.create_system),
        "compression": str(info.compress_type),
        "flags": f"{info.flag_bits:#x}",
        "extra field": info.extra.hex(),
        "comment": shown(info.comment),
    }
    return Member(shown(info.filename), fields, lambda: _bounded(lambda: archive.open(info)))


def _bounded(opened: Callable[[], Any]) -> Data:
    """The content, at most MAX_PARSED bytes of it. Raises Malformed."""
    try:
        file = opened()
        return view(file.read(MAX_PARSED) if file is not None else b"")
    except Exception as error:  # damaged, encrypted, or in a compression that this Python lacks
        raise Malformed(f"{type(error).__name__}: {error}") from error


def _compare_members(scope: Scope, left: list[Member], right: list[Member]) -> list[Difference]:
    one, other = _by_name(left), _by_name(right)
    found = [
        scope.found("only-left", f"member {n}", "a member only in the first build")
        for n in one
        if n not in other
    ]
    found += [
        scope.found("only-right", f"member {n}", "a member only in the rebuild")
        for n in other
        if n not in one
    ]
    common = [name for name in one if name in other]
    reordered = [name for name in other if name in one]
    if common != reordered:
        words = f"the same {len(common):,} members in another order"
        found.append(scope.found("order", "", words, *excerpts(" ".join(common), " ".join(reordered))))
    found += _compare_fields(scope, [(name, one[name], other[name]) for name in common])
    for name in common:
        found += _compare_contents(scope, name, one[name], other[name])
    return found


def _by_name(members: list[Member]) -> dict[str, Member]:
    """Members by name; a name's further members with their number."""
    seen: Counter[str] = Counter()
    named = {}
    for member in members:
        seen[member.name] += 1
        number = seen[member.name]
        named[member.name if number == 1 else f"{member.name} (number {number})"] = member
    return named


def _compare_fields(scope: Scope, pairs: list[tuple[str, Member, Member]]) -> list[Difference]:
    """Fields of headers: one difference a field, however many members it differs in."""
    differing: dict[str, list[tuple[str, str, str]]] = {}
    for name, one, other in pairs:
        for field, value in one.fields.items():
            if value != other.fields[field]:
                differing.setdefault(field, []).append((name, value, other.fields[field]))
    found = []
    for field, members in differing.items():
        name, *values = members[0]
        what = _WORDS.get(field, f"the field '{field}'")
        which = (
            "the member's header"
            if len(members) == 1
            else f"the headers of {len(members):,} members, this one first"
        )
        one_value, other_value = excerpts(values[0], values[1])
        words = f"{what} in {which}: {one_value or 'none'} against {other_value or 'none'}"
        found.append(
            scope.found(_LEAKING.get(field, "metadata"), f"member {name}", words, one_value, other_value)
        )
    return found


def _compare_contents(scope: Scope, name: str, one: Member, other: Member) -> list[Difference]:
    try:
        return scope.nested(f"member {name}", name, one.read(), other.read())
    except Malformed as error:
        return [scope.found("unreadable", f"member {name}", f"cannot be unpacked ({shown(str(error))})")]
