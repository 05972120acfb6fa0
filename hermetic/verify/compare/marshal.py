"""Python's marshal format as a tree of nodes, for any version from 3.8 on.

The standard library's `marshal` reads only the version it belongs to, builds code objects, and trusts its
input. This one reads what was written, including which objects were flagged to be referred to again.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Final

from hermetic.verify.compare.model import Data, Malformed

_FLAG_REF: Final = 0x80
_NODES: Final = 1_000_000
_DEPTH: Final = 200

_COMMON: Final = ("argcount", "posonlyargcount", "kwonlyargcount")
_END_3_8: Final = ("names", "varnames", "freevars", "cellvars", "filename", "name", "firstlineno", "lnotab")
_END_3_11: Final = (
    "names",
    "localsplusnames",
    "localspluskinds",
    "filename",
    "name",
    "qualname",
    "firstlineno",
    "linetable",
    "exceptiontable",
)
FIELDS_3_8: Final = (*_COMMON, "nlocals", "stacksize", "flags", "code", "consts", *_END_3_8)
FIELDS_3_11: Final = (*_COMMON, "stacksize", "flags", "code", "consts", *_END_3_11)
_NUMBERS: Final = frozenset((*_COMMON, "nlocals", "stacksize", "flags", "firstlineno"))

_SINGLES: Final = {"0": "NULL", "N": "None", "F": "False", "T": "True", "S": "StopIteration", ".": "..."}
_SHORT_TEXTS: Final = frozenset("zZ")
_LONG_TEXTS: Final = frozenset("aAtu")


class Node:
    """An object of the stream.

    Attributes:
        kind: `code`, `str`, `bytes`, `int`, `float`, `complex`, `tuple`, `list`, `dict`, `set`,
            `frozenset`, `slice`, or `constant`. How it is stored (short, interned) is not part of it.
        value: of what has no parts; numbers as text.
        items: its parts, in order; for code, those of `fields`.
        flagged: whether the stream says that it may be referred to again.
    """

    __slots__ = ("fields", "flagged", "items", "kind", "value")

    def __init__(self, kind: str, value: bytes | str = "", flagged: bool = False) -> None:
        self.kind = kind
        self.value = value
        self.flagged = flagged
        self.items: list[Node] = []
        self.fields: tuple[str, ...] = ()

    def field(self, name: str) -> Node:
        """A code object's field. Raises Malformed where the version has no such field."""
        if name not in self.fields:
            raise Malformed(f"code objects of this version have no co_{name}")
        return self.items[self.fields.index(name)]

    def text(self) -> str:
        """A name or file name, or an empty text."""
        return self.value.decode("utf-8", "backslashreplace") if isinstance(self.value, bytes) else self.value


def parse(data: Data, fields: tuple[str, ...]) -> Node:
    """The object that the bytes hold.

    Args:
        fields: those of the version's code objects, in order.

    Raises:
        Malformed: the bytes are no marshal stream, or a very large or deep one.
    """
    parser = _Parser(data, fields)
    node = parser.object(0)
    if parser.at != len(data):
        raise Malformed(f"{len(data) - parser.at:,} bytes follow the object")
    return node


