"""A cheap look at an object: is it as it was when it was registered?

The sentinel is a digest over the status (mode, size, time of content, time of change) of a sample of the
object's entries, chosen so that careless changes show: the root, then folders, shallow ones first (whatever
is added, removed or renamed in them changes their times), then executables and the largest files. The time
of change (ctime) cannot be set by programs. An object with fewer entries than the sample is covered whole.

A copied or moved store has other times; a sentinel that does not fit therefore proves nothing, and the store
then hashes the object before it judges.
"""

from __future__ import annotations

from typing import Final

from hermetic.store.quick import digest, fits
from hermetic.tree import Manifest

__all__ = ["choose", "fits", "take"]

SAMPLE: Final = 128  # entries; about 0.2 ms


def choose(manifest: Manifest) -> list[bytes]:
    """The paths to look at."""
    folders = sorted((e.path.count(b"/"), e.path) for e in manifest.entries if e.kind == "dir")
    files = sorted((e.kind != "exec", -e.size, e.path) for e in manifest.entries if e.kind != "dir")
    half = SAMPLE // 2
    count_folders = max(half, SAMPLE - len(files))
    chosen = [path for _, path in folders[:count_folders]]
    return chosen + [path for _, _, path in files[: SAMPLE - len(chosen)]]


def take(root: str, paths: list[bytes]) -> bytes:
    """The sentinel of an object as it is now, with the paths it is taken of.

    Raises:
        OSError: one of them is not there.
    """
    return digest(root, paths) + b"\0".join(paths)
