"""What Debian's archive holds, from its indexes: for archives that list no directories, such as caches."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hermetic.errors import FetchError

if TYPE_CHECKING:
    from hermetic.sources.fetch.machine import Machine

SUITE: Final = "unstable"  # where new versions come first
_MOST: Final = 1 << 30  # bytes of an index
_PACKAGE: Final = re.compile(r"^Filename: .*/(\S+)$", re.M)
_FILES: Final = re.compile(r"^Files:[ ]*\n((?: .*\n)+)", re.M)


def files(machine: Machine, archive: str, path: str) -> list[str]:
    """The names of the files that stand beside a file of the pool, as far as the newest suite has them.

    Args:
        archive: address of an archive. path: `pool/COMPONENT/...`; of a package, packages of its
            architecture are named, otherwise files of sources.

    Raises:
        FetchError: the archive has no such index, or the index does not name the directory.
    """
    directory, file = posixpath.split(path)
    arch = file.removesuffix(".deb").rpartition("_")[2] if file.endswith(".deb") else ""
    kind = f"binary-{arch}/Packages.xz" if arch else "source/Sources.xz"
    url = f"{archive.rstrip('/')}/dists/{SUITE}/{directory.split('/')[1]}/{kind}"
    text = _index(machine, url)
    found = of_packages(text, directory) if arch else of_sources(text, directory)
    if not found:
        raise FetchError(f"{url}: names no file in {directory}")
    return found


def of_packages(text: bytes, directory: str) -> list[str]:
    """The files of a directory, from the text of a `Packages` index."""
    stanzas = _stanzas(text, f"\nFilename: {directory}/")
    return [name for stanza in stanzas for name in _PACKAGE.findall(stanza)]


def of_sources(text: bytes, directory: str) -> list[str]:
    """The files of a directory, from the text of a `Sources` index."""
    lists = [_FILES.search(stanza) for stanza in _stanzas(text, f"\nDirectory: {directory}\n")]
    return [line.split()[-1] for found in lists if found for line in found[1].splitlines()]


def _stanzas(text: bytes, field: str) -> Iterator[str]:
    """The stanzas that hold a field. An index has tens of megabytes, so no pattern runs over it."""
    at = text.find(field.encode())
    while at >= 0:
        start, end = text.rfind(b"\n\n", 0, at + 1), text.find(b"\n\n", at)
        yield text[max(start, 0) : end if end >= 0 else len(text)].decode("utf-8", "replace") + "\n"
        at = text.find(field.encode(), end) if end >= 0 else -1


def _index(machine: Machine, url: str) -> bytes:
    """An index, which is downloaded once."""
    if url not in machine.indexes:
        import lzma

        body = machine.http.get(machine.apt.location(url), "*/*")[0]
        try:
            machine.indexes[url] = lzma.LZMADecompressor().decompress(body, _MOST)
        except lzma.LZMAError as problem:
            raise FetchError(f"{url}: {problem}") from None
    return machine.indexes[url]
