"""What a run tells the outside while it goes on. The command line renders these; nothing here prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

How = Literal[
    "built", "fetched", "unpacked", "substituted", "cut off", "by another process", "passed", "skipped"
]


class Planned(msgspec.Struct, frozen=True):
    """The run begins, or has turned out to take more. Counts are of the whole run, and upper bounds.

    Attributes:
        bytes: still to download. substitutes: outputs that a substituter has offered.
        checks: test files to run, which are counted as steps.
    """

    builds: int
    fetches: int
    bytes: int
    total: int
    substitutes: int = 0
    checks: int = 0


class Started(msgspec.Struct, frozen=True):
    """A derivation is being worked on. `log`: where a build writes."""

    drv_id: str
    label: str
    kind: str
    log: Path | None = None


class Transfer(msgspec.Struct, frozen=True):
    """Bytes of a download so far."""

    drv_id: str
    done: int
    total: int
    mirror: str


class Notice(msgspec.Struct, frozen=True):
    """Something that people should know and that is no failure: a mirror that did not answer."""

    drv_id: str
    label: str
    text: str


class Phase(msgspec.Struct, frozen=True):
    """The engine itself does something long to a derivation: copying sources, hashing, registering."""

    drv_id: str
    text: str


class Waiting(msgspec.Struct, frozen=True):
    """Another process works on the same derivation. `holder`: who."""

    drv_id: str
    label: str
    holder: str


class Finished(msgspec.Struct, frozen=True):
    """A derivation is realized.

    Attributes:
        unexpected: the content hash that the lock expects, where the output has another one.
        origin: name of the substituter that it was taken from; empty where it was made here.
    """

    drv_id: str
    label: str
    how: How
    seconds: float
    object: str
    unexpected: str = ""
    origin: str = ""


class Failed(msgspec.Struct, frozen=True):
    """A derivation could not be realized."""

    drv_id: str
    label: str
    message: str


class Skipped(msgspec.Struct, frozen=True):
    """Not tried, because something that it needs failed."""

    drv_id: str
    label: str
    because: str


Event: TypeAlias = Planned | Started | Transfer | Notice | Phase | Waiting | Finished | Failed | Skipped
Listener: TypeAlias = Callable[[Event], None]
