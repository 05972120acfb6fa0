"""Patches in unified format, applied strictly (`-p1`): every context line must be there, byte for byte.

A hunk may stand at another line than it says (earlier patches move text); it is looked for at the nearest
place where all of its lines match. Nothing else is forgiven: no fuzz, no rejects, no backup files.

`apply` is pure: from a patch and the files it touches to what those files become. `apply_to_tree` carries
that out on a folder, all or nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn, Protocol

import msgspec

from hermetic.errors import PatchError


class Files(Protocol):
    """Where `apply` reads the files that a patch touches."""

    def read(self, path: str) -> bytes | None:
        """Content of a file, named relative to the root, or None when there is none."""


class Change(msgspec.Struct, frozen=True):
    """What becomes of one file.

    Attributes:
        content: the new content; None: the file is removed.
        executable: its new mode; None: as it was (not executable, for a new file).
    """

    content: bytes | None
    executable: bool | None = None


class Hunk(msgspec.Struct, frozen=True):
    """One stretch of changes.

    Attributes:
        line: where its `@@` stands in the patch.
        start: the first line of `before` in the old file, from 1.
        before, after: the lines that must be there and what stands in their place, each with its line end.
    """

    line: int
    start: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


class FilePatch(msgspec.Struct, frozen=True):
    """All hunks for one file.

    Attributes:
        line: where it begins in the patch.
        candidates: the path, without its first component; two where a plain diff names its sides differently.
        creates: the file must not be there before. may_create: it need not be.
        deletes: nothing may be left of it, and it is removed.
        hunks: in the order of the file.
    """

    line: int
    candidates: tuple[str, ...]
    creates: bool
    may_create: bool
    deletes: bool
    executable: bool | None
    hunks: tuple[Hunk, ...]


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


# Parsing

_HUNK: Final = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: .*)?$")
_REFUSED: Final = (
    ("GIT binary patch", "is a binary patch"),
    ("Binary files ", "is a binary patch"),
    ("rename from ", "renames a file"),
    ("rename to ", "renames a file"),
    ("copy from ", "copies a file"),
    ("copy to ", "copies a file"),
    ("diff --cc ", "is a combined diff of a merge"),
    ("diff --combined ", "is a combined diff of a merge"),
    ("***************", "is a context diff"),
)


def parse(patch_name: str, text: str) -> list[FilePatch]:
    """Read a patch. Text around the diffs (a mail's header, a commit message) is skipped.

    Raises:
        PatchError: malformed, of a kind that is not supported, without any change in it, or a path in it
            would leave the tree.
    """
    parts = list(_Parser(patch_name, text).parts())
    if not parts:
        raise PatchError(f"{patch_name}: holds no patch in unified format")
    return parts


class _Header:
    """What the lines before a file's first hunk say."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.git = False
        self.git_names: tuple[str, str] | None = None
        self.names: tuple[str | None, str | None] | None = None
        self.creates = False
        self.deletes = False
        self.new_is_epoch = False
        self.executable: bool | None = None


class _Parser:
    def __init__(self, patch_name: str, text: str) -> None:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise PatchError(f"{patch_name}: a patch must be UTF-8") from None
        self.patch_name = patch_name
        self.lines = text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.at = 0

    def fail(self, fact: str, line: int | None = None) -> NoReturn:
        raise PatchError(f"{self.patch_name}:{self.at + 1 if line is None else line}: {fact}")

    def peek(self) -> str | None:
        """The line at hand without a carriage return at its end, or None at the end of the patch."""
        return self.lines[self.at].removesuffix("\r") if self.at < len(self.lines) else None

    def parts(self) -> Iterator[FilePatch]:
        header: _Header | None = None
        after_hunk = False
        while (line := self.peek()) is not None:
            if after_hunk and line[:1] in ("+", "-", " ") and not self.is_legal_after_hunk(line):
                self.fail(f"the hunk above has more lines than it says: {line!r}")
            after_hunk = False
            if line.startswith("diff --git "):
                if header is not None:
                    yield self.finish(header, ())
                header = _Header(self.at + 1)
                header.git = True
                header.git_names = self.git_names(line[len("diff --git ") :])
            elif line.startswith("--- ") and self.is_file_header():
                if header is None or header.names is not None:
                    header = _Header(self.at + 1)
                self.file_header(header)
                yield self.finish(header, self.hunks())
                header, after_hunk = None, True
                continue
            elif line.startswith("@@ -"):
                self.fail("a hunk without the name of a file above it")
            elif header is not None:
                self.extended_header(header, line)
            else:
                self.refuse_other_formats(line)
            self.at += 1
        if header is not None:
            yield self.finish(header, ())

    def is_legal_after_hunk(self, line: str) -> bool:
        return line.rstrip() in ("--", "") or (line.startswith("--- ") and self.is_file_header())

    def is_file_header(self) -> bool:
        """Whether `+++` follows on the next line: a mail has `---` of its own."""
        return self.at + 1 < len(self.lines) and self.lines[self.at + 1].startswith("+++ ")

    def refuse_other_formats(self, line: str) -> None:
        for beginning, what in _REFUSED:
            if line.startswith(beginning) and (beginning != "Binary files " or line.endswith(" differ")):
                self.fail(f"{what}, which is not supported: {line!r}")

    def extended_header(self, header: _Header, line: str) -> None:
        self.refuse_other_formats(line)
        words = line.split(" ")
        if line.startswith(("new file mode ", "deleted file mode ", "new mode ", "old mode ")):
            mode = words[-1]
            if mode not in ("100644", "100755", "100664", "100600"):
                self.fail(f"only ordinary files can be patched, not one of mode {mode}")
            header.creates |= line.startswith("new file")
            header.deletes |= line.startswith("deleted file")
            if line.startswith("new "):
                header.executable = mode == "100755"

    def git_names(self, rest: str) -> tuple[str, str] | None:
        """Both names of `diff --git`, where they can be told apart: they matter only if no `---` follows."""
        if rest.startswith('"'):
            match = re.fullmatch(r'("(?:[^"\\]|\\.)*") (.+)', rest)
            return (self.unquote(match[1]), self.unquote(match[2])) if match else None
        middle = len(rest) // 2
        old, new = rest[:middle], rest[middle + 1 :]
        same = rest[middle : middle + 1] == " " and old.partition("/")[2] == new.partition("/")[2]
        return (old, new) if same else None

    def file_header(self, header: _Header) -> None:
        old, _ = self.split_name(self.lines[self.at].removesuffix("\r")[4:])
        new, time = self.split_name(self.lines[self.at + 1].removesuffix("\r")[4:])
        header.names = (old, new)
        header.creates |= old is None
        header.deletes |= new is None
        header.new_is_epoch = time.startswith(("1970-01-01", "1969-12-31"))
        if header.creates and header.deletes:
            self.fail("both creates and removes a file")
        self.at += 2

    def split_name(self, text: str) -> tuple[str | None, str]:
        """The name and the time of a `---` or `+++` line; the name is None for /dev/null."""
        if text.startswith('"'):
            match = re.match(r'"(?:[^"\\]|\\.)*"', text)
            if match is None:
                self.fail(f"a name with an open quote: {text!r}")
            name, time = self.unquote(match[0]), text[match.end() :].strip()
        else:
            name, _, time = text.partition("\t")
            name = name.rstrip()
        return (None if name == "/dev/null" else name), time

    def unquote(self, text: str) -> str:
        """A name as git quotes it: C escapes, octal for bytes beyond ASCII."""
        if not text.startswith('"'):
            return text
        simple = {"n": b"\n", "t": b"\t", "r": b"\r", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}

        def replace(match: re.Match[bytes]) -> bytes:
            code = match[1].decode("ascii", "replace")
            if code[0] in "01234567":
                return bytes([int(code, 8) & 0xFF])
            return simple.get(code, match[1])

        raw = re.sub(rb"\\([0-7]{1,3}|.)", replace, text[1:-1].encode())
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(f"a name that is not UTF-8: {text}")

    def finish(self, header: _Header, hunks: tuple[Hunk, ...]) -> FilePatch:
        names = header.names or header.git_names
        if names is None:
            self.fail("cannot tell which file is meant", header.line)
        candidates: list[str] = []
        for name in names:
            if name is not None and (stripped := self.strip(name, header.line)) not in candidates:
                candidates.append(stripped)
        if not candidates:
            self.fail("both sides are /dev/null", header.line)
        if header.git and len(candidates) > 1:
            self.fail(f"renames {candidates[0]} to {candidates[1]}, which is not supported", header.line)
        if not hunks and header.names is not None:
            self.fail(f"{candidates[-1]} is named, but no hunk follows", header.line)
        if not hunks and not header.creates and not header.deletes and header.executable is None:
            self.fail(f"{candidates[-1]} is named, but nothing about it changes", header.line)
        if header.creates and len(candidates) > 1:
            candidates = candidates[1:]
        # `diff -N` has no /dev/null: a side without lines, dated at the epoch, is a file that is not there.
        whole = len(hunks) == 1 and not header.git
        return FilePatch(
            line=header.line,
            candidates=tuple(candidates),
            creates=header.creates,
            may_create=header.creates or (whole and hunks[0].start == 0),
            deletes=header.deletes or (whole and not hunks[0].after and header.new_is_epoch),
            executable=header.executable,
            hunks=hunks,
        )

    def strip(self, name: str, line: int) -> str:
        """`-p1`, and only what stays in the tree."""
        first, slash, rest = name.partition("/")
        if name.startswith("/") or rest.startswith("/"):
            self.fail(f"an absolute path: {name}", line)
        if not slash or not first or not rest:
            self.fail(f"the path has no first component to strip (-p1): {name}", line)
        parts = rest.split("/")
        if ".." in parts or first == "..":
            self.fail(f"a path that leaves the tree: {name}", line)
        if "" in parts or "." in parts or "\0" in name or len(rest.encode()) > 4000:
            self.fail(f"not a plain path: {name!r}", line)
        return rest

    def hunks(self) -> tuple[Hunk, ...]:
        out: list[Hunk] = []
        end = 0
        while (line := self.peek()) is not None and line.startswith("@@"):
            hunk = self.hunk(line)
            position = hunk.start - 1 if hunk.before else hunk.start
            if position < end:
                self.fail("hunks overlap or are not in the order of the file", hunk.line)
            end = position + len(hunk.before)
            out.append(hunk)
        return tuple(out)

    def hunk(self, header: str) -> Hunk:
        match = _HUNK.match(header)
        if match is None:
            self.fail(f"not a valid hunk header: {header!r}")
        number = self.at + 1
        start = int(match[1])
        old_left = 1 if match[2] is None else int(match[2])
        new_left = 1 if match[4] is None else int(match[4])
        if old_left == new_left == 0:
            self.fail("a hunk without lines")
        if start == 0 and old_left:
            self.fail("lines of a file are counted from 1")
        self.at += 1
        before: list[bytes] = []
        after: list[bytes] = []
        while old_left or new_left:
            if self.at >= len(self.lines):
                self.fail("the patch ends within this hunk", number)
            line = self.lines[self.at]
            sign, content = line[:1], (line[1:] + "\n").encode()
            if line in ("", "\r"):  # an editor has cut the blank of an empty context line
                sign, content = " ", (line + "\n").encode()
            old_left -= sign in " -"
            new_left -= sign in " +"
            if sign not in " +-" or old_left < 0 or new_left < 0:
                self.fail(f"not the line that the hunk of line {number} announces: {line!r}")
            self.at += 1
            if self.no_line_end():
                content = content[:-1]
            if sign in " -":
                before.append(content)
            if sign in " +":
                after.append(content)
        if before == after:
            self.fail("a hunk that changes nothing", number)
        return Hunk(number, start, tuple(before), tuple(after))

    def no_line_end(self) -> bool:
        """Skips `\\ No newline at end of file`."""
        if self.at < len(self.lines) and self.lines[self.at].startswith("\\ "):
            self.at += 1
            return True
        return False


# On a folder


class Tree:
    """The files below a folder. Symbolic links are never followed, at no level."""

    def __init__(self, root: Path, patch_name: str) -> None:
        self.root = root
        self.patch_name = patch_name

    def read(self, path: str) -> bytes | None:
        """Content of a file, or None when there is none.

        Raises:
            PatchError: it is no ordinary file, or a symbolic link is on the way to it.
        """
        place = self.root
        for part in path.split("/"):
            place = place / part
            try:
                mode = place.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as problem:
                raise PatchError(f"{self.patch_name}: {path}: {problem.strerror}") from None
            if stat.S_ISLNK(mode):
                shown = place.relative_to(self.root)
                raise PatchError(f"{self.patch_name}: {path}: {shown} is a symbolic link")
        if not stat.S_ISREG(mode):
            raise PatchError(f"{self.patch_name}: {path} is no ordinary file")
        try:
            return place.read_bytes()
        except OSError as problem:
            raise PatchError(f"{self.patch_name}: cannot read {path}: {problem.strerror}") from None


def apply_to_tree(root: Path, patch_name: str, text: str) -> tuple[str, ...]:
    """Apply a patch to the files below `root`: all of it, or nothing.

    Files that change get the epoch as their time, so that no build tool thinks one of them newer than what
    was made from it.

    Returns:
        The paths that changed, sorted.

    Raises:
        PatchError: it does not apply, or cannot be written. The tree is as it was.
    """
    changes = apply(patch_name, text, Tree(root, patch_name))
    undo: list[_Undo] = []
    try:
        for path in sorted(changes):
            undo.append(_write(root / path, changes[path]))
    except OSError as problem:
        for step in reversed(undo):
            step.run()
        where = f" {problem.filename}" if problem.filename else ""
        raise PatchError(f"{patch_name}: cannot write{where}: {problem.strerror}") from problem
    for step in undo:
        step.forget()
    return tuple(sorted(changes))


class _Undo(msgspec.Struct):
    """How to take back the change of one file: the old file waits under another name until all is done."""

    path: Path
    kept: Path | None
    made_folders: list[Path]

    def run(self) -> None:
        if self.kept is not None:
            self.kept.replace(self.path)
        else:
            self.path.unlink(missing_ok=True)
        for folder in reversed(self.made_folders):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def forget(self) -> None:
        if self.kept is not None:
            self.kept.unlink()


def _write(path: Path, change: Change) -> _Undo:
    made_folders = [folder for folder in reversed(path.parents) if not folder.exists()]
    undo = _Undo(path, None, made_folders)
    mode = 0o644
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            kept = _spare_name(path)
            os.link(path, kept)
            undo.kept = kept
        if change.content is None:
            path.unlink(missing_ok=True)
        else:
            if change.executable is not None:
                mode = mode | 0o111 if change.executable else mode & ~0o111
            _replace(path, change.content, mode)
    except OSError:
        undo.run()
        raise
    return undo


def _replace(path: Path, content: bytes, mode: int) -> None:
    import tempfile

    handle, name = tempfile.mkstemp(prefix=".hermetic-patch-", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.utime(file.fileno(), ns=(0, 0))
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _spare_name(path: Path) -> Path:
    for number in range(1000):
        spare = path.with_name(f".hermetic-patch-{number}-kept")
        if not spare.exists():
            return spare
    raise FileExistsError(17, "no free name for the old file", str(path))
