"""From a patch and the files it touches to what those files become. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from hermetic.errors import PatchError
from hermetic.sources.patching.model import Change, FilePatch, Files, Hunk
from hermetic.sources.patching.parsing import parse, shown
from hermetic.sources.patching.placing import GnuPlaces, Image, by_git

Tell = Callable[[str], None]


def apply(
    patch_name: str, patch: bytes | str, files: Files, tell: Tell = lambda note: None
) -> dict[str, Change]:
    """What the files that a patch touches become.

    Args:
        patch_name: as it should stand in messages.
        patch: git's format or plain unified diffs; text stands for its UTF-8.
        files: the tree before the patch.
        tell: called with a note for each file in which hunks stand at other lines than they say.

    Returns:
        From path to change.

    Raises:
        PatchError: malformed, or it does not apply; with the line of the hunk, the file, and what was found.
    """
    parts = parse(patch_name, patch)
    return _Application(patch_name, parts, files, tell).run()


class _Application:
    """One patch, while its parts are applied one after the other."""

    def __init__(self, patch_name: str, parts: Sequence[FilePatch], files: Files, tell: Tell) -> None:
        self.patch_name = patch_name
        self.parts = parts
        self.files = files
        self.tell = tell
        self.changes: dict[str, Change] = {}
        # what the patch removes anywhere: two files may swap their names
        self.leaving = {part.source for part in parts if part.source is not None and part.removes_source}
        self.leaving |= {path for part in parts if part.deletes for path in part.candidates}

    def run(self) -> dict[str, Change]:
        for part in self.parts:
            if part.source is None:
                self.change(part)
            else:
                self.move(part, part.source)
        return self.changes

    def fail(self, part: FilePatch, fact: str) -> NoReturn:
        raise PatchError(f"{self.patch_name}:{part.line}: {fact}")

    def current(self, path: str) -> bytes | None:
        return self.changes[path].content if path in self.changes else self.files.read(path)

    def change(self, part: FilePatch) -> None:
        """Change, make or remove one file."""
        path, old = self.choose(part)
        if part.creates and old is not None and not (path in self.leaving and path not in self.changes):
            self.fail(part, f"would create {shown(path)}, which is already there")
        if not part.may_create and old is None:
            self.fail(part, f"{shown(path)} is not in the source")
        if part.creates:
            old = None
        if part.deletes:
            self.check_nothing_is_left(part, path, _split(old or b""))
        new: bytes | None = self.hunks(path, part.hunks, old or b"")
        if part.deletes:
            new = None
        before = Change(None) if part.creates else self.changes.get(path, Change(None))
        executable = before.executable if part.executable is None else part.executable
        self.changes[path] = Change(new, executable, before.mode_of, fresh=part.creates)

    def check_nothing_is_left(self, part: FilePatch, path: str, lines: Sequence[bytes]) -> None:
        """A removal holds all of the file, in one hunk."""
        before = [line for hunk in part.hunks for line in hunk.before]
        left = lines[len(before) :] if lines[: len(before)] == before else []
        left = left or [line for hunk in part.hunks for line in hunk.after]
        if left:
            self.fail(part, f"removes {shown(path)}, but text would be left: {_show(left[0])}")

    def move(self, part: FilePatch, source: str) -> None:
        """Rename or copy one file. Its content is that before the patch, as for git: two may swap names."""
        (target,) = part.candidates
        verb = "renames" if part.removes_source else "copies"
        old = self.files.read(source)
        if old is None:
            self.fail(part, f"{verb} a file that is not in the source: {shown(source)}")
        there = self.current(target) is not None
        if source == target or (there and (target in self.changes or target not in self.leaving)):
            self.fail(part, f"{verb} a file, {shown(source)}, to {shown(target)}, which is already there")
        new = self.hunks(source, part.hunks, old)
        self.changes[target] = Change(new, part.executable, source)
        if part.removes_source and source not in self.changes:
            self.changes[source] = Change(None)

    def choose(self, part: FilePatch) -> tuple[str, bytes | None]:
        """Which file is meant, and its content."""
        found = [(path, old) for path in part.candidates if (old := self.current(path)) is not None]
        if len(found) > 1:
            both = " and ".join(map(shown, part.candidates))
            self.fail(part, f"names two files, {both}, and both are there")
        return found[0] if found else (part.candidates[-1], None)

    def hunks(self, path: str, hunks: tuple[Hunk, ...], old: bytes) -> bytes:
        """The content of a file after its hunks."""
        lines = _split(old)
        image, elsewhere = Image(lines), GnuPlaces(lines)
        done = 0  # lines of the image up to the end of the last hunk
        moved: list[str] = []
        for hunk in hunks:
            at, other = by_git(image, hunk), elsewhere.place(hunk)
            if at is None:
                _refuse_hunk(self.patch_name, path, hunk, image, other)
            if at < done or (other is not None and not image.same(at, other, hunk)):
                _refuse_ambiguous(self.patch_name, path, hunk, at, other)
            image.put(at, hunk)
            elsewhere.put(at if other is None else other, hunk)
            done = at + len(hunk.after)
            stated = hunk.new_start - 1 if hunk.after else hunk.new_start
            if at != stated:
                moved.append(f"line {stated + 1} at {at + 1} ({at - stated:+})")
        for number, line in enumerate(image.lines[:-1], 1):
            if not line.endswith(b"\n"):
                fact = f"would have no line end after line {number}: {_show(line)}"
                raise PatchError(f"{self.patch_name}: {shown(path)} {fact}")
        if moved:
            more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
            self.tell(
                f"{self.patch_name}: {shown(path)}: applied with an offset: {', '.join(moved[:3])}{more}"
            )
        return b"".join(image.lines)


def _split(data: bytes) -> list[bytes]:
    """Lines with their ends. Only LF ends a line: a carriage return is part of it."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _refuse_ambiguous(patch_name: str, path: str, hunk: Hunk, at: int, other: int | None) -> NoReturn:
    """Two tools that people trust would make different sources of it."""
    fact = f"the hunk for {shown(path)}, line {hunk.start}, is ambiguous"
    gnu = "refuses it" if other is None else f"applies it at line {other + 1}"
    details = (f"git apply applies it at line {at + 1}", f"patch -F0 {gnu}")
    hint = "make the patch again from this source, with more context (diff -U10)"
    raise PatchError(f"{patch_name}:{hunk.line}: {fact}", hint=hint, details=details)


