"""How a run is carried out. A module of its own: a run that has nothing to do loads no engine for it."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is carried out. Nothing here has an influence on what is built.

    Attributes:
        jobs: cores to use; None for all.
        keep_going: after a failure go on with what does not depend on it.
        keep_failed: keep the work directory of a build that fails.
        offline: download nothing.
        substitute: directories of other stores that are asked for outputs, in this order.
    """

    jobs: int | None = None
    keep_going: bool = False
    keep_failed: bool = False
    offline: bool = False
    substitute: tuple[Path, ...] = ()
