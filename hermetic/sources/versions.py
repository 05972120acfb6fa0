"""Versions in the names of files and in addresses: which there are, and which of them are newer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hermetic.project.lock import version_key
from hermetic.project.pin import Pin

# Before a release, or between two. They count only when the present version is of that kind, too.
_UNRELEASED: Final = re.compile(
    r"(?i)~|(?:\d|[._~+-])(?:dev|alpha|beta|pre|rc|a|b)[.-]?\d|[._+-](?:dev|alpha|beta|pre|rc)$"
    r"|[.+-](?:git|svn|hg|bzr|cvs)"
)
_NUMBERS: Final = re.compile(r"\d+")

# In Debian's pool: NAME_VERSION, then of a source archive `.orig.tar.xz` or one that it is completed by
# (`.orig-www.tar.xz`), of a package `_ARCH.deb`.
_SOURCE: Final = re.compile(r"([^_]+)_([^_]+?)\.(orig(?:-[A-Za-z0-9-]+)?)\.tar\.(?:gz|bz2|xz|lzma|zst)")
_PACKAGE: Final = re.compile(r"([^_]+)_([^_]+)_([a-z0-9-]+\.u?deb)")
_BESIDE: Final = re.compile(r"\+~.*")  # versions of other sources in the same archive: `2.0.0+~cs5.0.6`
_REPACKED: Final = re.compile(r"(?:[.+~-](?:dfsg|ds|repack(?:ed)?|debian|clean(?:ed)?|pristine)[0-9.]*)+")
_REALLY: Final = re.compile(r".*[.+~-]really\.?(?=\d)")  # an older version after a newer one was taken back
_LINUX: Final = re.compile(r"(?:many|musl)?linux(?:_\d+_\d+|\d+)?_(\w+)")


def newer(own: str, offered: Iterable[str], line: tuple[str, ...] = ()) -> list[str]:
    """Those of the offered versions that are newer than `own`, the newest first.

    Args:
        line: see `line_of`; versions of other lines do not count.
    """
    unreleased = _UNRELEASED.search(own) is not None
    found = {
        version
        for version in offered
        if version_key(version) > version_key(own)
        and tuple(_NUMBERS.findall(version)[: len(line)]) == line
        and (unreleased or not _UNRELEASED.search(version))
    }
    return sorted(found, key=version_key, reverse=True)


def line_of(pin: Pin) -> tuple[str, ...]:
    """The numbers that all versions of a pin's release line begin with; none where a source has one line.

    A source has lines if the beginning of its version, two numbers or more, stands in the name of a directory
    of a mirror: 3.13 in `python3.13/python3.13_3.13.5.orig.tar.xz`.
    """
    numbers = _NUMBERS.findall(pin.version)
    directories = [mirror.rpartition("/")[0].replace(pin.version, "\0") for mirror in pin.mirrors]
    for length in range(len(numbers) - 1, 1, -1):
        for joint in (".", "_", "-"):
            beginning = re.compile(_alone(joint.join(numbers[:length])))
            if any(beginning.search(directory) for directory in directories):
                return tuple(numbers[:length])
    return ()


def with_version(spec: str, old: str, new: str) -> str:
    """An address with another version: `python3.13/python3.13_3.13.5` becomes `python3.14/python3.14_3.14.7`.

    Beside the whole version, addresses hold its beginning: 3.13 in the name of a package or a directory, 313.
    A beginning is replaced only where no other number stands beside it, and only if it has two components or
    more: a single number may mean anything.
    """
    before, after = _NUMBERS.findall(old), _NUMBERS.findall(new)
    mark = "\0"
    text = spec.replace(old, mark)
    for length in range(len(before) - 1, 1, -1):
        if length < len(after) + 1:
            for joint in (".", "_", "-", ""):
                short, shorter = joint.join(before[:length]), joint.join(after[:length])
                text = re.sub(_alone(short), shorter, text)
    return text.replace(mark, new)


def _alone(number: str) -> str:
    return rf"(?<![\d.]){re.escape(number)}(?!\.?\d)"


def place(path: str, version: str) -> tuple[str, str]:
    """Where other versions of a file stand: the directory to list, and what this version is called in it.

    That is the file's name, or that of the first directory on the way to it that has the version in its name.

    Raises:
        ValueError: the version does not stand in the address.
    """
    scheme, slashes, rest = path.partition("://")
    parts = rest.split("/")
    for number, part in enumerate(parts[1:], 1):
        if re.search(_alone(version), part):
            return scheme + slashes + "/".join(parts[:number]) + "/", part
    raise ValueError(f"the version {version} does not stand in it")


def beside(name: str, version: str, names: Iterable[str]) -> dict[str, str]:
    """Versions of what is called `name` in version `version`, among names of files: version to name."""
    before, _, after = name.partition(version)
    dash = "-" if "-" in version else ""
    pattern = re.compile(
        re.escape(before) + rf"([0-9][A-Za-z0-9.+~_{dash}]*?)" + re.escape(after.replace(version, ""))
    )
    return {match[1]: name for name in names if (match := pattern.fullmatch(name))}


def in_pool(file: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Versions of a file of Debian's pool among names of files, as upstream counts them.

    Returns:
        its own version, and version to file name.

    Raises:
        ValueError: it is neither a source archive nor a package.
    """
    own = _in_pool(file)
    if own is None:
        raise ValueError("neither an .orig.tar nor a .deb")
    found: dict[str, str] = {}
    for name in names:
        other = _in_pool(name)
        if other is not None and other[:2] == own[:2]:
            found.setdefault(other[2], name)
    return own[2], found


