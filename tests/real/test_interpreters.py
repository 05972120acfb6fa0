"""What must be true of the interpreters, tried on real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from hermetic.systems import SYSTEMS
from tests.real.conftest import CHECKOUT, environment, hermetic, library, line
from tests.support.settings import TAKEN

# The machines of ELF. https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
MACHINES = {
    "x86": {32: "EM_386", 64: "EM_X86_64"},
    "aarch64": {64: "EM_AARCH64"},
    "arm": {32: "EM_ARM"},
    "riscv": {32: "EM_RISCV", 64: "EM_RISCV"},
    "powerpc": {64: "EM_PPC64"},
    "s390x": {64: "EM_S390"},
    "mips": {64: "EM_MIPS"},
    "loongarch": {64: "EM_LOONGARCH"},
}
BATTERY = CHECKOUT / "tests" / "real" / "interpreter" / "battery.py"


def _elf_files(tree: Path) -> Iterator[tuple[Path, ELFFile]]:
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path, ELFFile(file)


def test_every_program_is_static_and_for_its_machine(tree: Path, target: str) -> None:
    programs, system = 0, SYSTEMS[target.rsplit("-", 1)[1]]
    for path, elf in _elf_files(tree):
        kinds = {segment.header.p_type for segment in elf.iter_segments()}
        assert "PT_INTERP" not in kinds, path
        needed = [
            tag
            for section in elf.iter_sections()
            if isinstance(section, DynamicSection)
            for tag in section.iter_tags()
            if tag.entry.d_tag == "DT_NEEDED"
        ]
        assert not needed, path
        if elf.header.e_type in ("ET_EXEC", "ET_DYN"):
            programs += 1
            assert elf.header.e_machine == MACHINES[system.kernel][system.bits], path
            assert (elf.elfclass, elf.little_endian) == (system.bits, system.endian == "little"), path
    assert programs >= 1


def test_there_is_no_shared_object_but_what_wheels_expect_of_a_system(tree: Path, target: str) -> None:
    expected = [] if "sealed" in target else [tree / "lib/libz.so.1"]
    assert [p for p in tree.rglob("*.so*") if p.is_file()] == expected


def test_the_stack_of_the_main_thread_is_8_mib(tree: Path) -> None:
    for path, elf in _elf_files(tree):
        if elf.header.e_type == "ET_EXEC":
            stacks = [s.header.p_memsz for s in elf.iter_segments() if s.header.p_type == "PT_GNU_STACK"]
            assert stacks == [0x800000], path


def test_no_build_path_stands_anywhere(tree: Path) -> None:
    marks = (b"/hermetic/", b"/build/source", os.fsencode(CHECKOUT), b"/hermetic-elsewhere")
    found = [
        (str(path.relative_to(tree)), mark)
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink()
        for mark in marks
        if mark in path.read_bytes()
    ]
    assert found == []


def test_the_whole_library_does_something_real(target: str, outputs: dict[str, Path]) -> None:
    done = hermetic("run", target, "--", str(BATTERY), check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout


def test_run_runs_native_and_foreign(target: str, tree: Path) -> None:
    code = (
        "import platform, sys; print(platform.machine(), sys.byteorder, sys.maxsize, *sys.version_info[:2])"
    )
    machine, *properties = hermetic("run", target, "--", "-c", code).stdout.split()
    system = SYSTEMS[target.rsplit("-", 1)[1]]
    assert machine in system.uname
    assert properties == [system.endian, str(2 ** (system.bits - 1) - 1), *line(tree).split(".")]


def test_the_tree_can_be_moved(native: Path, tmp_path: Path) -> None:
    moved = tmp_path / "some where" / "else"
    shutil.copytree(native, moved, symlinks=True)
    code = "import sys, json, ssl, os; print(sys.prefix); print(os.path.dirname(json.__file__))"
    done = subprocess.run(
        [str(moved / "bin/python3"), "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(moved), str(library(moved) / "json")]


def test_it_runs_in_an_empty_root(native: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root = tmp_path / "root"
    shutil.copytree(native, root / "py", symlinks=True)
    done = subprocess.run(
        [
            "chroot",
            str(root),
            "/py/bin/python3",
            "-c",
            "import ssl, sqlite3, ctypes; print(sqlite3.sqlite_version)",
        ],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("3.")


def test_done_again_realize_fetches_and_builds_nothing(outputs: dict[str, Path]) -> None:
    for name, path in outputs.items():
        done = subprocess.run(
            [sys.executable, "-m", "hermetic", "realize", "--offline", name],
            cwd=CHECKOUT,
            env={**os.environ, **TAKEN},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{path}\n"
        assert done.stderr == ""


def test_another_line_is_built_by_the_same_script() -> None:
    text = hermetic("diff", "cpython-3.13.15-aarch64", "cpython-3.14.7-aarch64").stdout
    assert "version: 3.13.15 → 3.14.7" in text
    assert "build.sh" not in text


def test_the_trusted_seeds_are_few_and_printed() -> None:
    names = [line.split()[0] for line in hermetic("seeds").stdout.splitlines() if not line.startswith(" ")]
    assert names == ["busybox", "qemu-user", "zig"]
