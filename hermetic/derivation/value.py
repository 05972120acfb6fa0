"""The derivation as a value, its id and its build key.

A derivation holds no path of the machine and no hash of the store: inputs stand at *logical paths*
(`/hermetic/<system>/<name>`), so an output cannot contain the name of what it was built from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from hermetic import hashing

PREFIX: Final = "/hermetic"
_BYTES: Final = "not UTF-8; one character for each byte:\n"


class Fetch(msgspec.Struct, frozen=True, tag_field="kind", tag="fetch"):
    """A file whose content is known beforehand. Where it comes from is not part of it.

    Attributes:
        sha256: hex; what upstream publishes. blake3: hex. size: bytes.
    """

    name: str
    version: str
    sha256: str
    blake3: str
    size: int


class Patch(msgspec.Struct, frozen=True):
    """A patch in unified format (`-p1`), with the file name it is reported by.

    Attributes:
        text: its UTF-8; of a patch that is not UTF-8 each byte as one character, after a line that says so. A
            derivation is hashed as text, and the two ways cannot be mistaken for each other.
    """

    name: str
    text: str

    @classmethod
    def of(cls, name: str, data: bytes) -> Patch:
        """The patch of a file's bytes."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        if data and (not text or text.startswith(_BYTES)):
            text = _BYTES + data.decode("latin-1")
        return cls(name, text)

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        if self.text.startswith(_BYTES):
            return self.text.removeprefix(_BYTES).encode("latin-1")
        return self.text.encode("utf-8")


class Unpack(msgspec.Struct, frozen=True, tag_field="kind", tag="unpack"):
    """An archive and patches, applied in order, give a tree.

    Attributes:
        source: derivation id of the archive.
    """

    name: str
    version: str
    source: str
    patches: tuple[Patch, ...] = ()


class Build(msgspec.Struct, frozen=True, tag_field="kind", tag="build"):
    """A script that runs in a sandbox and leaves its output at `out`.

    Attributes:
        system: name of the host system. cpu: its baseline.
        out: logical path of the output.
        sources: path below /build to derivation id; each tree or file is copied there, writable. The script
            starts in `/build/source` where there is one.
        inputs: logical path to derivation id; mounted read-only.
        links: symbolic links of the sandbox's root outside of /hermetic, such as `/bin/sh`.
        env: the whole environment, but for what depends on the machine's size (`JOBS`, `MAKEFLAGS`).
        script: text of the POSIX shell script.
    """

    name: str
    version: str
    system: str
    cpu: str
    out: str
    sources: dict[str, str]
    inputs: dict[str, str]
    links: dict[str, str]
    env: dict[str, str]
    script: str


Derivation: TypeAlias = Fetch | Unpack | Build


def inputs_of(drv: Derivation) -> tuple[str, ...]:
    """Derivation ids of the direct inputs, sorted, each once."""
    if isinstance(drv, Fetch):
        return ()
    if isinstance(drv, Unpack):
        return (drv.source,)
    return tuple(sorted({*drv.inputs.values(), *drv.sources.values()}))


def derivation_id(drv: Derivation) -> str:
    """The hash of everything that can change the result, inputs named by their derivation ids."""
    return hashing.digest(hashing.DERIVATION, hashing.canonical(msgspec.to_builtins(drv)))


def build_key(drv: Derivation, content_of: Callable[[str], str]) -> str:
    """The same with each input named by the content hash of its output.

    Args:
        content_of: from an input's derivation id to the content hash of its output.
    """
    record = msgspec.to_builtins(drv)
    if isinstance(drv, Unpack):
        record["source"] = content_of(drv.source)
    elif isinstance(drv, Build):
        record["sources"] = {path: content_of(i) for path, i in drv.sources.items()}
        record["inputs"] = {path: content_of(i) for path, i in drv.inputs.items()}
    return hashing.digest(hashing.BUILD_KEY, hashing.canonical(record))
