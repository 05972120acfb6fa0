"""Unpacking: what is refused is refused by name, and nothing is ever written outside."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import ArchiveError, HermeticError, StoreError
from hermetic.realize.cancel import Cancelled
from hermetic.sources import archive
from tests.support.examples import examples

Entry = tarfile.TarInfo | tuple[str, bytes]


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size, info.mtime = kind, link, mode, size, 12345
    return info


def tar(*entries: Entry, format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as made:
        for entry in entries:
            if isinstance(entry, tuple):
                made.addfile(member(entry[0], size=len(entry[1])), io.BytesIO(entry[1]))
            else:
                made.addfile(entry)
    return out.getvalue()


def zipped(*entries: tuple[str, bytes, int]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            made.writestr(info, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def deb(data: bytes, name: str = "data.tar.xz", first: str = "debian-binary") -> bytes:
    out = b"!<arch>\n"
    for member_name, content in ((first, b"2.0\n"), ("control.tar.xz", b"odd"), (name, data)):
        out += f"{member_name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


def unpack(tmp_path: Path, data: bytes, **limits: Any) -> Path:
    source, dest = tmp_path / "source.tar", tmp_path / "dest"
    source.write_bytes(data)
    archive.unpack(source, dest, **limits)
    return dest


def refused(tmp_path: Path, data: bytes, reason: str, **limits: int) -> None:
    """Unpacking fails for this reason, and leaves nothing anywhere."""
    with pytest.raises(ArchiveError) as caught:
        unpack(tmp_path, data, **limits)
    assert caught.value.message.startswith("source.tar: ")
    assert reason in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["source.tar"]


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


SIMPLE = tar(("p-1/a", b"A"), ("p-1/d/b", b"B" * 3000))
CONTENT = {"a": b"A", "d/b": b"B" * 3000}


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
def test_every_compression_is_told_by_its_content(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    assert files(unpack(tmp_path, compress(SIMPLE))) == CONTENT


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_dialect_is_read(tmp_path: Path, format: int) -> None:
    long = "p/" + "d" * 90 + "/" + "n" * 80
    names = {long: b"x", "p/é": b"y"}
    got = files(unpack(tmp_path, tar(*names.items(), format=format)))
    assert got == {name.removeprefix("p/"): content for name, content in names.items()}


def test_very_long_names_and_links_are_read(tmp_path: Path) -> None:
    long = "p/" + "/".join(["d" * 100] * 5)
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        made = tar((long, b"x"), member("p/l", tarfile.SYMTYPE, long[2:]), format=format)
        dest = unpack(tmp_path, made)
        assert (dest / "l").read_bytes() == b"x"
        shutil.rmtree(dest)


def test_v7_archives_are_read(tmp_path: Path) -> None:
    def header(name: bytes, size: int) -> bytes:
        raw = bytearray(512)
        raw[0 : len(name)] = name
        raw[100:107], raw[124:135] = b"000755 ", b"%011o" % size
        raw[148:156] = b" " * 8
        raw[148:156] = b"%06o\0 " % sum(raw)
        return bytes(raw)

    data = header(b"p/", 0) + header(b"p/f", 3) + b"abc".ljust(512, b"\0") + bytes(1024)
    assert files(unpack(tmp_path, data)) == {"f": b"abc"}


def test_the_single_top_directory_is_left_out(tmp_path: Path) -> None:
    assert sorted(files(unpack(tmp_path, SIMPLE))) == ["a", "d/b"]


def test_two_top_entries_stay(tmp_path: Path) -> None:
    assert sorted(files(unpack(tmp_path, tar(("a/x", b""), ("b/x", b""))))) == ["a/x", "b/x"]


def test_a_single_top_file_stays(tmp_path: Path) -> None:
    assert files(unpack(tmp_path, tar(("only", b"x")))) == {"only": b"x"}


def test_dots_and_slashes_in_names_are_cleaned(tmp_path: Path) -> None:
    made = tar(member("./", tarfile.DIRTYPE), ("./p//a/./b", b"x"))
    assert files(unpack(tmp_path, made)) == {"a/b": b"x"}


def test_zip_files_and_wheels_are_unpacked(tmp_path: Path) -> None:
    made = zipped(("w/bin", b"#!", 0o100755), ("w/d/", b"", 0o40755), ("w-1.dist-info/X", b"x", 0o100644))
    dest = unpack(tmp_path, made)
    assert files(dest) == {"w/bin": b"#!", "w-1.dist-info/X": b"x"}
    assert stat.S_IMODE((dest / "w/bin").stat().st_mode) == 0o755
    assert (dest / "w/d").is_dir()


def test_links_in_a_zip_are_made(tmp_path: Path) -> None:
    dest = unpack(tmp_path, zipped(("a/f", b"x", 0o100644), ("a/l", b"f", 0o120777)))
    assert (dest / "l").readlink() == Path("f")


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstandard.compress, bytes])
def test_a_deb_gives_its_data_without_stripping(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    data = compress(tar(member("./", tarfile.DIRTYPE), ("./usr/bin/x", b"x")))
    assert files(unpack(tmp_path, deb(data))) == {"usr/bin/x": b"x"}


def test_modes_are_reduced_to_the_executable_bit_and_times_to_zero(tmp_path: Path) -> None:
    made = tar(
        member("p/suid", mode=0o6755),
        member("p/odd", mode=0o600),
        member("p/d", tarfile.DIRTYPE, mode=0o1700),
        member("p/l", tarfile.SYMTYPE, "odd"),
    )
    dest = unpack(tmp_path, made)
    modes = {p.name: stat.S_IMODE(p.lstat().st_mode) for p in dest.iterdir() if not p.is_symlink()}
    assert modes == {"suid": 0o755, "odd": 0o644, "d": 0o755}
    assert {p.lstat().st_mtime for p in dest.iterdir()} == {0.0}


def test_a_strict_umask_does_not_matter(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        dest = unpack(tmp_path, SIMPLE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((dest / "a").stat().st_mode) == 0o644
    assert stat.S_IMODE((dest / "d").stat().st_mode) == 0o755


def test_a_hard_link_inside_becomes_a_copy(tmp_path: Path) -> None:
    dest = unpack(tmp_path, tar(("p/a", b"A"), member("p/b", tarfile.LNKTYPE, "p/a")))
    assert files(dest) == {"a": b"A", "b": b"A"}
    assert (dest / "a").stat().st_nlink == 1


def test_links_inside_are_kept(tmp_path: Path) -> None:
    made = tar(
        ("p/d/a", b"A"), member("p/e/up", tarfile.SYMTYPE, "../d/a"), member("p/gone", tarfile.SYMTYPE, "x/y")
    )
    dest = unpack(tmp_path, made)
    assert (dest / "e/up").read_bytes() == b"A"
    assert (dest / "gone").readlink() == Path("x/y")


def test_a_circle_of_links_stays_in_the_tree(tmp_path: Path) -> None:
    made = tar(("p/f", b""), member("p/a", tarfile.SYMTYPE, "b"), member("p/b", tarfile.SYMTYPE, "a"))
    assert (unpack(tmp_path, made) / "a").readlink() == Path("b")


# As tools really make them


def zstd_skippable(content: bytes = b"pzstd") -> bytes:
    return b"\x50\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


COMPRESSIONS = [gzip.compress, bz2.compress, lzma.compress, zstandard.compress]


@pytest.mark.parametrize("compress", COMPRESSIONS)
@pytest.mark.parametrize("padding", [0, 1, 700])
def test_several_compressed_streams_are_one(
    tmp_path: Path, compress: Callable[[bytes], bytes], padding: int
) -> None:
    parts = [compress(SIMPLE[at : at + 1000]) for at in range(0, len(SIMPLE), 1000)]
    assert files(unpack(tmp_path, b"".join(parts) + bytes(padding))) == CONTENT


@pytest.mark.parametrize("compress", COMPRESSIONS)
@pytest.mark.parametrize("junk", [b"x", b"-----BEGIN PGP SIGNATURE-----", b"\0\0junk"])
def test_what_follows_compressed_data_is_named(
    tmp_path: Path, compress: Callable[[bytes], bytes], junk: bytes
) -> None:
    refused(tmp_path, compress(SIMPLE) + junk, f"it begins with {junk.lstrip(bytes(1))[:16]!r}")


def test_skippable_frames_of_zstd_are_skipped(tmp_path: Path) -> None:
    """pzstd begins with one, in front of each of its frames."""
    parts = [zstandard.compress(SIMPLE[at : at + 1000]) for at in range(0, len(SIMPLE), 1000)]
    made = b"".join(zstd_skippable() + part for part in parts) + zstd_skippable(b"")
    assert files(unpack(tmp_path, made)) == CONTENT
    shutil.rmtree(tmp_path / "dest")
    refused(tmp_path, made[:-1], "truncated")


@pytest.mark.parametrize("checksum", [False, True])
def test_a_zstd_frame_that_lacks_its_last_bytes_is_refused(tmp_path: Path, checksum: bool) -> None:
    """Also where the tar in it has ended: it is padded to many blocks, which compress to nothing."""
    whole = zstandard.ZstdCompressor(write_checksum=checksum).compress(SIMPLE + bytes(100_000))
    for cut in (1, 2, 3, 4, 5):
        refused(tmp_path, whole[:-cut], "truncated: the zstd data end too soon")


def without_end(made: bytes) -> bytes:
    return made.rstrip(b"\0") + bytes(-len(made.rstrip(b"\0")) % 512)


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_compressed_tars_need_no_end_mark(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """What is cut off is known from the compression; a plain tar could lack anything."""
    assert files(unpack(tmp_path, compress(without_end(SIMPLE)))) == CONTENT
    shutil.rmtree(tmp_path / "dest")
    refused(tmp_path, without_end(SIMPLE), "truncated: no end mark after p-1/d/b")


def test_bytes_after_the_end_mark_of_a_tar_are_padding(tmp_path: Path) -> None:
    assert files(unpack(tmp_path, SIMPLE + b"junk" * 1000)) == CONTENT


def with_field(made: bytes, at: int, field: bytes) -> bytes:
    raw = bytearray(made)
    raw[at : at + len(field)] = field
    fix_checksums(raw)
    return bytes(raw)


def test_binary_numbers_of_gnu_tar_are_read(tmp_path: Path) -> None:
    made = with_field(tar(("p/f", b"abc")), 124, b"\x80" + (3).to_bytes(11, "big"))
    assert files(unpack(tmp_path, made)) == {"f": b"abc"}
    shutil.rmtree(tmp_path / "dest")
    refused(tmp_path, with_field(made, 124, b"\xff" * 12), "a size that is no number")


def test_volume_labels_and_incremental_directories_are_understood(tmp_path: Path) -> None:
    made = tar(member("label", b"V"), member("p", b"D", size=4), ("p/f", b"x"))
    at = 1024  # the data of the directory follow its header
    made = made[:at] + b"Yf\0\0".ljust(512, b"\0") + made[at:]
    assert files(unpack(tmp_path, made)) == {"f": b"x"}


def test_a_file_that_was_packed_twice_as_a_link_to_itself_is_one_file(tmp_path: Path) -> None:
    made = tar(("p/a", b"A"), member("p/a", tarfile.LNKTYPE, "p/a"))
    assert files(unpack(tmp_path, made)) == {"a": b"A"}


def dos_zip(*entries: tuple[str, bytes, int]) -> bytes:
    """As Windows programs write it: no modes; attributes of DOS."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for number, (name, content, attributes) in enumerate(entries):
            info = zipfile.ZipInfo(chr(65 + number) * len(name.encode()))
            info.create_system, info.external_attr = 0, attributes
            made.writestr(info, content)
    raw = out.getvalue()
    for number, (name, _, _) in enumerate(entries):
        raw = raw.replace(bytes([65 + number]) * len(name.encode()), name.encode(), 2)
    return raw


