""".pyc files of Python 3.11 and later: the header, and the code objects, field by field.

Known to differ between builds of the same source: the file name, the time stamp, the order of a frozenset's
elements (hash seed, addresses), and which objects are shared (reference counts while compiling).

`marshal.loads` reads only its own version, makes code objects, and trusts its input. Here each object becomes
the text that it is shown as, in the order in which it was written.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from hermetic.verify.compare.model import MAX_UNPACKED, Data, Malformed, Part, moment, shown

_HEADER: Final = 16
_MAGICS: Final = range(3450, 4000)  # 50 for each version since 3.11
_DEPTH: Final = 200
_DIGITS: Final = 1 << 14  # of 15 bits
_FLAG_REF: Final = 0x80
_COUNTS: Final = ("argcount", "posonlyargcount", "kwonlyargcount", "stacksize", "flags")
_NAMES: Final = ("names", "localsplusnames", "localspluskinds", "filename", "name", "qualname")
_FIELDS: Final = (*_COUNTS, "code", "consts", *_NAMES, "firstlineno", "linetable", "exceptiontable")
_NUMBERS: Final = frozenset((*_COUNTS, "firstlineno"))
_CHECKED: Final = {0: "time stamp", 1: "hash, unchecked", 3: "hash, checked"}
_SINGLES: Final = {"0": "NULL", "N": "None", "F": "False", "T": "True", "S": "StopIteration", ".": "..."}
_CONTAINERS: Final = {"(": "tuple", ")": "tuple", "[": "list", "<": "set", ">": "frozenset"}


class _Object(NamedTuple):
    """An object as text, and as texts of what it holds."""

    text: str
    items: tuple[str, ...] = ()


def is_pyc(data: Data) -> bool:
    """Whether it begins like a .pyc file that can be read."""
    head = data[:4].tobytes()
    return len(data) >= _HEADER and head[2:] == b"\r\n" and int.from_bytes(head[:2], "little") in _MAGICS


def read(data: Data) -> list[Part]:
    """The header and the code objects, the module first."""
    magic, _, flags, mtime, size = struct.unpack_from("<HHIII", data)
    fields = {
        "magic": f"{magic} (Python 3.{11 + (magic - _MAGICS.start) // 50})",
        "check": f"by {_CHECKED.get(flags, f'unknown flags {flags:#x}')}",
    }
    if flags & 1:
        fields["source hash"] = data[8:16].hex()
    else:
        fields |= {"mtime": moment(mtime), "source size": f"{size:,} bytes"}
    marshal = _Marshal(data[_HEADER:])
    whole = marshal.object(0)
    if marshal.at != len(data) - _HEADER:
        raise Malformed("bytes follow the object")
    return [Part(".pyc header", fields), Part("", {"object": whole.text}), *reversed(marshal.codes)]


class _Marshal:
    """A reader of one stream. `codes`: the code objects that were read, the inner ones first."""

    def __init__(self, data: Data) -> None:
        self.at = 0
        self.codes: list[Part] = []
        self._data = data
        self._references: list[_Object] = []
        self._room = MAX_UNPACKED  # characters; references can make a short stream an endless text

    def object(self, depth: int) -> _Object:
        """The next object. Raises Malformed and whatever damaged bytes lead to."""
        if depth > _DEPTH:
            raise Malformed("nested too deeply")
        head = self._take(1)[0]
        code = chr(head & ~_FLAG_REF)
        if code == "r":
            return self._references[self._int()]
        index = len(self._references)
        if head & _FLAG_REF:
            self._references.append(_Object("itself"))
        found = self._items(code, depth + 1) or _Object(self._scalar(code))
        self._room -= len(found.text)
        if self._room < 0:
            raise Malformed(f"more than {MAX_UNPACKED:,} characters")
        if head & _FLAG_REF:
            self._references[index] = found
        return found

    def _items(self, code: str, depth: int) -> _Object | None:
        """An object that holds others, or None."""
        if code == "c":
            return self._code(depth)
        if code in _CONTAINERS:
            count = self._take(1)[0] if code == ")" else self._int()
            return self._joined(_CONTAINERS[code], [self.object(depth).text for _ in range(count)])
        if code == ":":
            return self._joined("slice", [self.object(depth).text for _ in range(3)])
        return None

    def _joined(self, kind: str, items: list[str]) -> _Object:
        if sum(map(len, items)) > self._room:
            raise Malformed(f"more than {MAX_UNPACKED:,} characters")
        return _Object(f"{kind}({', '.join(items)})", tuple(items))

    def _scalar(self, code: str) -> str:
        if code in _SINGLES:
            return _SINGLES[code]
        if code in "zZaAtu":
            size = self._take(1)[0] if code in "zZ" else self._int()
            return repr(self._take(size).decode("utf-8", "backslashreplace"))
        if code == "s":
            return repr(self._take(self._int()))
        if code == "i":
            return str(self._int())
        if code == "l":
            digits = self._int()
            if abs(digits) > _DIGITS:
                raise Malformed(f"an integer of {abs(digits):,} digits")
            units = struct.unpack(f"<{abs(digits)}H", self._take(2 * abs(digits)))
            return f"{'-' * (digits < 0)}{sum(unit << 15 * i for i, unit in enumerate(units)):#x}"
        if code == "g":
            return repr(struct.unpack("<d", self._take(8))[0])
        if code == "y":
            return repr(complex(*struct.unpack("<2d", self._take(16))))
        raise Malformed(f"no object begins with {code!r} (offset {self.at + _HEADER - 1:#x})")

    def _code(self, depth: int) -> _Object:
        values = {f: _Object(str(self._int())) if f in _NUMBERS else self.object(depth) for f in _FIELDS}
        name = shown(values["qualname"].text[1:-1])
        consts = {f"co_consts[{i}]": text for i, text in enumerate(values.pop("consts").items)}
        self.codes.append(Part(name, {f"co_{field}": value.text for field, value in values.items()} | consts))
        return _Object(f"<code {name}>")

    def _take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self._data):
            raise Malformed(f"{size} bytes wanted at offset {self.at + _HEADER:#x}")
        self.at += size
        return self._data[self.at - size : self.at].tobytes()

    def _int(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])
