"""What the comparison promises of each format: ELF, archives, compressed files, .pyc."""

from __future__ import annotations

import gzip
import io
import marshal
import shutil
import struct
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hermetic.verify.compare.contents import compare_content
from hermetic.verify.compare.model import BuildFacts, Difference, Scope
from hermetic.verify.compare.render import describe
from hermetic.verify.compare.tree import compare_trees
from tests.support.artefacts import Elf, ar
from tests.support.examples import TIMES

NOW = int(time.time())

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")


def compare(left: bytes, right: bytes) -> list[Difference]:
    scope = Scope("file", BuildFacts(times=(NOW,)))
    return compare_content(scope, memoryview(left), memoryview(right))


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
    assert found.where == "section .text, symbol main"
    assert found.words == "32 bytes, first difference at offset 0x8"


@pytest.mark.parametrize("path", [b"/temp1/source/x.c", b"/home/ann/source/x.c"])
def test_elf_a_path_of_any_length_is_recognised_in_its_section_and_symbol(path: bytes) -> None:
    changed = {**CODE, ".rodata": b"\0\1" + path + b"\0\2\3"}
    found = compare(Elf(CODE, FUNCTIONS).encode(), Elf(changed, FUNCTIONS).encode())[0]
    assert found.where.startswith("section .rodata, symbol banner")
    assert found.words == f"an embedded path: '/build/source/x.c' against '{path.decode()}'"


def test_elf_header_fields_are_named() -> None:
    found = only(compare(Elf(CODE).encode(), Elf(CODE, flags=5).encode()))
    assert (found.where, found.left, found.right) == ("ELF header, e_flags", "0", "5")
    found = compare(Elf(CODE).encode(), Elf(CODE, machine=183).encode())[0]
    assert (found.left, found.right) == ("EM_X86_64", "EM_AARCH64")


def test_elf_the_build_id_is_named_as_a_consequence() -> None:
    notes = [struct.pack("<III", 4, 20, 3) + b"GNU\0" + byte * 20 for byte in (b"\1", b"\2")]
    found = only(compare(*(Elf({".note.gnu.build-id": n}).encode() for n in notes)))
    assert found.where == "section .note.gnu.build-id, build ID (computed from the other contents)"
    assert (found.left, found.right) == ("01" * 20, "02" * 20)


def test_elf_section_lists_and_their_order_are_compared() -> None:
    one = Elf({".a": b"1", ".b": b"2", ".c": b"3"}).encode()
    found = compare(one, Elf({".b": b"2", ".a": b"1", ".d": b"3"}).encode())
    assert [(d.kind, d.where) for d in found] == [
        ("only-left", "section .c"),
        ("only-right", "section .d"),
        ("order", ""),
    ]


def test_elf_symbols_in_another_order_are_said_to_be_so() -> None:
    found = compare(Elf(CODE, FUNCTIONS).encode(), Elf(CODE, FUNCTIONS[::-1]).encode())
    orders = {d.where: d.words for d in found if d.kind == "order"}
    assert orders["section .symtab, symbols, line 2"].endswith("lines in another order")
    assert orders["section .strtab, string 1"] == "the same 3 strings in another order"


def test_elf_functions_in_another_order_are_said_to_be_so() -> None:
    text = CODE[".text"]
    moved = [("start", ".text", 32, 32, 2), ("main", ".text", 0, 32, 2), FUNCTIONS[2]]
    found = compare(
        Elf(CODE, FUNCTIONS).encode(), Elf({**CODE, ".text": text[32:] + text[:32]}, moved).encode()
    )
    assert (found[0].kind, found[0].where) == ("order", "section .text")
    assert found[0].right == "symbol main, symbol start"