def test_backslashes_of_windows_programs_separate_directories(tmp_path: Path) -> None:
    made = dos_zip(("p\\d\\", b"", 0x10), ("p\\d\\file", b"x", 0x20), ("p\\empty_dir", b"", 0x10))
    dest = unpack(tmp_path, made)
    assert files(dest) == {"d/file": b"x"}
    assert (dest / "empty_dir").is_dir()
    shutil.rmtree(dest)
    refused(tmp_path, dos_zip(("p\\..\\..\\evil", b"", 0x20)), "a path with ..")
    made = zipped(("p\\f", b"x", 0o100644), ("q", b"", 0o100644))
    assert files(unpack(tmp_path, made)) == {"p\\f": b"x", "q": b""}


def test_a_name_without_the_utf8_flag_is_what_its_program_meant(tmp_path: Path) -> None:
    unix = zipped(("a/x\xff", b"1", 0o100644), ("a/y", b"", 0o100644))
    raw = unix.replace("x\xff".encode(), b"x\xe9\xe9")
    for at in (raw.index(b"PK\x03\x04") + 6, raw.index(b"PK\x01\x02") + 8):
        raw = raw[:at] + b"\0\0" + raw[at + 2 :]
    dest = unpack(tmp_path, raw)
    assert sorted(os.listdir(os.fsencode(dest))) == [b"x\xe9\xe9", b"y"]
    shutil.rmtree(dest)
    assert files(unpack(tmp_path, dos_zip(("a/é", b"x", 0)))) == {"é": b"x"}


