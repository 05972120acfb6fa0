"""Coverage-guided fuzzing of the pure readers; run by hand, with atheris (which is no dependency) installed:

    python -m tests.bad_input.fuzz patch -max_total_time=180

The first argument is a name in `TARGETS`, the others are libFuzzer's. What raises anything but its own error
is printed and kept as a file `crash-*`, which `python -m tests.bad_input.fuzz patch FILE` reads again.
"""

from __future__ import annotations

import gc
import importlib
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Final

from hermetic.errors import HermeticError
from hermetic.project import lock, recipe
from hermetic.sources import archive, patching
from hermetic.store import published
from tests.bad_input import world
from tests.unit.test_compare_formats import SAMPLES, compare


def _patch(data: bytes) -> None:
    patching.parse("0001-a.patch", data)


def _unpack(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.tar").write_bytes(data)
        archive.unpack(Path(folder) / "a.tar", Path(folder) / "tree", max_bytes=1 << 24)


def _compared(kind: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        found = compare(SAMPLES[kind], data)
        assert bool(found) == (data != SAMPLES[kind])

    return run


_LOCK: Final = world.lock_text([world.pin("lib", "1.0", "lib-1.0.tar", b"x")]).encode()
_LIST: Final = b'{"drv_id":"%b","name":"a","object":"%b-a-1","system":"","version":"1"}\n' % (
    b"a" * 52,
    b"a" * 52,
)
# name → what reads the bytes, and bytes to begin with
TARGETS: Final[dict[str, tuple[Callable[[bytes], object], list[bytes]]]] = {
    "recipe": (
        lambda data: recipe.parse(data, "lib"),
        [t.encode() for f, t in world.FILES.items() if ".toml" in f],
    ),
    "lock": (lambda data: lock.parse(data, "flake-like.lock"), [_LOCK]),
    "patch": (_patch, [world.FILES["patches/lib/0001-salve.patch"].encode()]),
    "list": (lambda data: published.parse(data, "list"), [_LIST]),
    "archive": (
        _unpack,
        [compress(world.tar("p")) for compress in world.COMPRESSORS.values()] + [world.zipped("p")],
    ),
    **{f"compare-{kind}": (_compared(kind), [sample]) for kind, sample in SAMPLES.items()},
}


def main() -> None:
    read, seeds = TARGETS[sys.argv[1]]

    def one(data: bytes) -> None:
        with suppress(HermeticError):
            read(data)

    if len(sys.argv) == 3 and Path(sys.argv[2]).is_file():
        one(Path(sys.argv[2]).read_bytes())
        return
    fuzzing = importlib.import_module("atheris")
    for found in gc.get_objects():
        if isinstance(found, FunctionType) and str(found.__module__).startswith("hermetic."):
            fuzzing.instrument_func(found)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        fuzzing.Setup([sys.argv[0], *sys.argv[2:], corpus], one)
        fuzzing.Fuzz()


if __name__ == "__main__":
    main()
