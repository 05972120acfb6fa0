"""Cases that move bytes: adding large files and many files, checking a store."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.measure import Case
from benchmarks.places import Nix, after, copy, remove, work

_GIB: Final = 1 << 30
_FILES: Final = 20_000


def adding_large(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """One file of 1 GiB."""
    yield from _adding("1 GiB", _large(directory / "large", _GIB), directory, nix, "GB/s", _GIB, 1.0)


def adding_small(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """A tree of many small files."""
    source = _small(directory / "small", _FILES)
    yield from _adding(f"{_FILES:,} small files", source, directory, nix, "s", 1, 1.5, against_nix=0.7)


def _adding(
    what: str,
    source: Path,
    directory: Path,
    nix: Nix | None,
    unit: str,
    amount: float,
    mark: float,
    against_nix: float | None = None,
) -> Iterator[Case]:
    """Copied in, as `nix-store --add` does it; and as after a build, whose output is moved."""
    store, output = directory / "store", directory / "output"

    def renew() -> None:
        remove(store)
        work("open", store)

    def build() -> None:
        renew()
        remove(output)
        copy(source, output)

    yield Case(
        f"copy, hash and add {what}",
        after(renew, lambda: work("add", store, source)),
        after(nix.empty, nix.timed("nix-store", "--add", str(source))) if nix else None,
        unit,
        amount,
        mark,
        against_nix,
    )
    yield Case(
        f"hash and add {what} where a build left it",
        after(build, lambda: work("take", store, output)),
        None,
        unit,
        amount,
        mark,
    )


def checking(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """Large objects and small ones, all in the page cache."""
    store = directory / "store"
    sources = [_large(directory / f"large-{n}", _GIB // 4, seed=n) for n in range(8)]
    sources += [_small(directory / f"small-{n}", 500, seed=n) for n in range(4)]
    work("add", store, *sources)
    if nix:
        nix.empty()
        nix.run("nix-store", "--add", *map(str, sources))
    amount = sum(f.stat().st_size for s in sources for f in (s.rglob("*") if s.is_dir() else [s]))
    yield Case(
        f"check the contents of a store of {amount / 1e9:.1f} GB",
        lambda: work("check", store),
        nix.timed("nix-store", "--verify", "--check-contents") if nix else None,
        unit="GB/s",
        amount=amount,
        mark=3.0,
    )


def optimising(directory: Path, shell: Path, nix: Nix | None) -> Iterator[Case]:
    """Four trees that have nine tenths of their files in common, as versions of a program have."""
    store, trees = directory / "store", [_small(directory / f"tree-{n}", _FILES // 4) for n in range(4)]
    for number, tree in enumerate(trees):
        for file in range(0, _FILES // 4, 10):
            with (tree / f"directory-{file // 100}" / f"file-{file}").open("ab") as out:
                out.write(b"version %d" % number)

    def renew() -> None:
        remove(store)
        work("add", store, *trees)

    def renew_nix() -> None:
        assert nix
        nix.empty()
        nix.run("nix-store", "--add", *map(str, trees))

    yield Case(
        f"share equal files among {_FILES:,}",
        after(renew, lambda: work("optimise", store)),
        after(renew_nix, nix.timed("nix-store", "--optimise")) if nix else None,
        against_nix=1.0,
    )


def _large(path: Path, size: int, seed: int = 0) -> Path:
    block = random.Random(seed).randbytes(1 << 20)
    with path.open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "little") + block[8:])
    return path


def _small(path: Path, count: int, seed: int = 0) -> Path:
    """Files of 0 to 4 kB, 100 in a directory."""
    numbers = random.Random(seed)
    for n in range(count):
        if n % 100 == 0:
            (path / f"directory-{n // 100}").mkdir(parents=True)
        (path / f"directory-{n // 100}" / f"file-{n}").write_bytes(numbers.randbytes(numbers.randrange(4096)))
    return path