def _in_pool(file: str) -> tuple[str, str, str] | None:
    """Name, what it is, version."""
    if match := _SOURCE.fullmatch(file):
        return match[1], match[3], upstream(match[2])
    if match := _PACKAGE.fullmatch(file):
        version, _, revision = match[2].rpartition("-")
        return match[1], match[3], upstream(version or revision)
    return None


def upstream(version: str) -> str:
    """Upstream's version that is meant by a version of Debian, which has neither epoch nor revision.

    `1.3.dfsg+really1.3.1` is 1.3.1, `10.0.13+ds` is 10.0.13. What precedes a release keeps its `~`.
    """
    text = _BESIDE.sub("", version)
    text = re.sub(_REPACKED.pattern + "$", "", text)
    return _REALLY.sub("", text) or version


def in_index(file: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Versions of a file of a package index among names of files: wheels for the same machine, or sources.

    Returns:
        its own version, and version to file name; where there are several, the one that is named most alike.

    Raises:
        ValueError: it is neither a wheel nor a source archive.
    """
    own = _in_index(file)
    if own is None:
        raise ValueError("neither a wheel nor a source archive")
    project, version, machines = own
    found: dict[str, str] = {}
    for name in names:
        other = _in_index(name)
        if other is None or other[0] != project or bool(other[2]) != bool(machines):
            continue
        if not machines or machines & other[2]:
            alike = file.replace(version, other[1]) == name
            found = {**found, other[1]: name} if alike or other[1] not in found else found
    return version, found


def _in_index(file: str) -> tuple[str, str, frozenset[str]] | None:
    """Project, version, and the machines that a wheel is for (none of a source archive)."""
    if file.endswith(".whl"):
        parts = file.removesuffix(".whl").split("-")
        if len(parts) not in (5, 6):
            return None
        machines = frozenset(_LINUX.sub(r"linux_\1", tag) for tag in parts[-1].split("."))
        return _normal(parts[0]), parts[1], machines
    match = re.fullmatch(r"(.+)-(\d[^-]*?)\.(?:tar\.(?:gz|bz2|xz)|tgz|zip)", file)
    return (_normal(match[1]), match[2], frozenset()) if match else None


def _normal(project: str) -> str:
    """A project's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", project).lower()
