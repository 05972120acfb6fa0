"""What the store keeps beside objects: logs of builds, and evaluations."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from blake3 import blake3

from hermetic.store import quick
from hermetic.errors import StoreError
from hermetic.filesystem import translated
from hermetic.store.layout import Layout, write_atomically

EVALUATIONS: Final = 32  # how many are kept
_WORD: Final = re.compile(r"[A-Za-z0-9+._@-]{1,120}")


def log_path(layout: Layout, drv_id: str, label: str = "") -> Path:
    """Where the log of a derivation's build is. With a label, the log can be found by it later."""
    if label and _WORD.fullmatch(label):
        part = layout.log / f".{os.urandom(6).hex()}.part"
        with suppress(OSError):  # a convenience only
            part.symlink_to(f"../{drv_id}.log")
            part.rename(layout.log / "by-name" / label)
    return layout.log / f"{drv_id}.log"


def find_log(layout: Layout, label: str) -> Path | None:
    """The log of the last build under a label, or the newest under a longer one: zlib finds zlib-1.3.1."""
    folder = layout.log / "by-name"
    exact = folder / label
    if _WORD.fullmatch(label) and exact.is_file():
        return exact.resolve()
    found = [p for p in folder.iterdir() if p.name.startswith(f"{label}-") and p.is_file()]
    return max(found, key=lambda p: p.stat().st_mtime_ns).resolve() if found else None


def get_evaluation(layout: Layout, key: str) -> bytes | None:
    """What was put under a key; None when there is nothing, or it is damaged."""
    return quick.cached(os.fspath(layout.eval), key)


def put_evaluation(layout: Layout, key: str, data: bytes) -> None:
    """Keep an evaluation, and let go of the oldest. A cache: what cannot be written is not."""
    with suppress(StoreError):
        path = layout.eval / quick.file_of(key)
        write_atomically(path, blake3(data).digest(quick.DIGEST_BYTES) + data)
        with translated(layout.eval, "read"):
            files = [(p.stat().st_mtime_ns, p) for p in layout.eval.iterdir() if not p.name.startswith(".")]
            for _, old in sorted(files, reverse=True)[EVALUATIONS:]:
                old.unlink(missing_ok=True)
