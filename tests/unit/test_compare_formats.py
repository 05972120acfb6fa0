"""What the comparison promises of each format: ELF, archives, compressed files, .pyc, bitcode."""

from __future__ import annotations

import bz2
import compileall
import contextlib
import gzip
import io
import lzma
import marshal
import os
import py_compile
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hermetic.verify.compare.archive import compare_ar, compare_tar, compare_zip
from hermetic.verify.compare.bitcode import compare_bitcode
from hermetic.verify.compare.compressed import compare_bzip2, compare_gzip, compare_xz
from hermetic.verify.compare.content import compare_content
from hermetic.verify.compare.elf import compare_elf
from hermetic.verify.compare.marshal import FIELDS_3_11, Node, parse
from hermetic.verify.compare.model import BuildFacts, Difference, Malformed, Scope, view
from hermetic.verify.compare.pyc import compare_pyc
from hermetic.verify.compare.render import describe
from hermetic.verify.compare.tree import compare_trees
from tests.support.artefacts import Elf, ar, bitcode
from tests.support.examples import TIMES

Compare = Callable[..., list[Difference]]
NOW = int(time.time())

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")


def scope(name: str = "file") -> Scope:
    return Scope("file", BuildFacts(times=(NOW,)), compare_content, name=name)


def compare(left: bytes, right: bytes, *, name: str = "file") -> list[Difference]:
    return compare_content(scope(name), view(left), view(right))


def only(found: list[Difference]) -> Difference:
    assert len(found) == 1, found
    return found[0]


# ELF

CODE = {".text": bytes(range(64)), ".rodata": b"\0\1/build/source/x.c\0\2\3"}
FUNCTIONS = [("start", ".text", 0, 32, 2), ("main", ".text", 32, 32, 2), ("banner", ".rodata", 0, 20, 1)]
SHAPES = [(64, "<", 62), (64, "<", 183), (32, ">", 8), (32, "<", 40), (64, ">", 21)]


@pytest.mark.parametrize(("bits", "order", "machine"), SHAPES)
def test_elf_a_difference_is_placed_in_its_section_and_symbol(bits: int, order: str, machine: int) -> None:
    changed = {**CODE, ".text": CODE[".text"][:40] + b"\xff" + CODE[".text"][41:]}
    left, right = (Elf(s, FUNCTIONS, machine, bits, order).encode() for s in (CODE, changed))
    found = only(compare(left, right))
    assert found.where == "section .text, symbol main+0x8"
    assert found.words == "1 of 64 bytes differ, in one place, first at offset 0x28"


def test_elf_a_path_is_recognised_in_its_section_and_symbol() -> None:
    changed = {**CODE, ".rodata": b"\0\1/temp1/source/x.c\0\2\3"}
    found = only(compare(Elf(CODE, FUNCTIONS).encode(), Elf(changed, FUNCTIONS).encode()))
    assert found.where == "section .rodata, symbol banner+0x2"
    assert found.words == "an embedded path: '/build/source/x.c' against '/temp1/source/x.c'"


def test_elf_a_path_of_another_length_is_recognised_too() -> None:
    changed = {**CODE, ".rodata": b"\0\1/home/ann/source/x.c\0\2\3"}
    found = compare(Elf(CODE).encode(), Elf(changed).encode())
    assert found[0].where == "section .rodata"
    assert found[0].words.startswith("an embedded path of a home directory: '/build/source/x.c' against")


def test_elf_header_fields_are_named() -> None:
    found = only(compare(Elf(CODE).encode(), Elf(CODE, flags=5).encode()))
    assert (found.where, found.words) == ("ELF header, e_flags", "the machine's flags: 0 against 5")
    found = compare(Elf(CODE).encode(), Elf(CODE, machine=183).encode())[0]
    assert found.words == "the machine: EM_X86_64 against EM_AARCH64"