def test_a_zip_behind_a_program_is_unpacked(tmp_path: Path) -> None:
    made = zipped(("p/a", b"A", 0o100644))
    assert files(unpack(tmp_path, b"#!/usr/bin/env python3\n" + made)) == {"a": b"A"}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"LZIP\1", "compressed with lzip"),
        (b"070701", "a cpio archive"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, data: bytes, what: str) -> None:
    refused(tmp_path, data + bytes(1000), what)


# Refused by name


def test_absolute_paths_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(("/tmp/evil", b"x")), "/tmp/evil: an absolute path")


def test_paths_with_dot_dot_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(("p/../../evil", b"x")), "p/../../evil: a path with ..")


def test_absolute_symbolic_links_are_refused(tmp_path: Path) -> None:
    refused(
        tmp_path,
        tar(member("p/l", tarfile.SYMTYPE, "/etc/passwd")),
        "p/l: a symbolic link to the absolute path /etc",
    )


@pytest.mark.parametrize("target", ["../..", "../../x", "d/../../../x", "../p/../../x", "../x"])
def test_symbolic_links_out_of_the_tree_are_refused(tmp_path: Path, target: str) -> None:
    made = tar(("p/d/f", b""), member("p/l", tarfile.SYMTYPE, target))
    refused(tmp_path, made, "p/l: a symbolic link out of the tree")


