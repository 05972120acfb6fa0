"""Reads patches: git's format and plain unified diffs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NoReturn

from hermetic.errors import PatchError
from hermetic.sources.patching.model import FilePatch, Hunk

_HUNK: Final = re.compile(r"@@ -([0-9]{1,9})(?:,([0-9]{1,9}))? \+([0-9]{1,9})(?:,([0-9]{1,9}))? @@")
_INDEX: Final = re.compile(r"index [0-9a-f]+\.\.[0-9a-f]+ ([0-7]+)$")
_TIME: Final = re.compile(
    r"(1969-12-31|1970-01-01) ([0-2][0-9]):([0-5][0-9]):00(?:\.0+)? ([-+])([0-2][0-9]):?([0-5][0-9])$"
)
_FILE_MODES: Final = ("100644", "100755", "100664", "100600")
_REFUSED: Final = (
    ("GIT binary patch", "is a binary patch"),
    ("Binary files ", "is a binary patch"),
    ("diff --cc ", "is a combined diff of a merge"),
    ("diff --combined ", "is a combined diff of a merge"),
    ("***************", "is a context diff"),
)


def parse(patch_name: str, patch: bytes | str) -> list[FilePatch]:
    """Read a patch. Text around the diffs (a mail's header, a commit message) is skipped.

    Args:
        patch: its bytes, in whatever encodings its files have; text stands for its UTF-8.

    Raises:
        PatchError: malformed, of a kind that is not supported, without any change in it, or a path in it
            would leave the tree.
    """
    parts = list(_Parser(patch_name, patch).parts())
    if not parts:
        raise PatchError(f"{patch_name}: holds no patch in unified format")
    return parts


def is_epoch(time: str) -> bool:
    """Whether the time of a `+++` line is the epoch: `diff -N` says so of a file that is not there."""
    match = _TIME.match(time)
    if match is None:
        return False
    zone = (int(match[5]) * 60 + int(match[6])) * (-1 if match[4] == "-" else 1)
    day = -24 * 60 if match[1] == "1969-12-31" else 0
    return day + int(match[2]) * 60 + int(match[3]) == zone


class _Header:
    """What the lines before a file's first hunk say."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.git = False
        self.git_names: tuple[str, str] | None = None
        self.names: tuple[str | None, str | None] | None = None
        self.moved: dict[str, str] = {}  # from "rename from" and its like to the path
        self.creates = False
        self.deletes = False
        self.new_is_epoch = False
        self.executable: bool | None = None


class _Parser:
    """Lines are text; bytes in them that are not UTF-8 are lone surrogates. `encoded` gives the bytes."""

    def __init__(self, patch_name: str, patch: bytes | str) -> None:
        if isinstance(patch, str):
            try:
                patch = patch.encode("utf-8")
            except UnicodeEncodeError:
                raise PatchError(f"{patch_name}: a patch given as text must be valid Unicode") from None
        self.patch_name = patch_name
        self.lines = patch.decode("utf-8", "surrogateescape").split("\n")
        self.ends_in_line = self.lines[-1] != ""
        if not self.ends_in_line:
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
        if line.startswith(("new file mode ", "deleted file mode ", "new mode ", "old mode ")):
            mode = line.rpartition(" ")[2]
            self.check_mode(mode)
            header.creates |= line.startswith("new file")
            header.deletes |= line.startswith("deleted file")
            if line.startswith("new "):
                header.executable = mode == "100755"
        elif header.git and line.startswith(("rename from ", "rename to ", "copy from ", "copy to ")):
            verb, side, name = line.split(" ", 2)
            header.moved[f"{verb} {side}"] = self.plain_path(self.unquote(name), self.at + 1)
        elif match := _INDEX.match(line):
            self.check_mode(match[1])

    def check_mode(self, mode: str) -> None:
        if mode not in _FILE_MODES:
            kind = {"120000": "a symbolic link", "160000": "a submodule"}.get(mode, "something else")
            self.fail(f"only ordinary files can be patched, not {kind}: mode {mode}")

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
        header.new_is_epoch = is_epoch(time)
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

        return re.sub(rb"\\([0-7]{1,3}|.)", replace, encoded(text[1:-1])).decode("utf-8", "surrogateescape")

    def finish(self, header: _Header, hunks: tuple[Hunk, ...]) -> FilePatch:
        source, target, renamed = self.moved_paths(header)
        names = header.names or header.git_names
        if names is None and target is None:
            self.fail("cannot tell which file is meant", header.line)
        candidates: list[str] = []
        for name in names or ():
            if name is not None and (stripped := self.strip(name, header.line)) not in candidates:
                candidates.append(stripped)
        if target is not None:
            if not set(candidates) <= {source, target}:
                self.fail(f"names other files than the {target} that it says it makes", header.line)
            candidates = [target]
        if not candidates:
            self.fail("both sides are /dev/null", header.line)
        if header.git and len(candidates) > 1:
            self.fail(f"names two files, {candidates[0]} and {candidates[1]}, without a rename", header.line)
        if not hunks and header.names is not None:
            self.fail(f"{shown(candidates[-1])} is named, but no hunk follows", header.line)
        changes = header.creates or header.deletes or target is not None
        if not hunks and not changes and header.executable is None:
            self.fail(f"{shown(candidates[-1])} is named, but nothing about it changes", header.line)
        if header.creates and any(hunk.before for hunk in hunks):
            self.fail(f"creates {shown(candidates[-1])}, but expects text in it", header.line)
        if header.creates and len(candidates) > 1:
            candidates = candidates[1:]
        # `diff -N` has no /dev/null: a side without lines, dated at the epoch, is a file that is not there. A
        # side with lines is there whatever its date: the files of a store object are dated at the epoch, too.
        whole = len(hunks) == 1 and not header.git
        return FilePatch(
            line=header.line,
            candidates=tuple(candidates),
            source=source,
            removes_source=renamed,
            creates=header.creates,
            may_create=header.creates or (whole and not hunks[0].before),
            deletes=header.deletes or (whole and not hunks[0].after and header.new_is_epoch),
            executable=header.executable,
            hunks=hunks,
        )

    def moved_paths(self, header: _Header) -> tuple[str | None, str | None, bool]:
        """Source and target of a rename or a copy, and whether it is a rename."""
        if not header.moved:
            return None, None, False
        verb = next(iter(header.moved)).partition(" ")[0]
        if header.moved.keys() != {f"{verb} from", f"{verb} to"}:
            self.fail(f"not a whole rename or copy: {', '.join(header.moved)}", header.line)
        if header.creates or header.deletes:
            self.fail(f"both {verb} and new or deleted file", header.line)
        return header.moved[f"{verb} from"], header.moved[f"{verb} to"], verb == "rename"

    def strip(self, name: str, line: int) -> str:
        """`-p1`, and only what stays in the tree."""
        first, slash, rest = name.partition("/")
        if name.startswith("/") or rest.startswith("/"):
            self.fail(f"an absolute path: {shown(name)}", line)
        if not slash or not first or not rest:
            self.fail(f"the path has no first component to strip (-p1): {shown(name)}", line)
        if first == "..":
            self.fail(f"a path that leaves the tree: {shown(name)}", line)
        return self.plain_path(rest, line)

    def plain_path(self, path: str, line: int) -> str:
        parts = path.split("/")
        if path.startswith("/"):
            self.fail(f"an absolute path: {shown(path)}", line)
        if ".." in parts:
            self.fail(f"a path that leaves the tree: {shown(path)}", line)
        if "" in parts or "." in parts or "\0" in path or len(encoded(path)) > 4000:
            self.fail(f"not a plain path: {shown(path)}", line)
        return path

    def hunks(self) -> tuple[Hunk, ...]:
        out: list[Hunk] = []
        while (line := self.peek()) is not None and line.startswith("@@ -"):
            hunk = self.hunk(line)
            if out and hunk.start < out[-1].start:
                self.fail("hunks are not in the order of the file", hunk.line)
            out.append(hunk)
        return tuple(out)

    def hunk(self, header: str) -> Hunk:
        match = _HUNK.match(header)
        if match is None:
            self.fail(f"not a valid hunk header: {header!r}")
        number = self.at + 1
        old_left = 1 if match[2] is None else int(match[2])
        new_left = 1 if match[4] is None else int(match[4])
        if old_left == new_left == 0:
            self.fail("a hunk without lines")
        self.at += 1
        before: list[bytes] = []
        after: list[bytes] = []
        leading = trailing = 0
        changed = False
        while old_left or new_left:
            if self.at >= len(self.lines):
                self.fail("the patch ends within this hunk", number)
            line = self.lines[self.at]
            sign, content = line[:1], encoded(line[1:]) + b"\n"
            if not line:  # an editor has cut the blank of an empty context line
                sign = " "
            old_left -= sign in " -"
            new_left -= sign in " +"
            if sign not in " +-" or old_left < 0 or new_left < 0:
                self.fail(f"not the line that the hunk of line {number} announces: {line!r}")
            self.at += 1
            if self.at == len(self.lines) and self.ends_in_line:
                self.fail("the patch ends within this line: it has no line end", self.at)
            if self.no_line_end():
                content = content[:-1]
            if sign in " -":
                before.append(content)
            if sign in " +":
                after.append(content)
            changed |= sign != " "
            leading += not changed
            trailing = trailing + 1 if sign == " " else 0
        if not changed:
            self.fail("a hunk that changes nothing", number)
        start, new_start = int(match[1]), int(match[3])
        return Hunk(number, start, new_start, tuple(before), tuple(after), leading, trailing)

    def no_line_end(self) -> bool:
        """Skips `\\ No newline at end of file`, in any language. A shorter line was cut, as for git."""
        if self.at == len(self.lines) or not self.lines[self.at].startswith("\\ "):
            return False
        cut = self.ends_in_line and self.at == len(self.lines) - 1
        if len(encoded(self.lines[self.at])) < (13 if cut else 12):
            return False
        self.at += 1
        return True


def encoded(text: str) -> bytes:
    """The bytes of a line, or of a path."""
    return text.encode("utf-8", "surrogateescape")


def shown(path: str) -> str:
    """A path for a message."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in path[:300])