def test_elf_the_build_id_is_named_as_a_consequence() -> None:
    notes = [struct.pack("<III", 4, 20, 3) + b"GNU\0" + byte * 20 for byte in (b"\1", b"\2")]
    found = only(compare(*(Elf({".note.gnu.build-id": n}).encode() for n in notes)))
    assert found.where == "section .note.gnu.build-id, build ID"
    assert (found.left, found.right) == ("01" * 20, "02" * 20)


def test_elf_section_lists_and_their_order_are_compared() -> None:
    one = Elf({".a": b"1", ".b": b"2", ".c": b"3"}).encode()
    assert [d.words for d in compare(one, Elf({".b": b"2", ".a": b"1", ".d": b"3"}).encode())] == [
        "a section only in the first build (1 bytes)",
        "a section only in the rebuild (1 bytes)",
        "the same 4 sections in another order",
    ]


def test_elf_symbols_in_another_order_are_said_to_be_so() -> None:
    found = compare(Elf(CODE, FUNCTIONS).encode(), Elf(CODE, FUNCTIONS[::-1]).encode())
    orders = {d.where: d.words for d in found if d.kind == "order"}
    assert orders["section .symtab"] == "the same 4 symbols in another order"
    assert orders["section .strtab"].endswith("strings in another order")


def test_elf_functions_in_another_order_are_said_to_be_so() -> None:
    text = CODE[".text"]
    moved = [("start", ".text", 32, 32, 2), ("main", ".text", 0, 32, 2), FUNCTIONS[2]]
    found = compare(
        Elf(CODE, FUNCTIONS).encode(), Elf({**CODE, ".text": text[32:] + text[:32]}, moved).encode()
    )
    assert found[0].where == "section .text"
    assert found[0].words == "the same 2 symbols in another order"


def test_elf_functions_of_another_size_are_named() -> None:
    longer = [FUNCTIONS[0], ("main", ".text", 32, 36, 2), FUNCTIONS[2]]
    found = compare(Elf(CODE, FUNCTIONS).encode(), Elf({**CODE, ".text": bytes(range(68))}, longer).encode())
    sizes = {d.where: d.words for d in found}
    assert sizes["section .text, symbol main"] == "32 bytes against 36"


def test_elf_symbols_of_one_side_only_are_named() -> None:
    found = compare(
        Elf(CODE, FUNCTIONS).encode(), Elf(CODE, [*FUNCTIONS, ("tmp.42", ".text", 8, 0, 0)]).encode()
    )
    symbols = next(d for d in found if d.where == "section .symtab")
    assert symbols.words == "0 symbols only in the first build, 1 only in the rebuild"
    assert symbols.right == "tmp.42"


def test_elf_the_source_file_in_the_symbol_table_is_recognised() -> None:
    one, other = ([*FUNCTIONS, (f"/{d}/x.c", "", 0, 0, 4)] for d in ("build", "tmp/y"))
    found = compare(Elf(CODE, one).encode(), Elf(CODE, other).encode())
    assert "an embedded path: '/build/x.c' against '/tmp/y/x.c'" in {d.words for d in found}


def test_elf_the_compilers_identification_is_shown() -> None:
    found = only(compare(*(Elf({".comment": f"clang {v}\0lld {v}\0".encode()}).encode() for v in (19, 20))))
    assert found.words == "compilers and linkers identify themselves otherwise"
    assert (found.left, found.right) == ("clang 19, lld 19", "clang 20, lld 20")


def test_elf_bytes_outside_of_all_sections_are_compared() -> None:
    left = Elf(CODE).encode()
    assert "outside of all sections" in only(compare(left + b"\1", left + b"\2")).where