def test_elf_a_function_that_has_grown_is_named_before_all_whose_addresses_differ() -> None:
    names = [f"f{n}" for n in range(300)]
    one, other = bytearray(b"\x90" * 16 * 300), bytearray(b"\x91" * 16 * 300)
    left = [(n, ".text", 16 * i, 16, 2) for i, n in enumerate(names)]
    right = [*left[:-1], ("f299", ".text", 16 * 299, 20, 2)]
    found = compare(
        Elf({".text": bytes(one)}, left).encode(), Elf({".text": bytes(other) + b"\x90" * 4}, right).encode()
    )
    assert (found[0].kind, found[0].where) == ("size", "section .text, symbol f299")
    assert found[-1].kind == "omitted"


def test_elf_symbols_of_one_side_only_are_named() -> None:
    more = [*FUNCTIONS, ("tmp.42", ".text", 8, 0, 0)]
    found = compare(Elf(CODE, FUNCTIONS).encode(), Elf(CODE, more).encode())
    symbols = next(d for d in found if d.where.startswith("section .symtab"))
    assert symbols.words == "a line only in the rebuild"
    assert symbols.right.startswith("tmp.42")


def test_elf_the_source_file_in_the_symbol_table_is_recognised() -> None:
    one, other = ([*FUNCTIONS, (f"/{d}/x.c", "", 0, 0, 4)] for d in ("build", "tmp/y"))
    found = compare(Elf(CODE, one).encode(), Elf(CODE, other).encode())
    assert "an embedded path: '/build/x.c' against '/tmp/y/x.c'" in {d.words for d in found}


def test_elf_bytes_outside_of_all_sections_are_compared() -> None:
    left = Elf(CODE).encode()
    assert (
        only(compare(left + b"\1", left + b"\2")).words
        == f"{len(left) + 1} bytes, first difference at offset {len(left):#x}"
    )


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
        environment = {"SOURCE_DATE_EPOCH": epoch, "PATH": "/usr/bin:/bin"}
        subprocess.run(command, check=True, cwd=tmp_path / side, env=environment)
    found = compare_trees(tmp_path / "build/tree", tmp_path / "tmp/tree")
    assert any(d.kind == "embedded-path" and d.where.startswith("section .rodata") for d in found)
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
    assert (found.kind, found.words) == ("order", "the same 4 parts in another order")


def test_ar_time_stamps_owners_and_modes_are_told_once_for_all_members() -> None:
    found = compare(ar(OBJECTS), ar(OBJECTS, mtime=1_700_000_000, uid=1000, mode="100600"))
    times = "1970-01-01 00:00:00 UTC against 2023-11-14 22:13:20 UTC"
    assert [(d.kind, d.where, d.words) for d in found] == [
        ("embedded-time", "member a.o, mtime", f"{times}, and in 2 more parts"),
        ("embedded-host", "member a.o, uid", "0 against 1000, and in 2 more parts"),
        ("metadata", "member a.o, mode", "another value, and in 2 more parts"),
    ]


def test_ar_a_time_stamp_of_the_index_alone_is_named() -> None:
    found = only(compare(ar([("", b"index\n")]), ar([("", b"index\n")], mtime=1_700_000_000)))
    assert (found.kind, found.where) == ("embedded-time", "index of symbols, mtime")


def test_ar_members_are_compared_by_their_own_format() -> None:
    one, other = (Elf({".rodata": f"\0at /{d}/x.c\0\1".encode()}).encode() for d in ("build", "tmp/1"))
    found = compare(ar([("x.o", one)]), ar([("x.o", other)]))[0]
    assert found.where == "member x.o, section .rodata, string 1"
    assert found.words == "an embedded path: '/build/x.c' against '/tmp/1/x.c'"


def test_ar_long_names_are_read() -> None:
    changed = [OBJECTS[0], (OBJECTS[1][0], b"BETA\n"), OBJECTS[2]]
    assert only(compare(ar(OBJECTS), ar(changed))).where == "member a_member_with_a_long_name.o, line 1"