def test_symbolic_links_that_lead_out_through_others_are_refused(tmp_path: Path) -> None:
    made = tar(
        ("a/b/c/f", b""),
        member("in", tarfile.SYMTYPE, "a/b/c"),
        member("a/out", tarfile.SYMTYPE, "../a/b/../../in/../../../.."),
    )
    refused(tmp_path, made, "a/out: a symbolic link out of the tree")


@pytest.mark.parametrize("links", [5, 38])
def test_links_that_lead_out_through_many_others_are_refused(tmp_path: Path, links: int) -> None:
    """The kernel follows 40."""
    chain = [member(f"l{n}", tarfile.SYMTYPE, f"l{n + 1}") for n in range(links)]
    end = member(f"l{links}", tarfile.SYMTYPE, "a/b/c")
    made = tar(("a/b/c/f", b""), *chain, end, member("out", tarfile.SYMTYPE, "l0/../../../.."))
    refused(tmp_path, made, "out: a symbolic link out of the tree")


def test_writing_through_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    made = tar(("p/d/f", b""), member("p/l", tarfile.SYMTYPE, "d"), ("p/l/evil", b"x"))
    refused(tmp_path, made, "p/l/evil: would be written through p/l, which is a symbolic link")


def test_replacing_a_symbolic_link_by_a_file_is_refused(tmp_path: Path) -> None:
    made = tar(member("p/l", tarfile.SYMTYPE, "x"), ("p/l", b"x"))
    refused(tmp_path, made, "p/l: stands twice")


def test_a_file_as_a_directory_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(("p/f", b""), ("p/f/x", b"")), "would be written through p/f, which is a file")


def test_entries_that_stand_twice_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(("p/a", b"1"), ("p/./a", b"2")), "p/./a: stands twice")
    refused(tmp_path, tar(("p/a", b"1"), member("p/a", tarfile.DIRTYPE)), "p/a/: stands twice")


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "p/../../x"])
def test_hard_links_out_of_the_tree_are_refused(tmp_path: Path, target: str) -> None:
    refused(tmp_path, tar(member("p/h", tarfile.LNKTYPE, target)), "p/h: a hard link out of the tree")


def test_hard_links_to_nothing_are_refused(tmp_path: Path) -> None:
    refused(
        tmp_path,
        tar(member("p/h", tarfile.LNKTYPE, "p/none")),
        "p/h: a hard link to p/none, which is no file",
    )


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a fifo"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"Z", "an entry of the unknown type"),
    ],
)
def test_special_files_are_refused(tmp_path: Path, kind: bytes, what: str) -> None:
    refused(tmp_path, tar(member("p/dev", kind)), f"p/dev: {what}")