@needs_gcc
def test_elf_of_gcc_names_time_path_and_function(tmp_path: Path) -> None:
    source = (
        "const char *where = __FILE__;\n"
        'const char *when = __DATE__ " " __TIME__;\n'
        "int f(int x) {{ return x * {}; }}\n"
    )
    for side, epoch, factor in (("build", "1700000000", 3), ("tmp", "1800000000", 5)):
        (tmp_path / side / "tree").mkdir(parents=True)
        file = tmp_path / side / "x.c"
        file.write_text(source.format(factor))
        command = ["gcc", "-g", "-O0", "-gz=none", "-c", str(file), "-o", str(tmp_path / side / "tree/x.o")]
        subprocess.run(
            command,
            check=True,
            cwd=tmp_path / side,
            env={"SOURCE_DATE_EPOCH": epoch, "PATH": "/usr/bin:/bin"},
        )
    found = compare_trees(tmp_path / "build/tree", tmp_path / "tmp/tree")
    text = describe(found, details=40)
    assert f"an embedded path: '{tmp_path}/build/x.c' against '{tmp_path}/tmp/x.c'" in text.replace(
        "…", ""
    ) or any(d.kind == "embedded-path" and d.where.startswith("section .rodata") for d in found)
    assert any(d.kind == "embedded-time" and "__DATE__" in d.words for d in found)
    assert any(d.kind == "embedded-path" and "debug" in d.where for d in found)
    assert any(d.where.startswith("section .text, symbol f") for d in found)


# ar

OBJECTS = [("a.o", b"alpha\n"), ("a_member_with_a_long_name.o", b"beta\n"), ("c.o", b"gamma\n")]


def test_ar_members_added_and_removed_are_named() -> None:
    found = compare(ar(OBJECTS), ar([*OBJECTS[1:], ("d.o", b"delta\n")]))
    assert [(d.kind, d.where) for d in found] == [("only-left", "member a.o"), ("only-right", "member d.o")]


def test_ar_members_in_another_order_are_said_to_be_so() -> None:
    found = only(compare(ar(OBJECTS), ar(OBJECTS[::-1])))
    assert found.words == "the same 3 members in another order"


def test_ar_time_stamps_owners_and_modes_are_named() -> None:
    found = compare(ar(OBJECTS), ar(OBJECTS, mtime=1_700_000_000, uid=1000, mode="100600"))
    which = "in the headers of 3 members, this one first:"
    later = "2023-11-14 22:13:20 UTC"
    assert {d.kind: d.words for d in found} == {
        "embedded-time": f"the time stamp (mtime) {which} 1970-01-01 00:00:00 UTC against {later}",
        "embedded-host": f"the owner's number (uid) {which} 0 against 1000",
        "metadata": f"the mode {which} 100644 against 100600",
    }


def test_ar_members_are_compared_by_their_own_format() -> None:
    one, other = (Elf({".rodata": f"\0at /{d}/x.c\0\1".encode()}).encode() for d in ("build", "tmp/1"))
    found = only(compare(ar([("x.o", one)]), ar([("x.o", other)])))
    assert found.where.startswith("member x.o, section .rodata, offset")
    assert found.words == "an embedded path: '/build/x.c' against '/tmp/1/x.c'"


def test_ar_long_names_and_names_of_bsd_are_read() -> None:
    changed = [OBJECTS[0], (OBJECTS[1][0], b"BETA\n"), OBJECTS[2]]
    assert only(compare(ar(OBJECTS), ar(changed))).where == "member a_member_with_a_long_name.o, line 1"
    bsd = [
        b"!<arch>\n" + f"{'#1/8':<16}{0:<12}{0:<6}{0:<6}{644:<8}{12:<10}`\n".encode() + b"long.o\0\0" + c
        for c in (b"one\n", b"two\n")
    ]
    assert only(compare(*bsd)).where == "member long.o, line 1"


def test_ar_members_of_one_name_are_told_apart() -> None:
    found = only(compare(ar([("x.o", b"1\n"), ("x.o", b"2\n")]), ar([("x.o", b"1\n"), ("x.o", b"3\n")])))
    assert found.where == "member x.o (number 2), line 1"


def test_ar_bitcode_members_name_the_source_path() -> None:
    one, other = (bitcode(f"/{d}/source/Modules/main.c") for d in ("build", "tmpXX"))
    found = compare(ar([("main.o", one)]), ar([("main.o", other)]))
    assert found[0].where.startswith("member main.o, LLVM bitcode, a text of 7 bits a character")
    assert "'/build/source/Modules/main.c' against '/tmpXX/source/Modules/main.c'" in found[0].words


