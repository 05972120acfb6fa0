"""Two trees, entry by entry: what is in one only, kinds, executable bits, link targets, contents."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from hermetic.verify.compare.content import compare_content
from hermetic.verify.compare.model import BuildFacts, Data, Difference, Scope, excerpts, shown, view

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class _Entry(NamedTuple):
    path: Path
    stat: os.stat_result

    @property
    def kind(self) -> str:
        return _KINDS.get(stat.S_IFMT(self.stat.st_mode), "something unknown")


def compare_trees(left: Path, right: Path, *, facts: BuildFacts | None = None) -> list[Difference]:
    """Every entry that differs between two trees (or two files), each with what differs in it.

    Reading files is the only effect. Nothing that a file holds makes it raise; what cannot be read is a
    difference of kind `unreadable`.

    Args:
        left: output of the first build. right: of the rebuild.
        facts: what is known of both builds; it sharpens what is recognised.

    Returns:
        Differences in the order of paths; within a file the telling ones first. Empty exactly if the
        trees are the same: entries, kinds, executable bits, link targets and contents. Times and owners
        are not compared.
    """
    found: list[Difference] = []
    one, other = _entries(left, found), _entries(right, found)
    for name in sorted({*one, *other}):
        here, there = one.get(name), other.get(name)
        path = shown(os.fsencode(name))
        if here is not None and there is not None:
            found += _compare_entries(path, here, there, facts or BuildFacts())
        elif here is not None:
            found.append(Difference(path, "only-left", "", f"{here.kind} only in the first build"))
        elif there is not None:
            found.append(Difference(path, "only-right", "", f"{there.kind} only in the rebuild"))
    return sorted(found, key=lambda d: d.path)


def _entries(root: Path, found: list[Difference]) -> dict[str, _Entry]:
    """Entries by relative path; `.` is the tree. Directories that cannot be read are added to `found`."""
    return dict(_walk(root, ".", found))


def _walk(root: Path, top: str, found: list[Difference]) -> Iterator[tuple[str, _Entry]]:
    waiting = [top]
    while waiting:
        name = waiting.pop()
        path = root / name
        try:
            status = path.lstat()
            children = os.listdir(path) if stat.S_ISDIR(status.st_mode) else []
        except OSError as error:
            found.append(
                Difference(
                    shown(os.fsencode(name)),
                    "unreadable",
                    "",
                    f"{_reason(error)}: {shown(os.fsencode(path))}",
                )
            )
            continue
        yield name, _Entry(path, status)
        waiting += [child if name == "." else f"{name}/{child}" for child in children]


def _reason(error: OSError) -> str:
    return f"cannot be read ({error.strerror or error})"


def _compare_entries(path: str, left: _Entry, right: _Entry, facts: BuildFacts) -> list[Difference]:
    if left.kind != right.kind:
        return [Difference(path, "type", "", f"{left.kind} against {right.kind}")]
    try:
        if stat.S_ISLNK(left.stat.st_mode):
            return _compare_links(_scope(path, left, right, facts), left.path, right.path)
        if stat.S_ISREG(left.stat.st_mode):
            return _compare_files(_scope(path, left, right, facts), left, right)
    except (OSError, ValueError) as error:
        reason = _reason(error) if isinstance(error, OSError) else f"cannot be read ({error})"
        return [Difference(path, "unreadable", "", reason)]
    return []


def _scope(path: str, left: _Entry, right: _Entry, facts: BuildFacts) -> Scope:
    if not facts.times:
        changed = {int(left.stat.st_ctime), int(right.stat.st_ctime)}
        facts = msgspec.structs.replace(facts, times=tuple(sorted(changed)))
    return Scope(path, facts, compare_content, name=path.rpartition("/")[2])


def _compare_links(scope: Scope, left: Path, right: Path) -> list[Difference]:
    # Path.readlink would make `a//b` and `./a/b` the same.
    targets = [os.readlink(path) for path in (left, right)]  # noqa: PTH115
    if targets[0] == targets[1]:
        return []
    one, other = (os.fsencode(target).decode("utf-8", "backslashreplace") for target in targets)
    return [scope.found("link", "", "the link points elsewhere", *excerpts(one, other))]


def _compare_files(scope: Scope, left: _Entry, right: _Entry) -> list[Difference]:
    found = []
    one, other = (bool(e.stat.st_mode & stat.S_IXUSR) for e in (left, right))
    if one != other:
        words = f"the executable bit: {'set' if one else 'not set'} against {'set' if other else 'not set'}"
        found.append(
            scope.found(
                "mode", "", words, f"{left.stat.st_mode & 0o7777:04o}", f"{right.stat.st_mode & 0o7777:04o}"
            )
        )
    return found + compare_content(scope, _mapped(left.path), _mapped(right.path))


def _mapped(path: Path) -> Data:
    """The file's bytes, in memory only as far as they are looked at."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return view(b"")
        return view(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
