"""What a run tells the outside while it goes on. The command line renders these; nothing here prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

How = Literal["built", "fetched", "unpacked", "cut off", "by another process"]


class Planned(msgspec.Struct, frozen=True):
    """The run begins. Counts are upper bounds: early cutoff may spare some. `bytes`: still to download."""

    builds: int
    fetches: int
    bytes: int
    total: int


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
    """A derivation is realized. `unexpected`: the lock expects other bytes of it; these are them."""

    drv_id: str
    label: str
    how: How
    seconds: float
    object: str
    unexpected: str = ""


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
