"""Patches apply strictly, wholly, and only inside the tree."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import HermeticError, PatchError
from hermetic.sources.patching import apply, apply_to_tree, parse
from tests.support.examples import examples


class Memory:
    """Files that are a dictionary."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("__", "/"): content for name, content in files.items()}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


TEN = "".join(f"line {n}\n" for n in range(1, 11))
NEW = "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n"
CHANGE_5 = """--- a/f
+++ b/f
@@ -4,3 +4,3 @@ some heading
 line 4
-line 5
+LINE 5
 line 6
"""


def patched(text: str, **files: bytes) -> dict[str, bytes | None]:
    return {path: change.content for path, change in apply("p.patch", text, Memory(**files)).items()}


def refusal(text: str, **files: bytes) -> PatchError:
    with pytest.raises(PatchError) as caught:
        apply("p.patch", text, Memory(**files))
    return caught.value


def test_a_hunk_replaces_its_lines() -> None:
    assert patched(CHANGE_5, f=TEN.encode()) == {"f": TEN.replace("line 5", "LINE 5").encode()}


def test_a_hunk_is_found_where_it_has_moved_to() -> None:
    moved = b"new first\nnew second\n" + TEN.encode()
    assert patched(CHANGE_5, f=moved) == {"f": moved.replace(b"line 5", b"LINE 5")}


def test_the_nearest_place_is_taken() -> None:
    block = b"line 4\nline 5\nline 6\n"
    text = block + b"x\n" * 20 + block
    assert patched(CHANGE_5, f=text) == {"f": text.replace(b"line 5", b"LINE 5", 1)}
    assert patched(CHANGE_5.replace("-4,3 +4,3", "-20,3 +20,3"), f=text) == {
        "f": block + b"x\n" * 20 + block.replace(b"line 5", b"LINE 5")
    }


def test_there_is_no_fuzz() -> None:
    error = refusal(CHANGE_5, f=TEN.replace("line 4", "Line 4").encode())
    assert error.message == "p.patch:3: the hunk for f, line 4, does not apply"
    assert error.details == ("line 4 of f", "expected: line 4", "found:    Line 4")


def test_a_change_that_is_there_already_is_said_to_be() -> None:
    error = refusal(CHANGE_5, f=TEN.replace("line 5", "LINE 5").encode())
    assert error.hint == "the change seems to be in the source already"


def test_other_line_ends_are_said_to_be_the_reason() -> None:
    error = refusal(CHANGE_5, f=TEN.replace("\n", "\r\n").encode())
    assert error.hint == "only the line ends (CRLF, LF) differ"


def test_lines_with_carriage_returns_are_patched_as_they_are() -> None:
    crlf = (
        CHANGE_5.replace("line 4\n", "line 4\r\n").replace("5\n", "5\r\n").replace("line 6\n", "line 6\r\n")
    )
    assert patched(crlf, f=TEN.replace("\n", "\r\n").encode()) == {
        "f": TEN.replace("\n", "\r\n").replace("line 5", "LINE 5").encode()
    }


def test_bytes_that_are_not_utf8_around_a_change_stay() -> None:
    text = b"\xff\xfe\n" + TEN.encode() + b"\xe9\n"
    assert patched(CHANGE_5, f=text) == {"f": text.replace(b"line 5", b"LINE 5")}


def test_a_file_is_created_with_its_mode() -> None:
    text = "diff --git a/d/n b/d/n\nnew file mode 100755\nindex 0..1\n" + NEW.replace("b/n", "b/d/n")
    (change,) = apply("p", text, Memory()).values()
    assert (change.content, change.executable) == (b"x\n", True)


def test_an_empty_file_is_created() -> None:
    assert patched("diff --git a/e b/e\nnew file mode 100644\nindex 000..e69\n") == {"e": b""}


def test_creating_what_is_there_is_refused() -> None:
    text = "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n"
    assert "already there" in refusal(text, f=b"").message


def test_a_file_is_removed_only_when_nothing_would_be_left() -> None:
    text = "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
    assert patched(text, f=b"x\n") == {"f": None}
    assert "text would be left" in refusal(text, f=b"x\ny\n").message