def test_ar_members_of_one_name_are_told_apart() -> None:
    found = only(compare(ar([("x.o", b"1\n"), ("x.o", b"2\n")]), ar([("x.o", b"1\n"), ("x.o", b"3\n")])))
    assert found.where == "member x.o (number 2), line 1"


# Compressed files, tar, zip


def test_gzip_time_stamps_and_file_names_are_named_and_the_content_is_compared() -> None:
    packed = []
    for name, mtime, content in (("/build/x", 0, b"one\n"), ("/tmp/yy", 1_700_000_000, b"two\n")):
        buffer = io.BytesIO()
        with gzip.GzipFile(name, "wb", fileobj=buffer, mtime=mtime) as file:
            file.write(content)
        packed.append(buffer.getvalue())
    found = {d.where: d for d in compare(*packed)}
    assert found["gzip header, mtime"].words == "none against 2023-11-14 22:13:20 UTC"
    assert (found["gzip header, name"].left, found["gzip header, name"].right) == ("x", "yy")
    assert found["decompressed, line 1"].left == "one"


def test_the_same_content_compressed_otherwise_is_said_to_be_so() -> None:
    text = b"abc" * 5000
    one, other = (gzip.compress(text, level, mtime=0) for level in (1, 9))
    assert only(compare(one, other)).words == "the same content, compressed in another way"


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
    told = {d.where: (d.kind, d.words) for d in found}
    assert told["member a, mtime"][0] == "embedded-time"
    assert told["member a, uname"] == ("embedded-host", "root against ann, and in 1 more parts")
    assert told[""] == ("order", "the same 2 parts in another order")
    assert {"member a, line 1", "member b, line 1"} <= told.keys()


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
    time_stamp, line = compare(*packed)
    assert (time_stamp.kind, time_stamp.where) == ("embedded-time", "member pkg/x.py, mtime")
    assert time_stamp.words == "1980-01-01 00:00:00 against 2026-11-22 01:02:04"
    assert line.where == "member pkg/x.py, line 1"


# .pyc

SOURCE = "def f(x):\n    return x in {'a', 'b', 'c', 'd', 'e'}\n\nclass C:\n    y = f(1)\n"


def with_marshal(body: bytes, magic: int = 3571) -> bytes:
    return struct.pack("<HHIII", magic, 0x0A0D, 1, 0, 0) + body


def compiled(source: str, name: str = "x.py") -> bytes:
    # The code objects of this Python have the fields of 3.11 to 3.14, whatever its own number is.
    return with_marshal(marshal.dumps(compile(source, name, "exec"), 4))


def frozen(elements: list[str], flag: int = 0) -> bytes:
    names = b"".join(bytes([ord("Z"), len(e)]) + e.encode() for e in elements)
    return bytes([ord(">") | flag]) + struct.pack("<i", len(elements)) + names


def test_pyc_the_file_name_is_told_once_for_all_functions() -> None:
    found = only(compare(compiled(SOURCE, "/build/x.py"), compiled(SOURCE, "/tmp/w/x.py")))
    assert found.where == "<module>, co_filename"
    assert found.words == "an embedded path: '/build/x.py' against '/tmp/w/x.py', and in 2 more parts"


def test_pyc_what_the_header_holds_is_named() -> None:
    body = frozen(["a"])
    headers = [
        struct.pack("<HHIII", 3571, 0x0A0D, *fields) + body
        for fields in ((0, 0, 10), (0, 1_700_000_000, 10), (3, 1, 2), (3, 1, 3), (1, 1, 2))
    ]
    found = only(compare(headers[0], headers[1]))
    assert (found.kind, found.where) == ("embedded-time", ".pyc header, mtime")
    assert found.words == "1970-01-01 00:00:00 UTC against 2023-11-14 22:13:20 UTC"
    assert only(compare(headers[2], headers[3])).where == ".pyc header, source hash"
    found = only(compare(headers[2], headers[4]))
    assert (found.where, found.left, found.right) == (
        ".pyc header, check",
        "by hash, checked",
        "by hash, unchecked",
    )
    assert ".pyc header, check" in {d.where for d in compare(headers[0], headers[2])}


