"""Patches mean what `git apply` and `patch -F0` mean: the same bytes, or a refusal.

Generated patches, as `git diff` and `diff` make them and people then spoil them, are applied by the tools
themselves and by us. `$HERMETIC_TEST_EXAMPLES` multiplies their number.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from hermetic.errors import PatchError
from hermetic.sources.patching import apply_to_tree
from tests.support.examples import TIMES

GIT: Final = shutil.which("git")
PATCH: Final = shutil.which("patch")
DIFF: Final = shutil.which("diff")
needs_git = pytest.mark.skipif(GIT is None, reason="needs git")
needs_all = pytest.mark.skipif(
    GIT is None or PATCH is None or DIFF is None, reason="needs git, GNU patch and GNU diff"
)

# A tree as a value: from path to content and whether it is executable. Directories follow from the paths.
Tree = dict[str, tuple[bytes, bool]]


def write(root: Path, tree: Tree) -> None:
    root.mkdir()
    for path, (content, executable) in tree.items():
        place = root / os.fsdecode(os.fsencode(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o755 if executable else 0o644)


def read(root: Path) -> Tree:
    out: Tree = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_dir():
            if not any(path.iterdir()):
                out[name + "/"] = (b"", False)
        else:
            out[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return out


def surroundings(base: Path) -> dict[str, str]:
    """An environment in which neither the user's settings nor a repository around the tests are seen."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(base),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(base),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }


class Bench:
    """Applies one patch to one tree with each tool."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.env = surroundings(base)
        self.count = 0

    def applied(self, tree: Tree, by: Callable[[Path, bytes], bool], patch: bytes) -> Tree | None:
        """What the tree becomes, or None when the tool refuses."""
        self.count += 1
        root = self.base / f"t{self.count}"
        write(root, tree)
        try:
            return read(root) if by(root, patch) else None
        finally:
            shutil.rmtree(root)

    def by_git(self, root: Path, patch: bytes) -> bool:
        assert GIT is not None
        command = [GIT, "apply", "--whitespace=nowarn", "-"]
        return self.run(command, root, patch).returncode == 0

    def by_gnu(self, root: Path, patch: bytes) -> bool:
        assert PATCH is not None
        options = ["-p1", "-F0", "--binary", "-N", "-f", "-s", "--no-backup-if-mismatch", "-r-"]
        return self.run([PATCH, *options], root, patch).returncode == 0

    def by_us(self, root: Path, patch: bytes) -> bool:
        try:
            apply_to_tree(root, "p.patch", patch)
        except PatchError as error:
            self.reason = error.message
            return False
        return True

    def run(self, command: list[str], where: Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, cwd=where, input=data, capture_output=True, env=self.env, check=False)

    def diff(self, old: Tree, new: Tree, command: list[str]) -> bytes:
        """The patch from one tree to the other, by a tool that is given `a` and `b`."""
        directory = self.base / "diff"
        directory.mkdir()
        write(directory / "a", old)
        write(directory / "b", new)
        try:
            return self.run([*command, "a", "b"], directory).stdout
        finally:
            shutil.rmtree(directory)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# Making patches

WORDS: Final = [
    b"a",
    b"b",
    b"{",
    b"}",
    b"",
    b"\tx = 1;",
    b"caf\xe9",
    b"\xc3\xa9",
    b"-",
    b"+ y",
    b"@@ -1 +1 @@",
]


def some_text(rng: random.Random) -> list[bytes]:
    """Lines with their ends; few words, so that hunks fit at many places."""
    words = rng.sample(WORDS, rng.choice([2, 3, 5, len(WORDS)]))
    end = rng.choice([b"\n", b"\n", b"\n", b"\r\n"])
    lines = [rng.choice(words) + end for _ in range(rng.choice([0, 1, 2, 5, 12, 30]))]
    if lines and rng.random() < 0.15:
        lines[-1] = lines[-1].rstrip(b"\r\n")
    return [line for line in lines if line]


def edited(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """A few lines added, removed and changed."""
    out = list(lines)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randint(0, len(out))
        cut = rng.choice([0, 0, 1, 2])
        new = [rng.choice(WORDS) + b"\n" for _ in range(rng.choice([0, 1, 2]))]
        out[at : at + cut] = new
    # only the last line may lack its end
    return [line if line.endswith(b"\n") or n == len(out) - 1 else line + b"\n" for n, line in enumerate(out)]


def spoiled(rng: random.Random, patch: bytes) -> bytes:
    """The patch as people leave it: wrong numbers, context that was cut, blanks that an editor took."""
    lines = patch.split(b"\n")
    hunks = [n for n, line in enumerate(lines) if line.startswith(b"@@ -")]
    if not hunks:
        return patch
    at = rng.choice(hunks)
    kind = rng.choice(["none", "none", "numbers", "tail", "head", "both", "blank", "cut"])
    try:
        old, new = (part[1:].split(b",") for part in lines[at].split(b" ")[1:3])
        start, start2 = int(old[0]), int(new[0])
        count, count2 = int([*old, b"1"][1]), int([*new, b"1"][1])
    except (ValueError, IndexError):
        return patch
    end = at + 1
    left, left2 = count, count2
    while end < len(lines) and (left or left2 or lines[end].startswith(b"\\")):
        left -= lines[end][:1] in (b" ", b"-", b"")
        left2 -= lines[end][:1] in (b" ", b"+", b"")
        end += 1
    if kind in ("numbers", "both"):
        shift = rng.choice([-3, -1, 1, 2, 5])
        start, start2 = max(start + shift, 0), max(start2 + shift, 0)
        if rng.random() < 0.3:
            start2 = max(start2 + rng.choice([-2, 2]), 0)
    if kind in ("tail", "both") and lines[end - 1].startswith(b" "):
        del lines[end - 1]
        count, count2 = count - 1, count2 - 1
    elif kind == "head" and lines[at + 1].startswith(b" "):
        del lines[at + 1]
        count, count2 = count - 1, count2 - 1
        if rng.random() < 0.7:
            start, start2 = start + 1, start2 + 1
    elif kind == "blank":
        lines = [b"" if line == b" " else line for line in lines]
    elif kind == "cut":
        return patch[: rng.randint(0, len(patch))]
    if kind != "blank":
        lines[at] = b"@@ -%d,%d +%d,%d @@" % (start, count, start2, count2)
    return b"\n".join(lines)


def compare(bench: Bench, tree: Tree, patch: bytes, tally: Counter[str]) -> None:
    """Ours are the bytes of git, unless we refuse; and what all tools do alike, we do."""
    git = bench.applied(tree, bench.by_git, patch)
    gnu = bench.applied(tree, bench.by_gnu, patch)
    ours = bench.applied(tree, bench.by_us, patch)
    told = f"{tree!r}\n{patch.decode('utf-8', 'backslashreplace')}\ngit: {git}\ngnu: {gnu}\nours: {ours}"
    if ours is not None:
        assert ours == git, told
        tally["applied"] += 1
    elif git is None:
        tally["refused"] += 1
    else:
        # of a patch that is cut within "@@ -" they take what is before it
        assert git != gnu or "not a valid hunk header" in bench.reason, f"{bench.reason}\n{told}"
        tally["ambiguous: " + ("GNU refuses" if gnu is None else "GNU differs")] += 1


@needs_all
@pytest.mark.parametrize("seed", range(8))
def test_one_file_becomes_what_the_tools_make_of_it(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)
    assert GIT is not None and DIFF is not None
    tally: Counter[str] = Counter()
    for _ in range(25 * TIMES):
        old = some_text(rng)
        new = edited(rng, old)
        context = rng.choice([1, 2, 3, 3, 3, 5])
        git_diff = [GIT, "diff", "--no-index", "--text", f"-U{context}", "--no-prefix"]
        command = rng.choice([git_diff, [DIFF, "-a", f"-U{context}", "-r", "-N"]])
        patch = spoiled(
            rng, bench.diff({"f": (b"".join(old), False)}, {"f": (b"".join(new), False)}, command)
        )
        tree = edited(rng, old) if rng.random() < 0.4 else old
        if rng.random() < 0.3:
            tree = tree + [b"tail %d\n" % n for n in range(rng.randint(1, 9))] if _whole(tree) else tree
        compare(bench, {"f": (b"".join(tree), False)}, patch, tally)
    assert tally["applied"] > 3 * TIMES and tally["refused"] > 3 * TIMES, tally


def _whole(lines: list[bytes]) -> bool:
    return not lines or lines[-1].endswith(b"\n")


NAMES: Final = ["f", "d/g", "d/e/h", "name with blanks", "é", "d/\udcff", 'quo"te', "tab\tname", "x.c"]


def some_tree(rng: random.Random) -> Tree:
    return {
        name: (b"".join(some_text(rng)), rng.random() < 0.3)
        for name in rng.sample(NAMES, rng.randint(1, len(NAMES)))
    }


def other_tree(rng: random.Random, tree: Tree) -> Tree:
    """The tree after some work: files changed, made, removed, renamed, and made executable."""
    out = dict(tree)
    for _ in range(rng.randint(1, 4)):
        name = rng.choice(NAMES)
        content, executable = out.get(name, (b"", False))
        kind = rng.choice(["edit", "edit", "mode", "remove", "rename", "empty"])
        if kind == "edit":
            out[name] = (b"".join(edited(rng, content.splitlines(keepends=True))), executable)
        elif kind == "mode" and name in out:
            out[name] = (content, not executable)
        elif kind == "empty":
            out[name] = (b"", executable)
        elif name in out:
            del out[name]
            if kind == "rename":
                out[rng.choice(NAMES)] = (content, executable)
    return out


@needs_git
@pytest.mark.parametrize("seed", range(4))
def test_a_tree_becomes_what_git_makes_of_it(bench: Bench, seed: int) -> None:
    """Several files: new, removed, renamed, copied, with odd names, with other modes."""
    rng = random.Random(seed)
    assert GIT is not None
    tally: Counter[str] = Counter()
    for _ in range(20 * TIMES):
        old = some_tree(rng)
        new = other_tree(rng, old)
        options = rng.choice([[], ["-M"], ["-C", "--find-copies-harder"], ["--no-renames"]])
        command = [GIT, "diff", "--no-index", "--text", "--no-prefix", *options]
        patch = bench.diff(old, new, command)
        if not patch:
            continue
        # lines about renames have no prefix, but here they name the directories that were compared
        patch = re.sub(rb'(?m)^((?:rename|copy) (?:from|to) "?)[ab]/', rb"\1", patch)
        tree = old
        if rng.random() < 0.3:  # it is applied to another tree
            tree = other_tree(rng, old)
        git = bench.applied(tree, bench.by_git, patch)
        ours = bench.applied(tree, bench.by_us, patch)
        told = f"{tree!r}\n{patch.decode('utf-8', 'backslashreplace')}\ngit: {git}\nours: {ours}"
        if tree is old:
            assert ours == git == new, f"{getattr(bench, 'reason', '')}\n{told}"
            tally["applied"] += 1
        elif ours is None and git is not None:
            assert "ambiguous" in bench.reason, f"{bench.reason}\n{told}"
        else:
            assert ours == git, told
            tally["both"] += 1
    assert tally["applied"] > 5 * TIMES and tally["both"] > TIMES, tally