@pytest.mark.parametrize("width", [7, 8])
@pytest.mark.parametrize("lead", [35, 36, 37, 41, 42])
def test_bitcode_text_is_found_at_any_bit(width: int, lead: int) -> None:
    one, other = (bitcode(f"/{d}/x/main.c", width=width, lead=lead) for d in ("build", "tmp/a/b"))
    assert compare(one, other)[0].kind == "embedded-path"


# Compressed files, tar, zip


def test_gzip_time_stamps_are_named() -> None:
    plain = gzip.compress(b"x", mtime=0)
    found = only(compare(plain, plain[:4] + struct.pack("<I", 1_700_000_000) + plain[8:]))
    assert (found.kind, found.words) == (
        "embedded-time",
        "the header's time stamp: none against 2023-11-14 22:13:20 UTC",
    )


def test_gzip_file_names_and_content_are_compared() -> None:
    packed = []
    for name, content in (("/build/x", b"one\n"), ("/tmp/yy", b"two\n")):
        buffer = io.BytesIO()
        with gzip.GzipFile(name, "wb", fileobj=buffer, mtime=0) as file:
            file.write(content)
        packed.append(buffer.getvalue())
    found = {d.where: d for d in compare(*packed)}
    assert found["decompressed, line 1"].left == "one"
    assert any("name" in where for where in found)


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress])
def test_other_compressed_files_are_unpacked(pack: Callable[[bytes], bytes]) -> None:
    assert only(compare(pack(b"one\n"), pack(b"two\n"))).where == "decompressed, line 1"


def test_the_same_content_compressed_otherwise_is_said_to_be_so() -> None:
    text = b"abc" * 5000
    found = compare(
        gzip.compress(text, 1, mtime=0)[:8] + b"\0" + gzip.compress(text, 1, mtime=0)[9:],
        gzip.compress(text, 5, mtime=0),
    )
    assert any(
        d.words in ("the level of compression", "the same content, compressed in another way") for d in found
    )
    assert only(compare(lzma.compress(text, preset=0), lzma.compress(text, preset=6))).words == (
        "the same content, compressed in another way"
    )


def test_a_small_file_that_unpacks_to_a_huge_one_is_not_unpacked_whole() -> None:
    def bomb(end: bytes) -> bytes:
        return gzip.compress(bytes(200 << 20) + end, mtime=0)

    started = time.monotonic()
    found = only(compare(bomb(b"a"), bomb(b"b")))
    assert time.monotonic() - started < 30
    assert "what follows was not compared" in found.words


def tar(mtime: int, owner: str, content: bytes, names: tuple[str, ...] = ("a", "b")) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.mtime, info.uname, info.size = mtime, owner, len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_tar_headers_order_and_members_are_compared() -> None:
    found = compare(tar(0, "root", b"one\n"), tar(NOW, "ann", b"two\n", ("b", "a")))
    text = [d.words for d in found]
    assert any(w.startswith("the time stamp (mtime) in the headers of 2 members") for w in text)
    assert "the owner's name in the headers of 2 members, this one first: root against ann" in text
    assert "the same 2 members in another order" in text
    assert {"member a, line 1", "member b, line 1"} <= {d.where for d in found}


def test_tar_inside_gzip_is_compared_by_member() -> None:
    one, other = (gzip.compress(tar(0, "root", c), mtime=0) for c in (b"one\n", b"two\n"))
    assert compare(one, other)[0].where == "decompressed, member a, line 1"


def test_zip_headers_and_members_are_compared() -> None:
    packed = []
    for date, content in (((1980, 1, 1, 0, 0, 0), b"one\n"), ((2026, 11, 22, 1, 2, 4), b"two\n")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo("pkg/x.py", date), content)
        packed.append(buffer.getvalue())
    found = compare(*packed, name="x.whl")
    assert found[0].words == (
        "the time stamp (mtime) in the member's header: 1980-01-01 00:00:00 against 2026-11-22 01:02:04"
    )
    assert found[1].where == "member pkg/x.py, line 1"