def test_patching_what_is_not_there_is_refused() -> None:
    assert refusal(CHANGE_5).message == "p.patch:1: f is not in the source"


def test_a_missing_line_end_is_matched_and_made() -> None:
    text = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+y\n"
    assert patched(text, f=b"x") == {"f": b"y\n"}
    assert "does not apply" in refusal(text, f=b"x\n").message
    back = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n\\ No newline at end of file\n"
    assert patched(back, f=b"x\n") == {"f": b"y"}


def test_a_missing_line_end_in_the_middle_is_refused() -> None:
    text = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n\\ No newline at end of file\n"
    assert "no line end after line 1" in refusal(text, f=b"x\nz\n").message


def test_a_series_in_one_file_applies_in_order() -> None:
    text = CHANGE_5 + CHANGE_5.replace("LINE 5", "5th").replace("-line 5", "-LINE 5")
    assert patched(text, f=TEN.encode()) == {"f": TEN.replace("line 5", "5th").encode()}


def test_a_mail_around_the_patch_is_skipped() -> None:
    mail = "From 123\nSubject: [PATCH] x\n\nWords.\n---\n f | 2 +-\n\ndiff --git a/f b/f\nindex 1..2 100644\n"
    assert (
        patched(mail + CHANGE_5 + "-- \n2.39.2\n\n", f=TEN.encode())["f"]
        == TEN.replace("line 5", "LINE 5").encode()
    )


def test_quoted_names_are_understood() -> None:
    text = CHANGE_5.replace("a/f", '"a/\\303\\251 x"').replace("b/f", '"b/\\303\\251 x"')
    files = Memory()
    files.files["é x"] = TEN.encode()
    assert list(apply("p", text, files)) == ["é x"]


def test_orig_names_of_plain_diffs_find_the_file() -> None:
    text = CHANGE_5.replace("--- a/f", "--- pkg-1.0.orig/f.orig\t2020-01-01").replace(
        "b/f", "pkg-1.0/f\t2020-01-02"
    )
    assert list(patched(text, f=TEN.encode())) == ["f"]


# Where a hunk belongs: as for git apply and patch -F0 (tests/stress/test_patch_tools.py asks them)

END = "--- a/f\n+++ b/f\n@@ -8,3 +8,4 @@\n line 8\n line 9\n line 10\n+line 11\n"
BEGINNING = "--- a/f\n+++ b/f\n@@ -1,3 +1,4 @@\n+line 0\n line 1\n line 2\n line 3\n"


def test_a_hunk_without_context_after_it_belongs_at_the_end() -> None:
    tail = b"line 8\nline 9\nline 10\n"
    twice = TEN.encode() + b"other\n" + tail
    assert patched(END, f=twice) == {"f": twice + b"line 11\n"}
    error = refusal(END, f=TEN.encode() + b"other\n")
    assert error.message == "p.patch:3: the hunk for f, line 8, does not apply"
    assert error.hint is not None and "at the end of the file" in error.hint


def test_a_hunk_for_line_1_belongs_at_the_beginning() -> None:
    assert patched(BEGINNING, f=TEN.encode()) == {"f": b"line 0\n" + TEN.encode()}
    error = refusal(BEGINNING, f=b"other\n" + TEN.encode())
    assert error.hint is not None and "at the beginning of the file" in error.hint


def test_adding_to_an_empty_file_needs_an_empty_file() -> None:
    text = "--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+x\n"
    assert patched(text, f=b"") == {"f": b"x\n"}
    assert "does not apply" in refusal(text, f=b"y\n").message


