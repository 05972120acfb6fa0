"""Roots: what keeps objects alive.

They are symbolic links in `.hermetic/roots/`, not rows of the database: they survive its loss, and anyone can
read them. A *named* root points at an object. A *link* root, in `roots/auto/`, points at a link elsewhere (a
`result` beside someone's work) that in turn points at the object; it lapses when that link is removed or
points elsewhere.
"""

# The text of links is compared as it stands, which pathlib would change.
# ruff: noqa: PTH115

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from blake3 import blake3

from hermetic.errors import StoreError, UsageError
from hermetic.filesystem import replacing, translated
from hermetic.store.layout import Layout
from hermetic.store.names import is_object_name
from hermetic.store.records import Root

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._-]{0,99}")


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
    link = Path(os.path.abspath(link))  # noqa: PTH100 - the link itself must not be followed
    with translated(link, "create"):
        if not link.is_symlink() and os.path.lexists(link):
            raise StoreError(f"{link} exists and is no link", hint="choose another name, or move it away")
        registered = layout.roots / "auto" / blake3(os.fsencode(link)).hexdigest()[:32]
        # The root first: were we killed between the two, a link without a root would promise too much.
        _replace_link(registered, os.fspath(link))
        _replace_link(link, os.fspath(layout.object(target).absolute()))


def _replace_link(path: Path, text: str) -> None:
    with replacing(path) as part:
        Path(part).symlink_to(text)


def remove(layout: Layout, name: str) -> bool:
    """Remove a named root, or the root of a link given by the link's path. False: there is none such."""
    if _NAME.fullmatch(name):
        path = layout.roots / name
        if path.is_symlink():
            with translated(path, "remove"):
                path.unlink()
            return True
    wanted = os.path.abspath(name)  # noqa: PTH100
    for path in (layout.roots / "auto").iterdir():
        if os.readlink(path) == wanted:
            with translated(path, "remove"):
                path.unlink()
            return True
    return False


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name == "auto":
        raise UsageError(
            f"{name!r} cannot be the name of a root", hint="use letters, digits and + . _ -, at most 100"
        )
    return name


def permanent(layout: Layout) -> list[Root]:
    """Named roots and links that still hold, sorted. Whether their objects exist is not looked at."""
    return [root for path, root in _all(layout) if root is not None]


def lapsed(layout: Layout) -> list[Path]:
    """Link roots whose link is gone or points elsewhere."""
    return [path for path, root in _all(layout) if root is None]


def _all(layout: Layout) -> list[tuple[Path, Root | None]]:
    result: list[tuple[Path, Root | None]] = []
    store = os.fspath(layout.root.absolute())
    stores = {store, os.path.realpath(store)}
    with translated(layout.roots, "read"):
        for path in sorted(layout.roots.iterdir()):
            if path.is_symlink() and not path.name.startswith("."):
                target = os.readlink(path).rpartition("/")[2]
                if is_object_name(target):
                    since = int(path.lstat().st_mtime)
                    result.append((path, Root("named", path.name, target, since)))
        for path in sorted((layout.roots / "auto").iterdir()):
            if path.is_symlink() and not path.name.startswith("."):
                result.append((path, _follow(path, stores)))
    return result


def _follow(path: Path, stores: set[str]) -> Root | None:
    try:
        link = os.readlink(path)
        text = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))  # noqa: PTH118, PTH120
        since = int(os.lstat(link).st_mtime)
    except OSError:
        return None
    for store in stores:
        if text.startswith(store + "/"):
            target = text[len(store) + 1 :].split("/", 1)[0]
            if is_object_name(target):
                return Root("link", link, target, since)
    return None