# .pyc

SOURCE = "def f(x):\n    return x in {'a', 'b', 'c', 'd', 'e'}\n\nclass C:\n    y = f(1)\n"


def compiled(tmp_path: Path, source: str, dfile: str, mode: py_compile.PycInvalidationMode) -> bytes:
    file = tmp_path / "x.py"
    file.write_text(source)
    out = py_compile.compile(str(file), str(tmp_path / "x.pyc"), dfile, doraise=True, invalidation_mode=mode)
    return Path(str(out)).read_bytes()


CHECKED = py_compile.PycInvalidationMode.CHECKED_HASH
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
TIMESTAMP = py_compile.PycInvalidationMode.TIMESTAMP


def test_pyc_the_file_name_is_told_once_for_all_functions(tmp_path: Path) -> None:
    one, other = (compiled(tmp_path, SOURCE, name, CHECKED) for name in ("/build/x.py", "/tmp/w/x.py"))
    found = only(compare(one, other, name="x.pyc"))
    assert found.where == "<module>: co_filename"
    assert found.words == "an embedded path: '/build/x.py' against '/tmp/w/x.py'"


def test_pyc_time_stamps_are_named(tmp_path: Path) -> None:
    one = compiled(tmp_path, SOURCE, "x.py", TIMESTAMP)
    other = one[:8] + struct.pack("<I", 1_700_000_000) + one[12:]
    found = only(compare(one, other, name="x.pyc"))
    assert (found.kind, found.where) == ("embedded-time", ".pyc header, mtime")
    assert found.words.endswith("against 2023-11-14 22:13:20 UTC")


def test_pyc_hash_and_time_stamp_headers_are_told_apart(tmp_path: Path) -> None:
    kinds = [compiled(tmp_path, SOURCE, "x.py", mode) for mode in (TIMESTAMP, CHECKED, UNCHECKED)]
    assert only(compare(kinds[0], kinds[1])).words == (
        "how it is checked against its source: by time stamp, against hash, checked"
    )
    assert "by hash, checked, against hash, unchecked" in only(compare(kinds[1], kinds[2])).words
    other = kinds[1][:8] + bytes(8) + kinds[1][16:]
    assert only(compare(kinds[1], other)).where == ".pyc header, source hash"


def test_pyc_the_magic_number_is_said_as_a_version(tmp_path: Path) -> None:
    one = compiled(tmp_path, SOURCE, "x.py", CHECKED)
    found = compare(struct.pack("<H", 3571) + one[2:], struct.pack("<H", 3625) + one[2:])[0]
    assert found.words == "the magic number: Python 3.13 (3571) against Python 3.14 (3625)"


def with_marshal(body: bytes, magic: int = 3571) -> bytes:
    return struct.pack("<HHIII", magic, 0x0A0D, 1, 0, 0) + body


def frozen(elements: list[str], flag: int = 0) -> bytes:
    names = b"".join(bytes([ord("Z"), len(e)]) + e.encode() for e in elements)
    return bytes([ord(">") | flag]) + struct.pack("<i", len(elements)) + names


def test_pyc_elements_of_a_frozenset_in_another_order_are_said_to_be_so() -> None:
    found = only(compare(with_marshal(frozen(["a", "b", "c"])), with_marshal(frozen(["c", "a", "b"]))))
    assert found.words == "the same 3 elements of a frozenset in another order"
    assert (found.left, found.right) == ("frozenset('a', 'b', 'c')", "frozenset('c', 'a', 'b')")


def test_pyc_differences_of_reference_flags_only_are_said_to_be_so() -> None:
    found = only(compare(with_marshal(frozen(["a"])), with_marshal(frozen(["a"], 0x80))))
    assert found.words == "the same code; only the reference flag (FLAG_REF) of 1 objects differs"


