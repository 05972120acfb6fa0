"""Versions in names of files: listings of Debian's pool, package indexes and web servers, cut down."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from hermetic.sources import versions
from hermetic.sources.fetch import debian_index
from tests.support.downloads import pin_of

POOL = {
    "zlib": """
        zlib_1.2.13.dfsg-1.debian.tar.xz zlib_1.2.13.dfsg-1.dsc zlib_1.2.13.dfsg.orig.tar.bz2
        zlib_1.3.dfsg+really1.3.1-1+deb13u1.dsc zlib_1.3.dfsg+really1.3.1-1.debian.tar.xz
        zlib_1.3.dfsg+really1.3.1.orig.tar.gz zlib_1.3.dfsg+really1.3.2-3.dsc
        zlib_1.3.dfsg+really1.3.2.orig.tar.gz""",
    "python3.13": """
        python3.13_3.13.15-1.debian.tar.xz python3.13_3.13.15.orig.tar.xz python3.13_3.13.18-1.dsc
        python3.13_3.13.18.orig.tar.xz python3.13_3.13.18.orig.tar.xz.asc
        python3.13_3.13.5-2+deb13u5.dsc python3.13_3.13.5.orig.tar.xz
        python3.13_3.13.5.orig.tar.xz.asc""",
    "perl": """
        perl_5.36.0-7+deb12u3.dsc perl_5.36.0.orig-regen-configure.tar.xz perl_5.36.0.orig.tar.xz
        perl_5.42.3.orig-regen-configure.tar.xz perl_5.42.3.orig.tar.xz
        perl_5.44.0.orig-regen-configure.tar.xz""",
    "libedit": """
        libedit_3.1-20221030-2.debian.tar.xz libedit_3.1-20221030.orig.tar.gz
        libedit_3.1-20250104-1.dsc libedit_3.1-20250104.orig.tar.gz
        libedit_3.1-20260512-1.debian.tar.xz libedit_3.1-20260512.orig.tar.gz""",
    "ncurses": """
        ncurses_6.4-4.dsc ncurses_6.4.orig.tar.gz ncurses_6.4.orig.tar.gz.asc
        ncurses_6.5+20250216-2.dsc ncurses_6.5+20250216.orig.tar.gz ncurses_6.6+20251231.orig.tar.gz
        ncurses_6.6+20260608.orig.tar.gz ncurses_6.6+20260608.orig.tar.gz.asc""",
    "linux": """
        linux_6.12.117.orig.tar.xz linux_6.12.8.orig.tar.xz linux_7.2.13-1.dsc
        linux_7.2.13.orig.tar.xz linux_7.2.9.orig.tar.xz linux_7.3~rc7-1~exp1.debian.tar.xz
        linux_7.3~rc7.orig.tar.xz""",
    "openssl": """
        openssl_3.0.20-1~deb12u2.debian.tar.xz openssl_3.0.20.orig.tar.gz
        openssl_3.5.9.orig.tar.gz.asc openssl_3.5.9.orig.tar.gz openssl_3.6.5-1.dsc
        openssl_3.6.5.orig.tar.gz openssl_4.0.3.orig.tar.gz""",
    "make-dfsg": """
        make-dfsg_4.3-4.1.diff.gz make-dfsg_4.3.orig.tar.gz make-dfsg_4.4.1-3.debian.tar.xz
        make-dfsg_4.4.1.orig.tar.xz""",
    "qemu": """
        qemu-user-binfmt_11.1.3+ds-1_amd64.deb qemu-user-static_7.2+dfsg-7+deb12u18+b3_amd64.deb
        qemu-user_10.0.13+ds-0+deb13u1_amd64.deb qemu-user_11.1.3+ds-1_amd64.deb
        qemu-user_12.0.0+ds-1_arm64.deb qemu-user_7.2+dfsg-7+deb12u18+b3_amd64.deb
        qemu_13.0.0+ds-1.dsc qemu_13.0.0+ds.orig.tar.xz""",
    "busybox": """
        busybox-static_1.35.0-4+deb12u1+b1_amd64.deb busybox-static_1.38.0-3+b1_amd64.deb
        busybox-syslogd_1.38.0-3_all.deb busybox_1.39.0-6_amd64.deb udhcpc_1.40.0-3_all.deb""",
}  # fmt: skip


@pytest.mark.parametrize(
    ("directory", "file", "own", "found"),
    [
        ("zlib", "zlib_1.3.dfsg+really1.3.1.orig.tar.gz", "1.3.1", "1.3.2"),
        ("python3.13", "python3.13_3.13.5.orig.tar.xz", "3.13.5", "3.13.18 3.13.15"),
        ("perl", "perl_5.36.0.orig.tar.xz", "5.36.0", "5.42.3"),
        ("perl", "perl_5.36.0.orig-regen-configure.tar.xz", "5.36.0", "5.44.0 5.42.3"),
        ("libedit", "libedit_3.1-20250104.orig.tar.gz", "3.1-20250104", "3.1-20260512"),
        ("ncurses", "ncurses_6.5+20250216.orig.tar.gz", "6.5+20250216", "6.6+20260608 6.6+20251231"),
        ("linux", "linux_6.12.8.orig.tar.xz", "6.12.8", "7.2.13 7.2.9 6.12.117"),
        ("linux", "linux_7.2~rc1.orig.tar.xz", "7.2~rc1", "7.3~rc7 7.2.13 7.2.9"),
        ("openssl", "openssl_3.5.6.orig.tar.gz", "3.5.6", "4.0.3 3.6.5 3.5.9"),
        ("make-dfsg", "make-dfsg_4.4.1.orig.tar.xz", "4.4.1", ""),
        ("qemu", "qemu-user_10.0.13+ds-0+deb13u1_amd64.deb", "10.0.13", "11.1.3"),
        ("busybox", "busybox-static_1.35.0-4+deb12u1+b1_amd64.deb", "1.35.0", "1.38.0"),
    ],
)
def test_newer_versions_in_debians_pool(directory: str, file: str, own: str, found: str) -> None:
    version, files = versions.in_pool(file, POOL[directory].split())
    assert version == own
    assert " ".join(versions.newer(own, files)) == found
    for one in found.split():
        assert one in files[one] or "really" in files[one]


@pytest.mark.parametrize(
    "file", ["zlib_1.3-1.dsc", "zlib_1.3-1.debian.tar.xz", "zlib_1.3.orig.tar.gz.asc", "x.deb"]
)
def test_what_is_no_source_archive_or_package_of_debian_is_refused(file: str) -> None:
    with pytest.raises(ValueError, match=r"neither an \.orig\.tar nor a \.deb"):
        versions.in_pool(file, [])


@pytest.mark.parametrize(
    ("debians", "upstreams"),
    [
        ("1.3.1", "1.3.1"),
        ("1.2.13.dfsg", "1.2.13"),
        ("6.2.1+dfsg1", "6.2.1"),
        ("10.0.13+ds", "10.0.13"),
        ("2.11.0~ds1", "2.11.0"),
        ("1.37.0+debian", "1.37.0"),
        ("11.1+repack", "11.1"),
        ("2.0.0+~cs5.0.6", "2.0.0"),
        ("8.17.0+ds+~cs28.27.25", "8.17.0"),
        ("22.01+really26.01+dfsg", "26.01"),
        ("5.0.10+really4.7.0~dfsg", "4.7.0"),
        ("1.29.1+really.1.28.7", "1.28.7"),
        ("2.2really", "2.2really"),
        ("4.3.dfsg.orig", "4.3.dfsg.orig"),
        ("1.2.0~alpha1+dfsg", "1.2.0~alpha1"),
        ("3.1-20250104", "3.1-20250104"),
    ],
)
def test_upstreams_version_is_read_from_debians(debians: str, upstreams: str) -> None:
    assert versions.upstream(debians) == upstreams


@pytest.mark.parametrize(
    "version",
    [
        "2.0rc1",
        "2.0.0a2",
        "2.0.dev3",
        "2.0-beta",
        "2.0~rc2",
        "2.0~",
        "2.0+git20240503",
        "2.0.1-rc",
        "20240514.gitd9d4100",
    ],
)
def test_what_is_not_released_counts_only_beside_its_like(version: str) -> None:
    assert versions.newer("1.0", [version]) == []
    assert versions.newer("1.0rc1", [version]) == [version]


def test_versions_after_a_release_count() -> None:
    offered = ["1.0.2a", "1.0.1", "1.0.1.post1", "0.9", "1.0"]
    assert versions.newer("1.0", offered) == ["1.0.2a", "1.0.1.post1", "1.0.1"]


ZIG = "ziglang-{}-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl"
INDEX = f"""
    {ZIG.format("0.15.2")} {ZIG.format("0.16.0")}
    ziglang-0.16.0-1-py3-none-manylinux_2_12_x86_64.whl ziglang-0.17.1-py3-none-manylinux_2_17_x86_64.whl
    ziglang-0.17.2rc1-py3-none-manylinux_2_17_x86_64.whl ziglang-0.18.0-py3-none-win_amd64.whl
    ziglang-0.19.0-py3-none-musllinux_1_1_aarch64.whl ziglang-0.20.0.tar.gz ziglang-0.21.0-py3-none-any.whl
    torch-2.13.0-py3-none-any.whl"""


@pytest.mark.parametrize(
    ("file", "names", "own", "found"),
    [
        (ZIG.format("0.15.2"), INDEX, "0.15.2", "0.17.1 0.16.0"),
        ("tzdata-2026.4-py2.py3-none-any.whl", "tzdata-2020.1rc0-py2.py3-none-any.whl tzdata-2026.4.tar.gz "
         "tzdata-2026.6-py2.py3-none-any.whl tzdata-2026.5-py3-none-any.whl", "2026.4", "2026.6 2026.5"),
        ("certifi-2026.10.18-py3-none-any.whl", "certifi-2026.10.19.post1-py3-none-any.whl "
         "certifi-14.05.14.tar.gz", "2026.10.18", "2026.10.19.post1"),
        ("my-thing-1.0.tar.gz", "my_thing-1.1.tar.gz My.Thing-1.2.zip my_thing-1.3-py3-none-any.whl "
         "my-thing-extra-2.tar.gz", "1.0", "1.2 1.1"),
    ],
)  # fmt: skip
def test_newer_versions_in_a_package_index(file: str, names: str, own: str, found: str) -> None:
    version, files = versions.in_index(file, names.split())
    assert version == own
    assert " ".join(versions.newer(own, files)) == found


def test_of_several_files_of_a_version_the_most_alike_is_taken() -> None:
    assert versions.in_index(ZIG.format("0.15.2"), INDEX.split())[1]["0.16.0"] == ZIG.format("0.16.0")
    backwards = INDEX.split()[::-1]
    assert versions.in_index(ZIG.format("0.15.2"), backwards)[1]["0.16.0"] == ZIG.format("0.16.0")


@pytest.mark.parametrize(
    ("address", "version", "directory", "name", "names", "found"),
    [
        ("https://x.test/all/musl-1.2.5.tar.gz", "1.2.5", "https://x.test/all/", "musl-1.2.5.tar.gz",
         "musl-1.2.6.tar.gz musl-1.2.6.tar.gz.asc musl-1.2.5.tar.gz musl-cross-9.tar.gz", "1.2.6"),
        ("https://x.test/python/3.13.5/Python-3.13.5.tar.xz", "3.13.5", "https://x.test/python/", "3.13.5",
         "python 2.0.1 3.13.18 3.13.5 3.9.25 src 3.15.0 .. index.html", "3.15.0 3.13.18"),
        ("https://x.test/download/v3.4.4/libffi-3.4.4.tar.gz", "3.4.4", "https://x.test/download/",
         "v3.4.4", "v3.5.2 latest 3.6.0", "3.5.2"),
        ("https://x.test/libedit-20250104-3.1.tar.gz", "20250104-3.1", "https://x.test/",
         "libedit-20250104-3.1.tar.gz", "libedit-20260512-3.1.tar.gz libedit-2-3.1.tar.xz", "20260512-3.1"),
        ("https://x.test/11.0/a-1.0.tar", "1.0", "https://x.test/11.0/", "a-1.0.tar",
         "a-1.10.tar a-1.9.tar", "1.10 1.9"),
    ],
)  # fmt: skip
def test_newer_versions_beside_an_address(
    address: str, version: str, directory: str, name: str, names: str, found: str
) -> None:
    assert versions.place(address, version) == (directory, name)
    assert " ".join(versions.newer(version, versions.beside(name, version, names.split()))) == found


def test_an_address_without_the_version_has_no_place() -> None:
    for address in ("https://x.test/latest.tar", "https://1.0/latest.tar", "https://x.test/a-11.0.tar"):
        with pytest.raises(ValueError, match=r"the version 1\.0 does not stand in it"):
            versions.place(address, "1.0")


@pytest.mark.parametrize(
    ("version", "mirrors", "line"),
    [
        ("3.13.5", ["https://x.test/3.13.5/Python-3.13.5.tar.xz",
                    "debian:pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz"], ("3", "13")),
        ("3.13.5", ["https://x.test/3.13.5/Python-3.13.5.tar.xz"], ()),
        ("6.1.176", ["https://x.test/linux/v6.1/linux-6.1.176.tar.xz"], ("6", "1")),
        ("6.5-20250216", ["debian:pool/main/n/ncurses/ncurses_6.5+20250216.orig.tar.gz"], ()),
        ("1.3.1", ["debian:pool/main/z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz"], ()),
        ("5.36.0", ["https://x.test/src/5.0/perl-5.36.0.tar.xz"], ()),
        ("2.12.1", ["pypi:a==2.12.1#a-2.12.1-py3-none-manylinux_2_12_x86_64.whl"], ()),
    ],
)  # fmt: skip
def test_a_line_is_the_beginning_of_the_version_in_the_name_of_a_directory(
    version: str, mirrors: list[str], line: tuple[str, ...]
) -> None:
    assert versions.line_of(replace(pin_of(*mirrors), version=version)) == line


def test_versions_of_other_lines_do_not_count() -> None:
    offered = ["3.13.15", "3.14.0", "3.130.1", "3.13.18rc1", "4.0"]
    assert versions.newer("3.13.5", offered, ("3", "13")) == ["3.13.15"]


SOURCES = b"""Package: zlib
Version: 1:1.3.dfsg+really1.3.1-1
Files:
 83dfad99d7533944c8aae8e8cce6aaaa 2637 zlib_1.3.dfsg+really1.3.1-1.dsc
 29e0750ce6c0a9f719354d678ebffc6e 1325737 zlib_1.3.dfsg+really1.3.1.orig.tar.gz
