"""Logs of builds: one file for each derivation, with links that find the newest by `NAME-VERSION`."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from hermetic.filesystem import replacing
from hermetic.store.layout import Layout

_WORD: Final = re.compile(r"[A-Za-z0-9+._@-]{1,120}")


def log_path(layout: Layout, drv_id: str, label: str = "") -> Path:
    """Where the log of a derivation's build is. With a label, the log can be found by it later."""
    if label and _WORD.fullmatch(label):
        with suppress(OSError), replacing(layout.log / "by-name" / label) as part:  # a convenience only
            Path(part).symlink_to(f"../{drv_id}.log")
    return layout.log / f"{drv_id}.log"


def find_log(layout: Layout, label: str) -> Path | None:
    """The log of the last build under a label, or the newest under a longer one: zlib finds zlib-1.3.1."""
    directory = layout.log / "by-name"
    exact = directory / label
    if _WORD.fullmatch(label) and exact.is_file():
        return exact.resolve()
    found = [p for p in directory.iterdir() if p.name.startswith(f"{label}-") and p.is_file()]
    return max(found, key=lambda p: p.stat().st_mtime_ns).resolve() if found else None