def test_pyc_objects_shared_in_another_way_are_said_to_be_so() -> None:
    shared = b")\x02" + b"\xda\x01a" + b"r" + struct.pack("<i", 0)
    apart = b")\x02" + b"\xda\x01a" + b"\xda\x01a"
    found = only(compare(with_marshal(shared), with_marshal(apart)))
    assert found.words.startswith("the same code; objects are shared")


def test_pyc_constants_and_byte_code_are_named_with_their_function(tmp_path: Path) -> None:
    one, other = (
        compiled(tmp_path, SOURCE.replace("f(1)", f"f({n})"), "x.py", UNCHECKED) for n in ("7777", "8888")
    )
    found = compare(one[:8] + bytes(8) + one[16:], other[:8] + bytes(8) + other[16:])
    assert any(d.where.startswith("C: co_consts[") and "7777 against 8888" in d.words for d in found)


def test_pyc_constants_in_another_order_are_said_to_be_so() -> None:
    one, other = (with_marshal(b")\x02" + a + b) for a, b in ((b"Z\x01a", b"Z\x01b"), (b"Z\x01b", b"Z\x01a")))
    assert only(compare(one, other)).words.startswith("the same 2 elements in another order")


def test_pyc_of_another_python_version_is_read(tmp_path: Path) -> None:
    others = [p for v in ("3.8", "3.9", "3.10", "3.12", "3.13", "3.14") if (p := working_python(v))]
    if not others:
        pytest.skip("no other Python version on this machine")
    (tmp_path / "x.py").write_text(SOURCE)
    script = (
        "import py_compile as p, sys\n"
        "mode = p.PycInvalidationMode.CHECKED_HASH\n"
        "p.compile('x.py', 'x.pyc', sys.argv[1], True, invalidation_mode=mode)"
    )
    for python in others:
        packed = []
        for name in ("/build/x.py", "/tmp/w/x.py"):
            environment = {**os.environ, "PYTHONHASHSEED": "0"}
            subprocess.run([python, "-c", script, name], cwd=tmp_path, env=environment, check=True)
            packed.append((tmp_path / "x.pyc").read_bytes())
        found = only(compare(*packed))
        assert found.words == "an embedded path: '/build/x.py' against '/tmp/w/x.py'", python


def working_python(version: str) -> str | None:
    path = shutil.which(f"python{version}")
    if path is None or subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
        return None
    return path


def test_every_kind_of_object_that_marshal_writes_is_read() -> None:
    values = (
        1,
        -1,
        1 << 40,
        -(1 << 90),
        1.5,
        2j,
        "a",
        "\xe4" * 300,
        b"x",
        None,
        True,
        False,
        ...,
        (1,),
        [1],
        {"k": 1},
    )
    more = ({1, 2}, frozenset({3}), StopIteration, tuple(range(300)))
    for version in range(5):
        node = parse(view(marshal.dumps((*values, *more), version)), FIELDS_3_11)
        assert [item.kind for item in node.items[:4]] == ["int"] * 4
        assert len(node.items) == len(values) + len(more)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the fields of code objects are those of 3.11")
def test_the_standard_librarys_own_code_is_read_as_the_interpreter_reads_it() -> None:
    for module in (compileall, py_compile, tarfile, zipfile):
        code = compile(Path(str(module.__file__)).read_text(), "x", "exec")
        node = parse(view(marshal.dumps(code)), FIELDS_3_11)
        assert_same(node.field("consts").items, code)


def assert_same(constants: list[Node], code: types.CodeType) -> None:
    assert len(constants) == len(code.co_consts)
    for node, constant in zip(constants, code.co_consts, strict=True):
        if isinstance(constant, types.CodeType):
            assert node.field("name").text() == constant.co_name
            assert node.field("firstlineno").text() == str(constant.co_firstlineno)
            assert_same(node.field("consts").items, constant)


# Damaged files