def test_special_files_and_escapes_in_a_zip_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, zipped(("a/fifo", b"", 0o010644)), "a/fifo: a named pipe")
    refused(tmp_path, zipped(("../evil", b"", 0o100644)), "../evil: a path with ..")
    refused(tmp_path, zipped(("/evil", b"", 0o100644)), "/evil: an absolute path")
    refused(tmp_path, zipped(("a/l", b"../../x", 0o120777)), "a/l: a symbolic link out of the tree")


def test_links_out_of_a_deb_are_refused(tmp_path: Path) -> None:
    refused(
        tmp_path,
        deb(tar(member("./l", tarfile.SYMTYPE, "/etc/x")), "data.tar"),
        "a symbolic link to the absolute",
    )


def test_more_bytes_than_the_limit_are_refused(tmp_path: Path) -> None:
    refused(
        tmp_path, tar(("p/a", b"x" * 600), ("p/b", b"x" * 600)), "p/b: unpacks to more than", max_bytes=1000
    )
    refused(tmp_path, zipped(("p/a", b"x" * 2000, 0o100644)), "p/a: unpacks to more than", max_bytes=1000)
    copies = tar(("p/a", b"x" * 600), member("p/b", tarfile.LNKTYPE, "p/a"))
    refused(tmp_path, copies, "p/b: unpacks to more than", max_bytes=1000)


def test_more_entries_than_the_limit_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(*((f"p/{n}", b"") for n in range(30))), "more than 20 entries", max_entries=20)


def test_what_is_small_may_be_packed_as_well_as_can_be(tmp_path: Path) -> None:
    packed = gzip.compress(tar(("p/zeros", bytes(4 << 20)), ("p/a", b"")))
    assert len(packed) * 300 < 4 << 20
    assert (unpack(tmp_path, packed) / "zeros").stat().st_size == 4 << 20


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    header = member("p/zeros", size=6 << 30).tobuf(tarfile.GNU_FORMAT)
    refused(
        tmp_path, gzip.compress(header + bytes(1 << 20)), "p/zeros: unpacks to more than 200 times its size"
    )


def test_a_header_of_gigabytes_is_refused(tmp_path: Path) -> None:
    header = member("x", tarfile.GNUTYPE_LONGNAME, size=2 << 30).tobuf(tarfile.GNU_FORMAT)
    refused(tmp_path, header + bytes(4096), "an extended header of 2147483648 bytes")


def test_very_deep_directories_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(("p/" + "d/" * 600 + "f", b"")), "nested too deeply")


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="File name too long"):
        unpack(tmp_path, tar(("p/" + "n" * 300, b"")))
    assert not (tmp_path / "dest").exists()


# Damaged


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_a_truncated_archive_is_refused_wherever_it_is_cut(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    whole = compress(tar(("p/a", os.urandom(3000)), ("p/b", b"B")))
    size = 512 * 10 if compress is bytes else len(whole)  # a plain tar may lose padding
    for cut in range(0, size, max(size // 40, 1)):
        with pytest.raises(ArchiveError):
            unpack(tmp_path, whole[:cut])
        assert not (tmp_path / "dest").exists()


def test_a_truncated_zip_or_deb_is_refused(tmp_path: Path) -> None:
    for whole in (zipped(("a/x", b"x" * 100, 0o644)), deb(lzma.compress(SIMPLE))):
        for cut in range(0, len(whole) - 2, 7):
            with pytest.raises(ArchiveError):
                unpack(tmp_path, whole[:cut])


def test_a_damaged_header_is_no_silent_end(tmp_path: Path) -> None:
    raw = bytearray(SIMPLE)
    at = raw.index(b"p-1/d/b")
    raw[at] ^= 1
    refused(tmp_path, bytes(raw), "the header after p-1/a has a wrong checksum")


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    for compress in (
        gzip.compress,
        bz2.compress,
        lzma.compress,
        zstandard.ZstdCompressor(write_checksum=True).compress,
    ):
        raw = bytearray(compress(SIMPLE))
        raw[len(raw) // 2] ^= 0xFF
        with pytest.raises(ArchiveError):
            unpack(tmp_path, bytes(raw))


def test_a_wrong_checksum_at_the_very_end_is_noticed(tmp_path: Path) -> None:
    raw = bytearray(gzip.compress(SIMPLE))
    raw[-6] ^= 1
    refused(tmp_path, bytes(raw), "damaged")


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    raw = bytearray(zipped(("a/x", b"x" * 1000, 0o644)))
    raw[40] ^= 0xFF
    refused(tmp_path, bytes(raw), "damaged or not supported")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    raw = bytearray(zipped(("a/x", b"x", 0o644)))
    at = raw.index(b"PK\x01\x02")
    raw[at + 8] |= 1
    refused(tmp_path, bytes(raw), "a/x: is encrypted")


@pytest.mark.parametrize("data", [b"", b"hello world\n" * 100, b"\x7fELF" + bytes(600), b"<html>" * 200])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data, "archive")


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, bytes(10240), "the archive is empty")


def test_an_ar_archive_that_is_no_package_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, deb(SIMPLE, first="x.o/"), "not a Debian package")
    refused(
        tmp_path,
        deb(SIMPLE, name="other"),
        "not a Debian package: it holds debian-binary, control.tar.xz, other",
    )


def test_a_destination_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_text("x")
    with pytest.raises(ArchiveError, match="not empty"):
        unpack(tmp_path, SIMPLE)
    assert (tmp_path / "dest" / "mine").read_text() == "x"


@pytest.mark.parametrize("data", [SIMPLE, zipped(("a/x", b"x", 0o100644), ("a/y", b"y", 0o100644))])
def test_unpacking_can_be_ended_between_two_entries(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "archive").write_bytes(data)
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        archive.unpack(tmp_path / "archive", tmp_path / "out", check=check)
    assert asked == 2
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_a_store_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match="No space left on device"):
        unpack(tmp_path, SIMPLE)
    assert not (tmp_path / "dest").exists()