def test_pyc_the_magic_number_is_said_as_a_version() -> None:
    found = only(compare(with_marshal(b"N", 3571), with_marshal(b"N", 3625)))
    assert (found.left, found.right) == ("3571 (Python 3.13)", "3625 (Python 3.14)")


def test_pyc_elements_of_a_frozenset_in_another_order_are_said_to_be_so() -> None:
    found = only(compare(with_marshal(frozen(["a", "b", "c"])), with_marshal(frozen(["c", "a", "b"]))))
    assert (found.kind, found.left, found.right) == (
        "order",
        "frozenset('a', 'b', 'c')",
        "frozenset('c', 'a', 'b')",
    )


def test_pyc_objects_shared_in_another_way_are_said_to_be_so() -> None:
    words = "the same code; its objects are shared in another way (FLAG_REF)"
    assert only(compare(with_marshal(frozen(["a"])), with_marshal(frozen(["a"], 0x80)))).words == words
    shared = b")\x02" + b"\xda\x01a" + b"r" + struct.pack("<i", 0)
    apart = b")\x02" + b"\xda\x01a" + b"\xda\x01a"
    assert only(compare(with_marshal(shared), with_marshal(apart))).words == words


def test_pyc_constants_and_names_are_named_with_their_function() -> None:
    for source, changed, where, left, right in (
        (SOURCE, SOURCE.replace("f(1)", "f(7777)"), "C, co_consts[1]", "1", "7777"),
        ("def f(x): return x.aa", "def f(x): return x.bb", "f, co_names", "tuple('aa')", "tuple('bb')"),
    ):
        found = {d.where: d for d in compare(compiled(source), compiled(changed))}
        assert (found[where].left, found[where].right) == (left, right)


def test_every_kind_of_constant_is_read() -> None:
    values = (1, -1, 1 << 40, -(1 << 90), 1.5, 2j, "a", "\xe4" * 300, b"x", None, True, False, ...)
    whole = (*values, (1,), frozenset({3}), tuple(range(300)))
    for version in (3, 4):
        one, other = (with_marshal(marshal.dumps((*whole, end), version)) for end in (1, 2))
        found = only(compare(one, other))
        assert (found.kind, found.where) == ("metadata", "object")


def test_the_standard_librarys_own_code_is_read() -> None:
    for module in (gzip, tarfile, zipfile):
        source = Path(str(module.__file__)).read_text()
        found = only(compare(compiled(source, "/build/x.py"), compiled(source, "/tmp/y/x.py")))
        assert (found.kind, found.where) == ("embedded-path", "<module>, co_filename")


# Damaged files

SAMPLES: dict[str, bytes] = {
    "elf": Elf(CODE, FUNCTIONS).encode(),
    "elf32": Elf(CODE, FUNCTIONS, 8, 32, ">").encode(),
    "ar": ar([*OBJECTS, ("x.o", Elf(CODE, FUNCTIONS).encode())]),
    "tar": tar(NOW, "ann", b"one\n"),
    "gzip": gzip.compress(b"one\ntwo\n", mtime=NOW),
    "pyc": compiled(SOURCE, "/build/x.py"),
    "text": b"one /build/x\ntwo\n",
}
_buffer = io.BytesIO()
with zipfile.ZipFile(_buffer, "w") as _archive:
    _archive.writestr("a/b.txt", "one\n")
SAMPLES["zip"] = _buffer.getvalue()


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

    @settings(max_examples=10 * TIMES, deadline=5000, suppress_health_check=list(HealthCheck))
    @given(mutations(sample), mutations(sample))
    @example(b"", sample)
    def run(left: bytes, right: bytes) -> None:
        for one, other in ((left, right), (sample, right), (right, sample)):
            found = compare(one, other)
            assert bool(found) == (one != other)
            assert describe(found)

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