def _refuse_hunk(patch_name: str, path: str, hunk: Hunk, image: Image, other: int | None) -> NoReturn:
    """Say which line did not match, at the place where the hunk should have stood."""
    lines = image.lines
    last = len(lines) - len(hunk.before)
    at = 0 if hunk.start <= 1 else last if not hunk.trailing else hunk.new_start - 1
    at = max(min(at, len(lines)), 0)
    if image.matches(max(hunk.start - 1, 0), hunk.before):
        at = max(hunk.start - 1, 0)
    details: tuple[str, ...] = ()
    for number, wanted in enumerate(hunk.before, at):
        found = lines[number] if number < len(lines) else None
        if found != wanted:
            there = "the end of the file" if found is None else _show(found)
            details = (
                f"line {number + 1} of {shown(path)}",
                f"expected: {_show(wanted)}",
                f"found:    {there}",
            )
            break
    fact = f"the hunk for {shown(path)}, line {hunk.start}, does not apply"
    if (
        not details
        and at + len(hunk.before) < len(lines)
        and hunk.after
        and not hunk.after[-1].endswith(b"\n")
    ):
        number = at + len(hunk.after)
        fact += f": {shown(path)} would have no line end after line {number}"
    elif not hunk.before:
        fact += f": the file has {len(lines)} lines"
    hint = None
    if hunk.after and _stand(lines, hunk.after):
        hint = "the change seems to be in the source already"
    elif not details or _stand(lines, hunk.before) or other is not None:
        if not hunk.leading and not hunk.trailing and hunk.start > 1:
            hint = "it has no context (diff -U0), so that git apply refuses it, too: make it with diff -U3"
        elif hunk.start <= 1:
            hint = "a hunk that says line 0 or 1 belongs at the beginning of the file, as for git apply"
        elif not hunk.trailing:
            hint = "a hunk without context after its changes belongs at the end of the file, as for git apply"
        else:
            hint = "its lines are there, but another hunk has them already"
    elif _stand([_unix(line) for line in lines], [_unix(line) for line in hunk.before]):
        hint = "only the line ends (CRLF, LF) differ"
    raise PatchError(f"{patch_name}:{hunk.line}: {fact}", hint=hint, details=details)


def _stand(lines: Sequence[bytes], wanted: Sequence[bytes]) -> bool:
    """Whether lines stand together anywhere."""
    image = Image(lines)
    return bool(wanted) and any(image.matches(at, wanted) for at in range(len(lines) - len(wanted) + 1))


def _unix(line: bytes) -> bytes:
    return line.replace(b"\r\n", b"\n")


def _show(line: bytes) -> str:
    text = line.removesuffix(b"\n").decode("utf-8", "backslashreplace")
    if not line.endswith(b"\n"):
        text += " (no line end)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:200])