# Anything at all

SEEDS = [
    SIMPLE,
    tar(("p/" + "n" * 150, b"x"), member("p/l", tarfile.SYMTYPE, "é"), member("p/h", tarfile.LNKTYPE, "p/l")),
    tar(("p/" + "n" * 150, b"x"), format=tarfile.GNU_FORMAT),
    gzip.compress(SIMPLE),
    lzma.compress(SIMPLE),
    bz2.compress(SIMPLE),
    zstandard.compress(SIMPLE),
    zipped(("a/x", b"x" * 50, 0o100755), ("a/l", b"x", 0o120777)),
    deb(gzip.compress(SIMPLE), "data.tar.gz"),
]


def fix_checksums(raw: bytearray) -> None:
    """So that mutations of tar headers get past the first check."""
    for at in range(0, len(raw) - 511, 512):
        header = raw[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            raw[at + 148 : at + 156] = b"%06o\0 " % sum(header)


@examples(80)
@given(st.data())
def test_a_mutated_archive_unpacks_inside_or_is_refused_cleanly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, min(len(raw) - 1, 2048)))
        junk = data.draw(
            st.sampled_from([b"", b"/", b"../", b"\0", b"7777", b"\xff\xff", b"2", b"1"])
            | st.binary(max_size=8)
        )
        raw[at : at + len(junk)] = junk
    if data.draw(st.booleans()):
        fix_checksums(raw)
    base = tmp_path_factory.mktemp("fuzz")
    (base / "in").mkdir()
    source = base / "in" / "source"
    source.write_bytes(raw)
    try:
        archive.unpack(source, base / "in" / "dest", max_bytes=1 << 22, max_entries=200)
    except HermeticError:
        assert not (base / "in" / "dest").exists()
    else:
        root = os.path.realpath(base / "in" / "dest")
        for path in (base / "in" / "dest").rglob("*"):
            assert os.path.realpath(path).startswith(root)
    assert [p.name for p in base.iterdir()] == ["in"]


def test_signed_checksums_of_old_programs_are_accepted(tmp_path: Path) -> None:
    raw = bytearray(tar(("p/\udce9", b"x"), format=tarfile.USTAR_FORMAT))
    header = bytes(raw[:148]) + b" " * 8 + bytes(raw[156:512])
    raw[148:156] = b"%06o\0 " % sum(struct.unpack("512b", header))
    assert [os.fsencode(p.name) for p in unpack(tmp_path, bytes(raw)).iterdir()] == [b"\xe9"]


def test_a_zip_whose_entries_lie_before_its_beginning_is_damaged(tmp_path: Path) -> None:
    whole = bytearray(zipped(("p/a", b"A", 0o100644)))
    end = whole.rindex(b"PK\x05\x06")
    (start,) = struct.unpack_from("<I", whole, end + 16)
    struct.pack_into("<I", whole, end + 16, start + 100)  # where its directory should begin
    refused(tmp_path, bytes(whole), "damaged: it says that something lies before its beginning")
