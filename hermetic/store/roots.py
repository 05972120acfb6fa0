"""Roots: what keeps objects alive.

They are symbolic links in `.hermetic/roots/`, not rows of the database: they survive its loss, and anyone can
read them. A *named* root points at an object. A *link* root, in `roots/auto/`, points at a link elsewhere (a
`result` beside someone's work) that in turn leads to the object. It lapses when that link is gone or leads
elsewhere. Beside it, in `roots/notes/`, stands the name of the object that the link was last seen to lead to.

The rules, because a wrong answer here deletes somebody's object:

- A link root holds the place where the link is, without links on the way: it stays if the directory is later
  reached by another path.
- Where a link leads is found by what directories are (`store.identity`), not by what they are called.
- Only a link that is seen to be gone ends a root (ENOENT, ENOTDIR, or something that is no link stands there).
  If it may not be examined, or the disk fails, the noted object is kept. Without a note (earlier programs wrote
  none) the object is unknown, and a collection is refused.
- A link that still names the noted object keeps it, also if its path is gone or now leads to another store:
  then the store was moved, or a link or mount on the way was.
"""

# The text of links is compared as it stands, which pathlib would change.
# ruff: noqa: PTH115, PTH116, PTH118, PTH119, PTH120

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from hermetic import filesystem
from hermetic.errors import StoreError, UsageError
from hermetic.filesystem import replacing, translated, write_atomically
from hermetic.store.identity import Identity, named_in
from hermetic.store.layout import Layout
from hermetic.store.names import is_object_name
from hermetic.store.records import Root

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._-]{0,99}")
_RESERVED: Final = ("auto", "notes")
_GONE: Final = (FileNotFoundError, NotADirectoryError)


def add(layout: Layout, name: str, target: str) -> None:
    """Make or change a named root. The caller holds the collector's lock shared.

    Raises:
        UsageError: the name will not do.
        StoreError: it cannot be written.
    """
    path = layout.roots / _checked(name)
    with translated(path, "create"):
        _replace_link(path, f"../../{target}")


def add_link(layout: Layout, link: Path, target: str) -> None:
    """Make a link elsewhere and the root that follows it. The caller holds the collector's lock shared.

    Raises:
        StoreError: something that is no link stands there, or it cannot be written.
    """
    named = os.path.abspath(link)  # noqa: PTH100 - the link itself must not be followed
    place = _place(named)
    with translated(place, "create"):
        if os.path.lexists(place) and not os.path.islink(place):  # noqa: PTH114
            raise StoreError(f"{link} exists and is no link", hint="choose another name, or move it away")
        root = _root_of(layout, place)
        # The root first: were we killed between the two, a link without a root would promise too much.
        write_atomically(_note_of(layout, root), f"{target}\n".encode())
        _replace_link(root, place)
        _replace_link(Path(place), os.fspath(layout.object(target).absolute()))
        if named != place:  # earlier programs registered the link under the path that was given
            _remove(layout, _root_of(layout, named))


def _place(path: str) -> str:
    """Where an entry is, without links on the way to it."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _root_of(layout: Layout, link: str) -> Path:
    return layout.link_roots / blake3(os.fsencode(link)).hexdigest()[:32]


def _note_of(layout: Layout, root: Path) -> Path:
    return layout.root_notes / root.name


def _replace_link(path: Path, text: str) -> None:
    with replacing(path) as part:
        Path(part).symlink_to(text)


def remove(layout: Layout, name: str) -> bool:
    """Remove a named root, or the root of a link given by the link's path. False: there is none such."""
    if _NAME.fullmatch(name):
        path = layout.roots / name
        if path.is_symlink():
            _remove(layout, path)
            return True
    wanted = os.path.abspath(name)  # noqa: PTH100
    found = [path for path, link in _links(layout) if link in (wanted, _place(wanted))]
    for path in found:
        _remove(layout, path)
        with translated(layout.root_notes, "remove"):
            _note_of(layout, path).unlink(missing_ok=True)
    return bool(found)


def _remove(layout: Layout, path: Path) -> None:
    with translated(path, "remove"):
        path.unlink(missing_ok=True)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UsageError(
            f"{name!r} cannot be the name of a root", hint="use letters, digits and + . _ -, at most 100"
        )
    return name


