"""What is large takes bounded time. Limits are generous: they find a wrong order of growth on a busy machine.

What it takes exactly is measured by `benchmarks`.
"""

from __future__ import annotations

import gzip
import io
import resource
import struct
import time
import zipfile
from pathlib import Path

from hermetic import hashing, tree
from hermetic.gc import plan as planning
from hermetic.store.store import Store
from hermetic.verify.compare.tree import compare_trees
from tests.unit.test_compare_formats import compare, only
from tests.unit.test_gc import info, made
from tests.unit.test_tree import make


def test_twenty_thousand_small_files_are_quick(tmp_path: Path) -> None:
    """The mark is 1.5 s on tmpfs; ten times that here, for slow disks and busy machines."""
    make(tmp_path / "t", {f"{i // 100}/{i}": b"%d" % i * 300 for i in range(20_000)})
    start = time.monotonic()
    tree.canonicalise(tmp_path / "t")
    tree.scan(tmp_path / "t")
    assert time.monotonic() - start < 15
    tree.remove(tmp_path / "t")


def test_a_hundred_thousand_objects_are_planned_quickly() -> None:
    """The mark is 3 s with reading them from the database; see benchmarks."""
    names = [hashing.digest("x", b"%d" % n) for n in range(110_000)]
    references = [made(n, *names[max(0, i - 3) : i]) for i, n in enumerate(names)]
    objects = [info(n, used=i) for i, n in enumerate(names)]
    start = time.monotonic()
    result = planning.plan(objects, references, [names[9_999]], now=0)
    assert len(result.delete) == 100_000
    assert time.monotonic() - start < 5


def test_a_look_at_a_large_object_is_cheap(store: Store) -> None:
    with store.workspace("large") as space:
        for number in range(3000):
            path = space / "t" / str(number % 50) / str(number)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(str(number))
        name = store.add(space / "t", "large", "1")
    times = []
    for _ in range(10):
        start = time.perf_counter()
        assert store.intact(name)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.002
    for path in (store.path(name) / "7", store.path(name) / "49"):
        path.chmod(0o755)
        (path / "new").touch()
        assert not store.intact(name)
        (path / "new").unlink()
        assert store.intact(name)


def test_to_compare_large_files_takes_bounded_time_and_memory(tmp_path: Path) -> None:
    trees = (tmp_path / "left", tmp_path / "right")
    for side in trees:
        side.mkdir()
    for side, byte in zip(trees, (b"\1", b"\2"), strict=True):
        with (side / "big").open("wb") as file:
            for _ in range(200):
                file.write(b"\0\xff" * (1 << 19))
            file.write(byte)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    found = only(compare_trees(*trees))
    assert time.monotonic() - started < 20
    assert found.words.startswith("209,715,201 bytes, first difference")
    # Mapped pages count as resident; what is copied beyond them must stay small.
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before.ru_maxrss) << 10
    assert grown < 500 << 20


def test_a_small_file_that_unpacks_to_a_huge_one_is_not_unpacked_whole() -> None:
    def bomb(end: bytes) -> bytes:
        return gzip.compress(bytes(200 << 20) + end, mtime=0)

    started = time.monotonic()
    found = compare(bomb(b"a"), bomb(b"b"))
    assert time.monotonic() - started < 30
    assert found[-1].words == "cannot be read (more than 64 MiB unpacked)"


def test_an_archive_of_many_members_that_each_unpack_to_much_takes_bounded_time() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0", bytes(32 << 20))
    member, directory = buffer.getvalue()[:-22].split(b"PK\x01\x02")
    entries = (b"PK\x01\x02" + directory) * 2000  # all name the one member: 60 GiB unpacked
    packed = [
        member
        + entries
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2000, 2000, len(entries), len(member), len(comment))
        + comment
        for comment in (b"one", b"two")
    ]
    started = time.monotonic()
    assert "further parts" in " ".join(d.words for d in compare(*packed))
    assert time.monotonic() - started < 30