def test_a_hunk_that_the_tools_would_put_at_different_lines_is_refused() -> None:
    """The first hunk has moved by 20: git looks for the second where it says, GNU patch 20 lines on."""
    block = b"{\n  old\n}\n"
    first = "--- a/f\n+++ b/f\n@@ -3,3 +3,3 @@\n begin\n-one\n+ONE\n end\n"
    second = "@@ -10,3 +10,3 @@\n {\n-  old\n+  new\n }\n"
    file = b"x\n" * 9 + block + b"x\n" * 10 + b"begin\none\nend\n" + b"x\n" * 4 + block + b"x\n"
    error = refusal(first + second, f=file)
    assert error.message == "p.patch:8: the hunk for f, line 10, is ambiguous"
    assert error.details == ("git apply applies it at line 10", "patch -F0 applies it at line 30")


def test_offsets_are_told() -> None:
    notes: list[str] = []
    moved = b"new first\nnew second\n" + TEN.encode()
    apply("p.patch", CHANGE_5, Memory(f=moved), notes.append)
    assert notes == ["p.patch: f: applied with an offset: line 4 at 6 (+2)"]
    apply("p.patch", CHANGE_5, Memory(f=TEN.encode()), notes.append)
    assert len(notes) == 1


def test_patches_are_bytes() -> None:
    patch = b"--- a/\xe9\n+++ b/\xe9\n@@ -1,2 +1,2 @@\n caf\xe9\n-\xff\n+\xfe\xc3\xa9\n"
    files = Memory()
    files.files["\udce9"] = b"caf\xe9\n\xff\n"
    assert apply("p", patch, files)["\udce9"].content == b"caf\xe9\n\xfe\xc3\xa9\n"


def test_a_patch_without_its_last_line_end_is_cut_short() -> None:
    assert "no line end" in refusal(BEGINNING[:-1], f=TEN.encode()).message


def test_a_rename_takes_the_mode_along_and_two_files_may_swap(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x\n")
    (tmp_path / "y").write_text("y\n")
    (tmp_path / "x").chmod(0o755)
    swap = "".join(
        f"diff --git a/{a} b/{b}\nsimilarity index 100%\nrename from {a}\nrename to {b}\n"
        for a, b in (("x", "y"), ("y", "x"))
    )
    assert apply_to_tree(tmp_path, "p", swap) == ("x", "y")
    assert ((tmp_path / "x").read_text(), (tmp_path / "y").read_text()) == ("y\n", "x\n")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "xy"] == [0o644, 0o755]


def test_a_directory_that_a_removal_leaves_empty_is_removed(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("x\n")
    apply_to_tree(tmp_path, "p", "--- a/d/e/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b/../../etc/passwd", "leaves the tree"),
        ("../x", "leaves the tree"),
        ("/etc/passwd", "absolute path"),
        ("b//etc/passwd", "absolute path"),
        ("f", "no first component"),
        ("b/x/./y", "not a plain path"),
    ],
)
def test_paths_out_of_the_tree_are_refused(name: str, reason: str) -> None:
    assert reason in refusal(f"--- {name}\n+++ {name}\n@@ -0,0 +1 @@\n+x\n").message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n",
            "renames a file",
        ),
        ("diff --git a/x b/y\ncopy from x\ncopy to y\n", "copies a file"),
        ("diff --git a/f b/y\nrename from f\n", "not a whole rename"),
        ("diff --git a/f b/../y\nrename from f\nrename to ../y\n", "leaves the tree"),
        ("diff --git a/x b/x\nindex 1..2\nGIT binary patch\nliteral 1\n", "binary patch"),
        ("diff --git a/x b/x\nBinary files a/x and b/x differ\n", "binary patch"),
        (
            "diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc\n",
            "mode 120000",
        ),
        ("diff --cc x\n", "combined diff"),
        ("*** a/x\n--- b/x\n***************\n", "context diff"),
        ("hello\n", "holds no patch"),
        ("", "holds no patch"),
        ("@@ -1 +1 @@\n-x\n+y\n", "without the name of a file"),
        ("--- a/f\n+++ b/f\n", "no hunk follows"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @\n-x\n+y\n", "not a valid hunk header"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-x\n", "ends within this hunk"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n+z\n", "more lines than it says"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n*y\n", "not the line that the hunk"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n x\n", "changes nothing"),
        ("--- a/f\n+++ b/f\n@@ -5 +5 @@\n-x\n+y\n@@ -1 +1 @@\n-x\n+y\n", "not in the order"),
        ("--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+x\n", "creates and removes"),
    ],
)
def test_what_is_not_supported_or_malformed_is_refused(text: str, reason: str) -> None:
    assert reason in refusal(text, f=b"x\n").message


