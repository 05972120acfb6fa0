"""Finds again what was realized before, without the rest of hermetic.

To ask for something that is built already is what people and their scripts do most, and it must not take
longer than looking. So nothing is loaded here, nor by what is imported here, that makes Python slow to start:
no `typing`, `re`, `pathlib`, `contextlib`, `msgspec`, `click`, `sqlite3`. (A test keeps it so.)

Every answer rests on the same facts as that of the whole program: the bytes of the project's files, and the
sentinel of the store object. Where one does not fit, there is no answer here, and the whole program looks.
"""

# ruff: noqa: PTH116
# Because pathlib alone would take a quarter of the time.

from __future__ import annotations

import os
import time

from hermetic import filesystem
from hermetic.project import worktree
from hermetic.store import cache, sentinel

# What `typing.TYPE_CHECKING` stands for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

USED = 86400  # seconds for which a note of last use is good enough


def objects(project: str, store: str, targets: Iterable[str]) -> list[str] | None:
    """Paths of the store objects of targets; None where that takes a closer look.

    Args:
        project, store: their directories, by absolute path.
    """
    meta = store + "/.hermetic"
    try:
        if not _database_is_well(meta):
            return None
        fingerprint = worktree.fingerprint(worktree.read(project))
    except (OSError, ValueError):
        return None
    found = []
    for target in targets:
        data = cache.read(meta + "/eval", _key(fingerprint, target))
        if data is None:
            return None
        name, last_used, mark = data.split(b"\n", 2)
        path = f"{store}/{name.decode()}"
        if time.time() - int(last_used) > USED or not sentinel.fits(path, mark):
            return None
        found.append(path)
    return found


def note(
    evaluations: str | os.PathLike[str], fingerprint: str, target: str, name: str, last_used: int, mark: bytes
) -> None:
    """Keep the answer for a target of a project, if it can be written.

    Args:
        evaluations: the directory `eval` of the store.
        name: of the object. last_used: when its use was last noted. mark: its sentinel.
    """
    cache.write(evaluations, _key(fingerprint, target), b"%b\n%d\n%b" % (name.encode(), last_used, mark))


def _key(fingerprint: str, target: str) -> str:
    return f"{fingerprint}-{target}-object"


def _database_is_well(meta: str) -> bool:
    """Whether nobody but hermetic has touched the database: damage must not be passed over."""
    status = os.stat(meta + "/db.sqlite")
    size, changed = filesystem.whole(meta + "/db.checked", filesystem.NOTE).split()
    return (int(size), int(changed)) == (status.st_size, status.st_mtime_ns)
