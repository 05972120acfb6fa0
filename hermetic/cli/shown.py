"""What `hermetic show` printed before: it follows from the project's files and the code that prints it.

Loaded before anything else (see `store.quick`), so nothing is imported that is slow to load.
"""

# ruff: noqa: PTH120
# Because pathlib is slow to load.

from __future__ import annotations

import os

from blake3 import blake3

from hermetic import filesystem
from hermetic.project import worktree
from hermetic.store import cache

_PRINTER = ("show.py", "output.py")
_MOST = 1 << 20  # bytes of a module


def key(fingerprint: str, target: str) -> str:
    """Under which key the text for a target is cached, of a project whose fingerprint is given.

    Raises:
        OSError: our own code cannot be read.
    """
    package = os.path.dirname(__file__)
    printer = blake3(b"".join([filesystem.whole(f"{package}/{name}", _MOST) for name in _PRINTER]))
    return f"{fingerprint}-{target}-shown-{printer.hexdigest()}"


def text(project: str, store: str, target: str) -> str | None:
    """What `show` prints for a target of the work tree; None where nobody has asked for it yet.

    Args:
        project, store: their directories, by absolute path.
    """
    try:
        fingerprint = worktree.fingerprint(worktree.read(project))
        data = cache.read(f"{store}/.hermetic/eval", key(fingerprint, target))
    except (OSError, ValueError):
        return None
    return None if data is None else data.decode()
