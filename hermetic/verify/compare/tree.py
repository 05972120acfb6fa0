"""Two trees, entry by entry: what is in one only, kinds, executable bits, link targets, contents."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from hermetic.verify.compare.model import BuildFacts, Data, Difference, Scope, excerpts, same, shown, text_of

_KINDS: Final = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
}


class _Entry(NamedTuple):
    path: Path
    stat: os.stat_result

    @property
    def kind(self) -> str:
        return _KINDS.get(stat.S_IFMT(self.stat.st_mode), "a special file")


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
    entries, waiting = {}, ["."]
    while waiting:
        name = waiting.pop()
        path = root / name
        try:
            status = path.lstat()
            children = os.listdir(path) if stat.S_ISDIR(status.st_mode) else []
        except OSError as error:
            words = f"cannot be read ({error.strerror}): {shown(os.fsencode(path))}"
            found.append(Difference(shown(os.fsencode(name)), "unreadable", "", words))
            continue
        entries[name] = _Entry(path, status)
        waiting += [child if name == "." else f"{name}/{child}" for child in children]
    return entries


def _compare_entries(path: str, left: _Entry, right: _Entry, facts: BuildFacts) -> list[Difference]:
    if left.kind != right.kind:
        return [Difference(path, "type", "", f"{left.kind} against {right.kind}")]
    try:
        if left.kind == "a symbolic link":
            # Path.readlink would make `a//b` and `./a/b` the same.
            links = [text_of(os.fsencode(os.readlink(entry.path))) for entry in (left, right)]  # noqa: PTH115
            differ = links[0] != links[1]
            return [
                Difference(path, "link", "", "the link points elsewhere", *excerpts(links[0], links[1]))
            ] * differ
        if left.kind == "a file":
            changed = tuple(sorted({int(left.stat.st_ctime), int(right.stat.st_ctime)}))
            return _compare_files(Scope(path, replace(facts, times=facts.times or changed)), left, right)
    except (OSError, ValueError) as error:
        return [Difference(path, "unreadable", "", f"cannot be read ({shown(str(error))})")]
    return []


def _compare_files(scope: Scope, left: _Entry, right: _Entry) -> list[Difference]:
    found = []
    bits = ["set" if entry.stat.st_mode & stat.S_IXUSR else "not set" for entry in (left, right)]
    if bits[0] != bits[1]:
        found.append(scope.found("mode", "", f"the executable bit: {bits[0]} against {bits[1]}"))
    one, other = _mapped(left.path), _mapped(right.path)
    if same(one, other):
        return found
    from hermetic.verify.compare.contents import compare_content  # the readers of formats are slow to load

    scope.budget[0] += 8 * (len(one) + len(other))
    return found + compare_content(scope, one, other)


def _mapped(path: Path) -> Data:
    """The file's bytes, in memory only as far as they are looked at."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
