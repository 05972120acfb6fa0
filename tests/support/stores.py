"""What the tests of the store share: objects to add, processes that crash, disks that are full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from hermetic import hashing, tree
from hermetic.gc.plan import Options
from hermetic.store.integrity import verify
from hermetic.store.records import Realisation
from hermetic.store.store import Store

# Killing is tried at every STEP-th call that changes something; 1 takes minutes.
STEP = int(os.environ.get("HERMETIC_TEST_STEP", "3"))
ROUNDS = int(os.environ.get("HERMETIC_TEST_ROUNDS", "15"))
ONLY_ROOTS = Options(keep_derivations=False, keep_sources=False)
NOBODY = 65534


def ident(text: object) -> str:
    """Something that looks like a derivation id."""
    return hashing.digest("tests of the store", str(text).encode())


def write_tree(path: Path, text: str) -> Path:
    """A small tree, different for each text."""
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "tool").write_text(f"#!/bin/sh\necho {text}\n")
    (path / "bin" / "tool").chmod(0o755)
    (path / "share").mkdir()
    (path / "share" / "text").write_text(text * 10)
    (path / "share" / "link").symlink_to("text")
    return path


def put(store: Store, text: str, *, inputs: tuple[str, ...] = (), system: str = "s", drv: str = "") -> str:
    """Add an object with a realisation."""
    with store.workspace(f"put-{text}") as space:
        return store.add(
            write_tree(space / "t", text),
            "thing",
            "1.0",
            drv_id=ident(drv or text),
            build_key=ident(f"key of {drv or text}"),
            system=system,
            inputs=inputs,
            seconds=1.5,
        )


def forked(work: Callable[[], object]) -> int:
    """Start `work` in a child process; returns its process id. It ends with 0, or 1 and a traceback."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        sys.setprofile(None)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(child: int, *, within: float = 120) -> int:
    """Wait for a child: its exit code, or minus the signal that killed it."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"a child did not end within {within} s")


# Functions that change something that outlives the process, as the interpreter's profiler names them.
WRITES = frozenset(
    {"rename", "unlink", "rmdir", "mkdir", "chmod", "utime", "open", "write", "pwrite", "ftruncate", "fsync"}
    | {"symlink", "execute", "executemany", "executescript", "flock", "posix_fallocate"}
)


def crash_at(call: int, work: Callable[[], object], *, only: frozenset[str] | None = None) -> bool:
    """Run `work` in a child that ends, as if by kill -9, before its `call`-th call of a C function.

    Args:
        only: count only calls of functions of these names.

    Returns:
        whether it crashed; False: it came to its end before.
    """
    CRASHED = 77

    def run() -> None:
        left = call

        def count(_frame: FrameType, event: str, function: object) -> None:
            nonlocal left
            if event == "c_call" and (only is None or getattr(function, "__name__", "") in only):
                left -= 1
                if left <= 0:
                    os._exit(CRASHED)

        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)

    code = ended(forked(run))
    assert code in (0, CRASHED), f"the child failed with {code}"
    return code == CRASHED


def check(path: Path, *expected: str) -> Store:
    """Open a store and check that nothing registered is lost or wrong, and no leftovers stay."""
    store = Store.open(path)
    report = verify(store)
    assert report.clean, report
    assert not report.foreign, report.foreign
    assert not report.records, report.records
    assert list(store.layout.tmp.iterdir()) == []
    for name in expected:
        assert store.intact(name), f"{name} was lost"
    known = {info.name for info in store.objects()}
    for realisation in store.realisations():
        assert realisation.object in known
    return store


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of a certain size."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", os.fspath(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", os.fspath(path)], check=True)
        path.rmdir()


def as_ordinary_user(work: Callable[[], object]) -> None:
    """Run `work` in a child that is no root (as itself, if this process is none)."""

    def run() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        work()

    assert ended(forked(run)) == 0


def realisation(**changes: object) -> Realisation:
    """Some realisation."""
    fields: dict[str, object] = {
        "drv_id": ident("a"),
        "build_key": ident("b"),
        "object": f"{ident('c')}-thing-1.0",
        "name": "thing",
        "version": "1.0",
    }
    return Realisation(**(fields | changes))  # type: ignore[arg-type]


def _append(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x")
    path.chmod(0o444)
    os.utime(path, ns=(0, 0))


def _add(root: Path) -> None:
    (root / "share").chmod(0o755)
    (root / "share/new").touch()


def _remove(root: Path) -> None:
    (root / "bin").chmod(0o755)
    (root / "bin/tool").unlink()


def _retarget(root: Path) -> None:
    (root / "share").chmod(0o755)
    (root / "share/link").unlink()
    (root / "share/link").symlink_to("else")


ALTERATIONS: dict[str, Callable[[Path], None]] = {
    "content": lambda root: _append(root / "share/text"),
    "mode": lambda root: (root / "bin/tool").chmod(0o444),
    "added": _add,
    "removed": _remove,
    "retargeted": _retarget,
    "gone": tree.remove,
}


def rewrite(text: str) -> Callable[[list[Realisation], Path], Path]:
    return lambda _made, space: write_tree(space / "again", text)


def make_chain(tmp_path: Path) -> dict[str, str]:
    """python <- (zlib, clang), zlib <- (clang, zlib's sources <- archive); and one that nobody needs.

    Made by a process that has ended, so that nothing protects it.
    """
    with Store.open(tmp_path / "store") as store:
        names = {"archive": put(store, "archive", system="")}
        names["source"] = put(store, "source", system="", inputs=(names["archive"],))
        names["clang"] = put(store, "clang")
        names["zlib"] = put(store, "zlib", inputs=(names["clang"], names["source"]))
        names["python"] = put(store, "python", inputs=(names["zlib"], names["clang"]))
        names["other"] = put(store, "other", inputs=(names["clang"],))
    return names


def alive(store: Store, names: dict[str, str]) -> set[str]:
    there = {info.name for info in store.objects()}
    for label, name in names.items():
        assert store.path(name).exists() == (name in there), label
    return {label for label, name in names.items() if name in there}