Checksums-Sha256:
 ede2791e29c1d3b422f9208bdd7edf040c20445ea1e7453a72037576e64fa197 2637 zlib_1.3.dfsg+really1.3.1-1.dsc
Directory: pool/main/z/zlib
Section: libs

Package: zlib-ng
Directory: pool/main/z/zlib-ng
Files:
 29e0750ce6c0a9f719354d678ebffc6e 7 zlib-ng_9.orig.tar.gz

Package: zlib
Directory: pool/main/z/zlib
Files:
 29e0750ce6c0a9f719354d678ebffc6e 7 zlib_1.3.dfsg+really1.3.2.orig.tar.gz"""

PACKAGES = b"""Package: busybox-static
Filename: pool/main/b/busybox/busybox-static_1.38.0-3+b1_amd64.deb
Size: 900000

Package: other
Filename: pool/main/b/busybox-other/other_2_amd64.deb

Package: udhcpc
Filename: pool/main/b/busybox/udhcpc_1.38.0-3_all.deb
"""


def test_files_of_a_directory_are_found_in_debians_indexes() -> None:
    assert debian_index.of_sources(SOURCES, "pool/main/z/zlib") == [
        "zlib_1.3.dfsg+really1.3.1-1.dsc",
        "zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
        "zlib_1.3.dfsg+really1.3.2.orig.tar.gz",
    ]
    assert debian_index.of_sources(SOURCES, "pool/main/z/zli") == []
    assert debian_index.of_packages(PACKAGES, "pool/main/b/busybox") == [
        "busybox-static_1.38.0-3+b1_amd64.deb",
        "udhcpc_1.38.0-3_all.deb",
    ]
    assert debian_index.of_packages(b"", "pool/main/b/busybox") == []
