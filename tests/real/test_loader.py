"""dlopen in a static program: derivations/loader, tried with a program in C and libraries of our toolchain.

What is checked in the program itself (tests/real/loader/program.c) ends it with exit code 1 and names the
line.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from hermetic.session import machine
from hermetic.systems import SYSTEMS, System, running_on
from tests.real.conftest import TARGETS, hermetic, realize_beside_our_recipes

SOURCES = Path(__file__).with_name("loader")
ARCHITECTURES = tuple(dict.fromkeys(target.rpartition("-")[2] for target in TARGETS))
NATIVE = running_on(machine.this())
# Offsets in the header of an ELF file, the same for all classes.
CLASS, DATA, OSABI, TYPE, MACHINE = 4, 5, 7, 16, 18
# Those of its flags, by the width of a pointer.
FLAGS = {32: 36, 64: 48}


class Trial:
    """The program and its libraries, built for one system."""

    def __init__(self, system: System, tree: Path, emulators: Path) -> None:
        self.system = system
        self.tree = tree
        self.native = system in NATIVE
        self.emulator = () if self.native else (str(emulators / "usr/bin" / system.qemu),)

    @property
    def libraries(self) -> Path:
        return self.tree / "lib"

    @property
    def program(self) -> Path:
        return self.tree / "bin/program"

    def run(
        self, test: str, directory: Path | None = None, env: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.emulator, str(self.program), test, str(directory or self.libraries)],
            env=dict(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def passes(self, test: str, env: Mapping[str, str] = {}) -> str:
        done = self.run(test, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def messages(
        self, names: list[str], directory: Path | None = None, env: Mapping[str, str] = {}
    ) -> list[str]:
        """What dlopen says of each library."""
        done = self.run("try", directory, {"NAMES": ":".join(names), **env})
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout.splitlines()
        assert len(said) == len(names)
        return said


def recipe(directory: Path) -> None:
    """Write the recipe of the program; its script contains the sources."""
    directory.mkdir(parents=True)
    shutil.copy(SOURCES / "recipe.toml", directory)
    script = ["mkdir libraries\n"]
    sources = [*SOURCES.glob("*.[ch]"), SOURCES / "widen.py", *(SOURCES / "libraries").iterdir()]
    for source in sorted(sources):
        script.append(
            f"cat >{source.relative_to(SOURCES)} <<'END_OF_FILE'\n{source.read_text()}END_OF_FILE\n"
        )
    (directory / "build.sh").write_text("".join(script) + (SOURCES / "build.sh").read_text())


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    """By architecture: what a project builds that has our recipes and one more."""
    project = tmp_path_factory.mktemp("loader")
    recipe(project / "derivations/loader-trial")
    targets = [f"loader-trial-{arch}" for arch in ARCHITECTURES]
    paths = realize_beside_our_recipes(project, *targets, "qemu-user")
    emulators = paths.pop("qemu-user")
    return {t: Trial(SYSTEMS[a], paths[t], emulators) for a, t in zip(ARCHITECTURES, targets, strict=True)}


@pytest.fixture(params=ARCHITECTURES)
def trial(request: pytest.FixtureRequest, trials: dict[str, Trial]) -> Trial:
    return trials[f"loader-trial-{request.param}"]


def elf(path: Path) -> ELFFile:
    return ELFFile(io.BytesIO(path.read_bytes()))


WORKING = "symbols headers tls relocations relro lazy threads part exceptions refusal"


@pytest.mark.parametrize("test", WORKING.split())
def test_libraries_work(trial: Trial, test: str) -> None:
    trial.passes(test)


# The relocations for descriptors of thread-local storage, by musl's name of the architecture.
DESCRIPTORS = {"x86_64": 36, "i386": 41, "aarch64": 1031, "riscv64": 12, "riscv32": 12, "loongarch64": 14}


def test_descriptors_of_thread_local_storage_work(trial: Trial) -> None:
    if trial.system.musl not in DESCRIPTORS:
        pytest.skip("the compiler has no descriptors for this architecture")
    library = elf(trial.libraries / "tls_descriptors.so")
    tables = [s for s in library.iter_sections() if isinstance(s, RelocationSection)]
    types = {relocation["r_info_type"] for table in tables for relocation in table.iter_relocations()}
    assert DESCRIPTORS[trial.system.musl] in types
    if trial.system.musl == "riscv32":  # musl has none there
        (said,) = trial.messages(["tls_descriptors.so"])
        assert "unsupported relocation type 12" in said
    else:
        trial.passes("tls_descriptors")


def test_constructors_and_destructors_run_in_order(trial: Trial) -> None:
    assert trial.passes("order").splitlines() == [
        *(f"constructor of {name}: {value}" for name, value in (("c", 1), ("b", 10), ("a", 11))),
        "value: 11",
        *(f"atexit of {name}" for name in ("a", "b", "c", "the program")),
        *(f"destructor of {name}" for name in ("a", "b", "c", "the program")),
    ]


def test_the_program_is_static(trial: Trial) -> None:
    program = elf(trial.program)
    assert not any(s["p_type"] == "PT_INTERP" for s in program.iter_segments())
    assert not any(s["p_flags"] & 3 == 3 for s in program.iter_segments() if s["p_type"] == "PT_LOAD")
    assert not any(
        name.startswith(".rel")
        for name in (s.name for s in program.iter_sections())
        if name != ".relro_padding"
    )
    (dynamic,) = (s for s in program.iter_sections() if isinstance(s, DynamicSection))
    assert not any(tag.entry.d_tag == "DT_NEEDED" for tag in dynamic.iter_tags())


def test_libraries_find_what_the_c_library_exports_and_nothing_else(trial: Trial) -> None:
    table = elf(trial.program).get_section_by_name(".dynsym")
    assert isinstance(table, SymbolTableSection)
    exported = {symbol.name for symbol in table.iter_symbols()} - {""}
    listed = {
        line.rstrip(";\n")
        for line in (loader(trial) / "lib/libc.list").read_text().splitlines()
        if line not in ("{", "};")
    }
    assert exported == listed
    assert {"strlen", "environ", "stdout", "pthread_create", "__tls_get_addr", "malloc", "dlopen"} <= exported
    assert not {"main", "own_tls", "__libc_malloc", "_init", "_start"} & exported


def loader(trial: Trial) -> Path:
    """The object of the loader that the program was linked with."""
    record = json.loads(hermetic("realize", "--json", f"loader-{trial.system.arch}").stdout)
    return Path(record[0]["path"])


# --- what is refused, and what is said of it


def changed(library: Path, at: int, *values: int) -> bytes:
    data = bytearray(library.read_bytes())
    data[at : at + len(values)] = values
    return bytes(data)


def test_messages(trial: Trial, tmp_path: Path) -> None:
    lib = trial.libraries
    expected = {
        "missing_symbol.so": "this_function_is_nowhere: symbol not found",
        "missing_library.so": "Error loading shared library nowhere.so: No such file or directory (needed ",
        "glibc.so": "built for the GNU C library (glibc); this program has musl",
        "glibc_versions.so": "built for the GNU C library (glibc); this program has musl",
        "tls_initial_exec.so": "fixed: initial-exec TLS resolves to dynamic definition in ",
        "missing_tls.so": "this_variable_is_nowhere: symbol not found",
        "truncated.so": "the file is truncated: it has 700 bytes, and a segment ends at ",
        "object.so": "an object file, not a shared library",
        "text.so": "not an ELF file",
        "empty.so": "not an ELF file",
        "none.so": "No such file or directory",
    }
    for (name, words), said in zip(expected.items(), trial.messages(list(expected)), strict=True):
        assert words in said and str(lib / name) in said, said

    made = {
        "system.so": (changed(lib / "base.so", OSABI, 9), "built for another system (EI_OSABI is 9)"),
        "core.so": (
            changed(lib / "base.so", TYPE, 4, 4),
            "an ELF file of another type, not a shared library",
        ),
        "program.so": (trial.program.read_bytes(), "a program, not a shared library"),
    }
    os.mkfifo(tmp_path / "pipe.so")
    (tmp_path / "directory.so").mkdir()
    for name, (data, _) in made.items():
        (tmp_path / name).write_bytes(data)
    lines = trial.messages([*made, "pipe.so", "directory.so"], tmp_path)
    reasons = [*(words for _, words in made.values()), "not a regular file", "a directory"]
    for words, line in zip(reasons, lines, strict=True):
        assert words in line


def test_libraries_for_other_machines_are_named(
    trial: Trial, trials: dict[str, Trial], tmp_path: Path
) -> None:
    others = [t for t in trials.values() if t.system.qemu != trial.system.qemu]
    for other in others:
        shutil.copy(other.libraries / "base.so", tmp_path / f"{other.system.arch}.so")
    for other, said in zip(
        others, trial.messages([f"{o.system.arch}.so" for o in others], tmp_path), strict=True
    ):
        match = re.search(r"built for (\w+) \((\d+) bits, (\w+)-endian\); this program is for ", said)
        assert match is not None, said
        name, bits, endian = match.groups()
        assert other.system.musl.startswith(name)
        assert (int(bits), endian) == (other.system.bits, other.system.endian)
    base = trial.libraries / "base.so"
    (tmp_path / "unknown.so").write_bytes(changed(base, MACHINE, 0x77, 0x77))
    (tmp_path / "class.so").write_bytes(changed(base, CLASS, 3 - base.read_bytes()[CLASS]))
    (tmp_path / "data.so").write_bytes(changed(base, DATA, 3 - base.read_bytes()[DATA]))
    unknown, width, order = trial.messages(["unknown.so", "class.so", "data.so"], tmp_path)
    assert "built for machine 30583 (" in unknown
    assert f"({96 - trial.system.bits} bits" in width
    assert f"{'big' if trial.system.endian == 'little' else 'little'}-endian)" in order


# Bits of e_flags that differ in files for another ABI of the architecture: how floating-point arguments are
# passed; on POWER, the version of the ABI; on MIPS, the format of NaNs.
OTHER_ABI = {"arm": 0x600, "riscv64": 4, "riscv32": 4, "powerpc64": 3, "loongarch64": 2, "mips64": 0x400}


def test_libraries_for_another_abi_are_refused(trial: Trial, tmp_path: Path) -> None:
    system = trial.system
    if system.musl not in OTHER_ABI:
        pytest.skip("files for this architecture do not tell the ABI")
    data = bytearray((trial.libraries / "base.so").read_bytes())
    at = FLAGS[system.bits]
    flags = int.from_bytes(data[at : at + 4], system.endian) ^ OTHER_ABI[system.musl]
    data[at : at + 4] = flags.to_bytes(4, system.endian)
    (tmp_path / "other.so").write_bytes(data)
    (said,) = trial.messages(["other.so"], tmp_path)
    assert f"built for another ABI (e_flags {flags:#x}; this program has " in said


def test_a_file_of_any_other_length_is_refused(trial: Trial, tmp_path: Path) -> None:
    data = (trial.libraries / "fuzzed.so").read_bytes()
    segments = [s for s in elf(trial.libraries / "fuzzed.so").iter_segments() if s["p_type"] == "PT_LOAD"]
    loaded = max(s["p_offset"] + s["p_filesz"] for s in segments)
    lengths = [*range(100), *range(100, loaded, 37), loaded - 1]
    for length in lengths:
        (tmp_path / f"{length}.so").write_bytes(data[:length])
    for said in trial.messages([f"{length}.so" for length in lengths], tmp_path):
        assert "the file is truncated" in said or "not an ELF file" in said


@pytest.mark.parametrize("name", ["fuzzed.so", "fuzzed_sysv.so"])
def test_damaged_files_crash_nothing(trial: Trial, name: str) -> None:
    rounds = 10_000 if trial.native else 500
    said = trial.passes("fuzz", {"NAMES": name, "ROUNDS": str(rounds)})
    loaded, _, of = said.split()[:3]
    assert int(of) == rounds and rounds // 10 < int(loaded) < rounds * 9 // 10


def test_failures_leave_nothing_behind(trial: Trial) -> None:
    trial.passes("failures", {"ROUNDS": "40000" if trial.native else "2000"})


# --- where libraries are looked for


def test_only_the_paths_of_the_program_and_of_libraries_are_searched(trial: Trial, tmp_path: Path) -> None:
    shutil.copy(trial.libraries / "base.so", tmp_path / "elsewhere.so")
    here = {"LD_LIBRARY_PATH": str(tmp_path), "LD_PRELOAD": str(tmp_path / "elsewhere.so"), "BY_NAME": "1"}
    names = ["base.so", "elsewhere.so", "libz.so.1", "ld-musl.so"]
    base, *others = trial.messages(names, env=here)
    assert base == "loaded"  # it is in $ORIGIN/../lib, which is the program's own RUNPATH
    for name, said in zip(names[1:], others, strict=True):
        assert said == f"Error loading shared library {name}: No such file or directory"
    assert trial.messages(["elsewhere.so"], tmp_path) == ["loaded"]


@pytest.fixture
def root(trial: Trial, tmp_path: Path) -> Iterator[Path]:
    """A root directory with the program and its libraries, and nothing else."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    if not trial.native:
        pytest.skip("the emulator is not in the root directory")
    shutil.copytree(trial.tree, tmp_path / "root", symlinks=True)
    yield tmp_path / "root"


def test_nothing_of_a_system_is_needed(root: Path) -> None:
    def run(program: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CHROOT, str(root), program, "try", "/lib"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("/bin/program", NAMES="tls.so:order_a.so").count("loaded\n") == 2
    # Without /proc, the path by which it was started tells where its libraries are; a relative one does not.
    assert run("/bin/program", NAMES="base.so", BY_NAME="1") == "loaded\n"
    assert "No such file" in run("bin/program", NAMES="base.so", BY_NAME="1")


CHROOT = """
import os, sys
os.chroot(sys.argv[1])
os.chdir("/")
os.execve(sys.argv[2], sys.argv[2:], dict(os.environ))
"""