def test_errors_name_patch_and_line() -> None:
    second = CHANGE_5 + "@@ -9,2 +9,2 @@\n line 9\n-LINE 10\n+x\n"
    assert refusal(second, f=TEN.encode()).message.startswith("p.patch:8: ")


# On a folder


def test_a_tree_is_patched_and_modes_stay(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(TEN)
    (tmp_path / "f").chmod(0o555)
    new = "--- /dev/null\n+++ b/d/e/n\n@@ -0,0 +1 @@\n+x\n"
    assert apply_to_tree(tmp_path, "p", CHANGE_5 + new) == ("d/e/n", "f")
    assert (tmp_path / "f").read_text() == TEN.replace("line 5", "LINE 5")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o555
    assert (tmp_path / "f").stat().st_mtime == 0
    assert (tmp_path / "d/e/n").read_text() == "x\n"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["d", "e", "f", "n"]


def test_a_tree_is_untouched_when_one_hunk_fails(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(TEN)
    (tmp_path / "g").write_text("other\n")
    with pytest.raises(PatchError):
        apply_to_tree(tmp_path, "p", CHANGE_5 + CHANGE_5.replace("a/f", "a/g").replace("b/f", "b/g"))
    assert (tmp_path / "f").read_text() == TEN


def test_a_tree_is_untouched_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text(TEN)
    real = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if str(target).endswith("/z"):
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    new = "--- /dev/null\n+++ b/new/z\n@@ -0,0 +1 @@\n+x\n"
    with pytest.raises(PatchError, match="No space left"):
        apply_to_tree(tmp_path, "p", CHANGE_5 + new)
    assert (tmp_path / "f").read_text() == TEN
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_symbolic_link_is_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text(TEN)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "d").symlink_to(outside)
    (tree / "f").symlink_to(outside / "f")
    for text in (CHANGE_5, CHANGE_5.replace("a/f", "a/d/f").replace("b/f", "b/d/f")):
        with pytest.raises(PatchError, match="is a symbolic link"):
            apply_to_tree(tree, "p", text)
    with pytest.raises(PatchError, match="is a symbolic link"):
        apply_to_tree(tree, "p", "--- /dev/null\n+++ b/d/new\n@@ -0,0 +1 @@\n+x\n")
    assert (outside / "f").read_text() == TEN
    assert os.listdir(outside) == ["f"]


LINES = st.lists(st.sampled_from(["a", "b", "{", "}", "", "  x", "é"]), max_size=30)


@examples(40)
@given(LINES, LINES, st.integers(1, 4))
def test_a_diff_of_two_files_turns_one_into_the_other(old: list[str], new: list[str], context: int) -> None:
    if old == new:
        return
    before, after = [f"{line}\n" for line in old], [f"{line}\n" for line in new]
    text = "".join(difflib.unified_diff(before, after, "a/f", "b/f", n=context))
    result = patched(text, f="".join(before).encode())
    assert result == {"f": "".join(after).encode()}


@examples(60)
@given(st.data())
def test_a_mutated_patch_applies_or_is_refused_cleanly(data: st.DataObject) -> None:
    whole = (
        "diff --git a/f b/f\nindex 1..2 100644\n" + CHANGE_5 + "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n"
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole)))
        cut = data.draw(st.integers(0, 8))
        word = data.draw(
            st.sampled_from(["", "\n", "-", "+", "@@", "../", "/dev/null", '"', "\\", "\r", " 9", "\0"])
        )
        whole = whole[:at] + word + whole[at + cut :]
    try:
        for path in patched(whole, f=TEN.encode()):
            assert ".." not in path.split("/") and not path.startswith("/")
    except HermeticError:
        pass


@examples(40)
@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused_cleanly(text: str) -> None:
    with contextlib.suppress(PatchError):
        parse("p", text)
