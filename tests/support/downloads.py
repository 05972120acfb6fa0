"""Pins, and fetchers that read no settings of this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from blake3 import blake3

from hermetic.project import lock
from hermetic.project.pin import Pin
from hermetic.sources.fetch import Fetcher, Limits
from hermetic.sources.fetch.machine import Machine

DATA = bytes(range(256)) * 1200


QUICK = Limits(connect=2.0, stall=0.4, min_rate=1024, rate_window=0.3, tries=3, backoff=0.01)


def pin_of(*mirrors: str, data: bytes = DATA, name: str = "thing", file: str = "thing-1.0.tar.gz") -> Pin:
    sha256, b3 = hashlib.sha256(data).hexdigest(), blake3(data).hexdigest()
    return Pin(name, "1.0", file, sha256, b3, len(data), mirrors)


def fetcher(tmp_path: Path, **settings: object) -> Fetcher:
    machine = Machine(QUICK, environ={"HOME": str(tmp_path)}, root=tmp_path / "root")
    settings.setdefault("machine", machine)
    return Fetcher(tmp_path / "downloads", **settings)  # type: ignore[arg-type]


def leftovers(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "downloads").rglob("*") if p.is_file())


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def machine(tmp_path: Path, **environ: str) -> Machine:
    return Machine(QUICK, environ={"HOME": str(tmp_path / "home"), **environ}, root=tmp_path / "root")


PYPI = "pypi:My_Thing==1.0#my_thing-1.0.whl"


DEBIAN = "debian:pool/main/t/thing/thing_1.0+x.orig.tar.gz"


EMPTY = lock.Lock(default={}, sources={}, expect={})


def a_lock(*pins: Pin) -> lock.Lock:
    out = EMPTY
    for pin in pins:
        out = lock.set_pin(out, pin)
    return out
