"""Reads patches: git's format and plain unified diffs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NoReturn

from hermetic.errors import PatchError
from hermetic.sources.patching.model import FilePatch, Hunk

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