def permanent(layout: Layout) -> list[Root]:
    """Named roots and links that still hold, sorted. Whether their objects exist is not looked at.

    Raises:
        StoreError: the store cannot be read.
    """
    return [*_named(layout), *(one.root for one in _followed(layout) if one.root is not None)]


def refuse_unknown(roots: list[Root]) -> None:
    """To be called before anything is deleted.

    Raises:
        StoreError: a root keeps an object, and nobody knows which.
    """
    unknown = [root for root in roots if not root.object]
    if unknown:
        raise StoreError(
            f"cannot tell which object the root {unknown[0].name} keeps: {unknown[0].remark}",
            details=tuple(f"{root.name}: {root.remark}" for root in unknown[1:]),
            hint="run as a user who can read the link, or give the root up with"
            f" `hermetic root remove {unknown[0].name}`",
        )


def lapsed(layout: Layout) -> list[Path]:
    """Link roots whose link is gone or leads elsewhere, and notes that belong to no link root."""
    followed = _followed(layout)
    holding = {one.path.name for one in followed if one.root is not None}
    paths = [one.path for one in followed if one.root is None]
    with translated(layout.root_notes, "read"), suppress(FileNotFoundError):
        paths += [
            path
            for path in sorted(layout.root_notes.iterdir())
            if path.name not in holding and not path.name.startswith(".")
        ]
    return paths


def note_all(layout: Layout) -> None:
    """Note which objects links lead to now: of roots that earlier programs made, and links changed since.

    The caller holds the collector's lock exclusively. A full disk is no error: the old notes stay.

    Raises:
        StoreError: the store cannot be read.
    """
    for one in _followed(layout):
        if one.root is not None and one.root.object not in ("", one.noted) and not one.root.remark:
            with suppress(StoreError):
                write_atomically(_note_of(layout, one.path), f"{one.root.object}\n".encode())


def _named(layout: Layout) -> Iterator[Root]:
    with translated(layout.roots, "read"):
        for path in sorted(layout.roots.iterdir()):
            if path.is_symlink() and not path.name.startswith("."):
                target = os.readlink(path).rpartition("/")[2]
                if is_object_name(target):
                    yield Root("named", path.name, target, int(path.lstat().st_mtime))


def _links(layout: Layout) -> Iterator[tuple[Path, str]]:
    """Each link root, and the path of the link that it follows."""
    with translated(layout.link_roots, "read"):
        for path in sorted(layout.link_roots.iterdir()):
            with suppress(FileNotFoundError):  # removed at this moment
                if path.is_symlink() and not path.name.startswith("."):
                    yield path, os.readlink(path)


class _Followed(NamedTuple):
    """A link root, the object that is noted for it, and what it keeps: None if it lapsed."""

    path: Path
    noted: str
    root: Root | None


def _followed(layout: Layout) -> list[_Followed]:
    identity = Identity(layout)
    found = []
    for path, link in _links(layout):
        noted = _noted(layout, path)
        found.append(_Followed(path, noted, _follow(layout, identity, path, link, noted)))
    return found


def _noted(layout: Layout, path: Path) -> str:
    try:
        data = filesystem.whole(str(_note_of(layout, path)), filesystem.NOTE)
    except OSError:
        return ""
    name = data.decode(errors="replace").strip()
    return name if is_object_name(name) else ""


def _follow(layout: Layout, identity: Identity, path: Path, link: str, noted: str) -> Root | None:
    try:
        status = os.lstat(link)
        if not stat.S_ISLNK(status.st_mode):
            return None
        text = os.readlink(link)
    except _GONE:
        return None
    except OSError as error:
        return Root("link", link, noted, _since(path), f"the link cannot be examined: {error.strerror}")
    named, since = named_in(text), int(status.st_mtime)
    leads = f"the link leads to {text}"
    try:
        found = identity.object_at(os.path.join(os.path.dirname(link), text), noted)
    except _GONE:
        if named and (named == noted or os.path.lexists(layout.object(named))):
            return Root("link", link, named, since, f"{leads}, which does not exist")
        return None
    except OSError as error:
        remark = f"{leads}, which cannot be examined: {error.strerror}"
        return Root("link", link, named or noted, since, remark)
    if found is not None:
        return Root("link", link, found, since)
    return Root("link", link, named, since, f"{leads}, in another store") if named and named == noted else None


def _since(path: Path) -> int:
    with suppress(OSError):
        return int(path.lstat().st_mtime)
    return 0