class _Parser:
    def __init__(self, data: Data, fields: tuple[str, ...]) -> None:
        self.data = data
        self.at = 0
        self._fields = fields
        self._references: list[Node] = []
        self._count = 0

    def object(self, depth: int) -> Node:
        head = self._take(1)[0]
        flagged, code = bool(head & _FLAG_REF), chr(head & ~_FLAG_REF)
        self._count += 1
        if self._count > _NODES or depth > _DEPTH:
            raise Malformed("more objects, or a deeper nesting, than code has")
        if code == "r":
            return self._reference()
        node = Node("constant", _SINGLES.get(code, ""), flagged)
        if flagged:
            self._references.append(node)
        if code not in _SINGLES:
            self._fill(node, code, depth + 1)
        return node

    def _fill(self, node: Node, code: str, depth: int) -> None:
        if code in _SHORT_TEXTS:
            node.kind, node.value = "str", self._take(self._take(1)[0])
        elif code in _LONG_TEXTS:
            node.kind, node.value = "str", self._take(self._int())
        elif code == "s":
            node.kind, node.value = "bytes", self._take(self._int())
        elif code in _NUMBER_READERS:
            node.kind, read = _NUMBER_READERS[code]
            node.value = read(self)
        elif code in _CONTAINERS:
            node.kind = _CONTAINERS[code]
            count = self._take(1)[0] if code == ")" else self._int()
            for _ in range(count):
                node.items.append(self.object(depth))
        elif code == "{":
            node.kind = "dict"
            while (item := self.object(depth)).value != "NULL" or item.kind != "constant":
                node.items.append(item)
        elif code == ":":
            node.kind = "slice"
            node.items.extend(self.object(depth) for _ in range(3))
        elif code == "c":
            self._code(node, depth)
        else:
            raise Malformed(f"no object begins with {code!r} (offset {self.at - 1:#x})")

    def _code(self, node: Node, depth: int) -> None:
        node.kind, node.fields = "code", self._fields
        for field in self._fields:
            node.items.append(Node("int", str(self._int())) if field in _NUMBERS else self.object(depth))

    def _reference(self) -> Node:
        index = self._int()
        if not 0 <= index < len(self._references):
            raise Malformed(f"reference {index} to one of {len(self._references)} objects")
        return self._references[index]

    def _take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise Malformed(f"{size} bytes wanted at offset {self.at:#x} of {len(self.data):#x}")
        part = self.data[self.at : self.at + size].tobytes()
        self.at += size
        return part

    def _int(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def _long(self) -> str:
        digits = self._int()
        size = abs(digits) * 2
        if size > 1 << 16:
            raise Malformed(f"an integer of {abs(digits):,} digits")
        value = sum(
            digit << 15 * i for i, digit in enumerate(struct.unpack(f"<{abs(digits)}H", self._take(size)))
        )
        return hex(-value if digits < 0 else value)

    def _double(self) -> str:
        return str(struct.unpack("<d", self._take(8))[0].hex())

    def _complex(self) -> str:
        return f"{self._double()} + {self._double()}j"

    def _old_float(self) -> str:
        return self._take(self._take(1)[0]).decode("ascii", "backslashreplace")

    def _old_complex(self) -> str:
        return f"{self._old_float()} + {self._old_float()}j"

    def _int_text(self) -> str:
        return hex(self._int())

    def _int64_text(self) -> str:
        return hex(int.from_bytes(self._take(8), "little", signed=True))


_CONTAINERS: Final = {"(": "tuple", ")": "tuple", "[": "list", "<": "set", ">": "frozenset"}
_NUMBER_READERS: Final[dict[str, tuple[str, Callable[[_Parser], str]]]] = {
    "i": ("int", _Parser._int_text),
    "I": ("int", _Parser._int64_text),
    "l": ("int", _Parser._long),
    "g": ("float", _Parser._double),
    "f": ("float", _Parser._old_float),
    "y": ("complex", _Parser._complex),
    "x": ("complex", _Parser._old_complex),
}


class Digests:
    """Digests of nodes by what they mean, each computed once.

    Args:
        sets_ordered: whether the order in which a set was written counts.
    """

    def __init__(self, *, sets_ordered: bool) -> None:
        self._ordered = sets_ordered
        self._known: dict[int, bytes] = {}

    def of(self, node: Node) -> bytes:
        """The node's digest. Raises RecursionError where references chain too deeply."""
        known = self._known.get(id(node))
        if known is not None:
            return known
        self._known[id(node)] = b"itself"
        value = node.value if isinstance(node.value, bytes) else node.value.encode("utf-8", "surrogatepass")
        parts = [self.of(item) for item in node.items]
        if node.kind in ("set", "frozenset") and not self._ordered:
            parts.sort()
        fields = (node.kind.encode(), value, *parts)
        digest = hashlib.blake2b(
            b"".join(len(f).to_bytes(4, "little") + f for f in fields), digest_size=16
        ).digest()
        self._known[id(node)] = digest
        return digest