SAMPLES: dict[str, bytes] = {
    "elf": Elf(CODE, FUNCTIONS).encode(),
    "elf32": Elf(CODE, FUNCTIONS, 8, 32, ">").encode(),
    "ar": ar([*OBJECTS, ("x.o", Elf(CODE, FUNCTIONS).encode())]),
    "tar": tar(NOW, "ann", b"one\n"),
    "gzip": gzip.compress(b"one\ntwo\n", mtime=NOW),
    "xz": lzma.compress(b"one\ntwo\n"),
    "bz2": bz2.compress(b"one\ntwo\n"),
    "bitcode": bitcode("/build/x/y.c"),
    "pyc": with_marshal(marshal.dumps(compile(SOURCE, "/build/x.py", "exec"), 4), 3495),
    "text": b"one /build/x\ntwo\n",
}
_buffer = io.BytesIO()
with zipfile.ZipFile(_buffer, "w") as _archive:
    _archive.writestr("a/b.txt", "one\n")
SAMPLES["zip"] = _buffer.getvalue()

READERS = {
    "elf": compare_elf,
    "elf32": compare_elf,
    "ar": compare_ar,
    "tar": compare_tar,
    "gzip": compare_gzip,
    "xz": compare_xz,
    "bz2": compare_bzip2,
    "bitcode": compare_bitcode,
    "pyc": compare_pyc,
    "zip": compare_zip,
}


@st.composite
def mutations(draw: st.DrawFn, sample: bytes) -> bytes:
    data = bytearray(sample)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("set", "cut", "drop", "insert", "big"))):
            case "set":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "big":
                data[at : at + 8] = draw(
                    st.sampled_from((b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f\0\0\0\0"))
                )
    return bytes(data)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_damaged_files_never_raise_and_are_always_told_apart(kind: str) -> None:
    sample = SAMPLES[kind]

    @settings(max_examples=25 * TIMES, deadline=5000, suppress_health_check=list(HealthCheck))
    @given(mutations(sample), mutations(sample))
    @example(b"", sample)
    def run(left: bytes, right: bytes) -> None:
        for one, other in ((left, right), (sample, right), (right, sample)):
            found = compare(one, other, name="x.pyc" if kind == "pyc" else "file")
            assert bool(found) == (one != other)
            assert describe(found)

    run()


@pytest.mark.parametrize("kind", sorted(READERS))
def test_readers_of_formats_raise_nothing_but_malformed(kind: str) -> None:
    @settings(max_examples=25 * TIMES, deadline=5000, suppress_health_check=list(HealthCheck))
    @given(mutations(SAMPLES[kind]))
    def run(damaged: bytes) -> None:
        with contextlib.suppress(Malformed, RecursionError):
            READERS[kind](scope(), view(SAMPLES[kind]), view(damaged))

    run()


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_any_two_contents_are_told_apart(left: bytes, right: bytes) -> None:
    assert bool(compare(left, right)) == (left != right)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "/tmp/e", ""])),
    st.lists(st.sampled_from(["a", "b", "c", "d", "x"])),
)
def test_any_two_texts_are_told_apart(left: list[str], right: list[str]) -> None:
    one, other = ("\n".join(lines).encode() for lines in (left, right))
    assert bool(compare(one, other)) == (one != other)


def test_deep_and_cyclic_marshal_streams_end() -> None:
    deep = b")\x01" * 100_000 + b"N"
    assert "unreadable" in {d.kind for d in compare(with_marshal(deep), with_marshal(deep + b"N"))}
    cycle = b"\xdb\x01\0\0\0r\0\0\0\0"
    assert only(compare(with_marshal(cycle), with_marshal(cycle[:1] + b"\x02\0\0\0r\0\0\0\0N")))
    doubling = (
        b")\x40" + b"\xa9\x00" + b"".join(b"\xa9\x02" + (b"r" + struct.pack("<i", i)) * 2 for i in range(63))
    )
    changed = doubling[:2] + b"\xa9\x01N" + doubling[4:]
    assert compare(with_marshal(doubling), with_marshal(changed))


def test_an_archive_in_an_archive_in_an_archive_ends() -> None:
    one, other = b"one\n", b"two\n"
    for _ in range(40):
        one, other = ar([("x", one)]), ar([("x", other)])
    assert compare(one, other)
