"""Hashes trees in a process of its own: for small files, Python itself is the limit, and threads share it.

Run as `python -m hermetic.store.hasher`: paths come in on stdin and results go out on stdout, one a line.
"""

from __future__ import annotations

import os
import sys

import msgspec

from hermetic import tree
from hermetic.errors import StoreError


class Result(msgspec.Struct, frozen=True):
    """The hash of one tree.

    Attributes:
        content_hash: empty when it could not be read. error: why. size: bytes. files: how many.
    """

    content_hash: str
    error: str = ""
    size: int = 0
    files: int = 0


def hash_tree(path: str, *, threads: int = 1) -> Result:
    """Hash what is at `path`."""
    try:
        manifest = tree.scan(path, threads=threads)
    except StoreError as error:
        return Result("", error.message)
    return Result(manifest.content_hash, size=manifest.size, files=manifest.files)


def serve() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin.buffer:
        path = os.fsdecode(line.rstrip(b"\n"))
        sys.stdout.buffer.write(msgspec.json.encode(hash_tree(path)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
