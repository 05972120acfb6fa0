"""From a patch and the files it touches to what those files become. Pure."""

from __future__ import annotations

from typing import NoReturn, Protocol

from hermetic.errors import PatchError
from hermetic.sources.patching.model import Change, FilePatch, Files, Hunk
from hermetic.sources.patching.parsing import parse


def apply(patch_name: str, text: str, files: Files) -> dict[str, Change]:
    """What the files that a patch touches become.

    Args:
        patch_name: as it should stand in messages.
        text: the patch; git's format or plain unified diffs.
        files: the tree before the patch.

    Returns:
        From path to change.

    Raises:
        PatchError: malformed, or it does not apply; with the line of the hunk, the file, and what was found.
    """
    changes: dict[str, Change] = {}

    def current(path: str) -> bytes | None:
        return changes[path].content if path in changes else files.read(path)

    for part in parse(patch_name, text):
        path, old = _choose(patch_name, part, current)
        if part.creates and old is not None:
            raise PatchError(f"{patch_name}:{part.line}: would create {path}, which is already there")
        if not part.may_create and old is None:
            raise PatchError(f"{patch_name}:{part.line}: {path} is not in the source")
        new: bytes | None = _apply_hunks(patch_name, path, part.hunks, old or b"")
        if part.deletes:
            if new:
                shown = _show(new.split(b"\n")[0])
                raise PatchError(f"{patch_name}:{part.line}: removes {path}, but text would be left: {shown}")
            new = None
        executable = part.executable
        if executable is None and path in changes:
            executable = changes[path].executable
        changes[path] = Change(new, executable)
    return changes


def _choose(patch_name: str, part: FilePatch, read: _Read) -> tuple[str, bytes | None]:
    """Which file is meant, and its content."""
    found = [(path, content) for path in part.candidates if (content := read(path)) is not None]
    if len(found) > 1:
        both = " and ".join(part.candidates)
        raise PatchError(f"{patch_name}:{part.line}: names two files, {both}, and both are there")
    return found[0] if found else (part.candidates[-1], None)


class _Read(Protocol):
    def __call__(self, path: str) -> bytes | None: ...


# Applying hunks


def _apply_hunks(patch_name: str, path: str, hunks: tuple[Hunk, ...], old: bytes) -> bytes:
    lines = _split(old)
    out: list[bytes] = []
    done = 0  # lines of the old file that are dealt with
    offset = 0  # how far the last hunk stood from where it said
    for hunk in hunks:
        expected = hunk.start - 1 + offset if hunk.before else hunk.start + offset
        at = _find(lines, hunk.before, expected, done)
        if at is None:
            _refuse_hunk(patch_name, path, hunk, lines, expected, done)
        offset += at - expected
        out += lines[done:at]
        out += hunk.after
        done = at + len(hunk.before)
    out += lines[done:]
    for number, line in enumerate(out[:-1], 1):
        if not line.endswith(b"\n"):
            fact = f"would have no line end after line {number}: {_show(line)}"
            raise PatchError(f"{patch_name}: {path} {fact}")
    return b"".join(out)


def _split(data: bytes) -> list[bytes]:
    """Lines with their ends. Only LF ends a line: a carriage return is part of it."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _find(lines: list[bytes], before: tuple[bytes, ...], expected: int, first: int) -> int | None:
    """The place nearest to `expected`, not before `first`, at which the lines of `before` stand."""
    last = len(lines) - len(before)
    if not before:
        return expected if first <= expected <= last else None
    wanted = list(before)
    for distance in range(max(expected - first, last - expected, 0) + 1):
        for at in (expected + distance, expected - distance):
            if first <= at <= last and lines[at] == wanted[0] and lines[at : at + len(wanted)] == wanted:
                return at
    return None


def _refuse_hunk(
    patch_name: str, path: str, hunk: Hunk, lines: list[bytes], expected: int, first: int
) -> NoReturn:
    """Say which line did not match, at the place where the hunk should have stood."""
    at = max(min(expected, len(lines)), first)
    details: tuple[str, ...] = ()
    for number, wanted in enumerate(hunk.before, at):
        found = lines[number] if number < len(lines) else None
        if found != wanted:
            shown = "the end of the file" if found is None else _show(found)
            details = (f"line {number + 1} of {path}", f"expected: {_show(wanted)}", f"found:    {shown}")
            break
    fact = f"the hunk for {path}, line {hunk.start}, does not apply"
    if not hunk.before:
        fact += f": the file has {len(lines)} lines"
    hint = None
    if hunk.after and _find(lines, hunk.after, expected, first) is not None:
        hint = "the change seems to be in the source already"
    elif _find([_unix(line) for line in lines], tuple(map(_unix, hunk.before)), expected, first) is not None:
        hint = "only the line ends (CRLF, LF) differ"
    raise PatchError(f"{patch_name}:{hunk.line}: {fact}", hint=hint, details=details)


def _unix(line: bytes) -> bytes:
    return line.replace(b"\r\n", b"\n")


def _show(line: bytes) -> str:
    text = line.removesuffix(b"\n").decode("utf-8", "backslashreplace")
    if not line.endswith(b"\n"):
        text += " (no line end)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:200])
