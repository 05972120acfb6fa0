"""Finds out what `artefact` judges: reads the files of a tree, and tries the interpreter out."""

from __future__ import annotations

import io
import json
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from hermetic.check import artefact
from hermetic.check.artefact import Files, Program, Run, Segment, Verdict
from hermetic.check.room import Room
from hermetic.sandbox import seccomp

# Absolute paths of a build: not the end of another path, as in Tools/build.
BUILD_PATHS: Final = re.compile(rb"(?<![\w.)}*-])/(?:hermetic|build)/[\w.-]+")
_TIMEOUT: Final = 600.0  # seconds
_ELF: Final = b"\x7fELF"
_TRIES: Final = "tries.py"
_RESULT: Final = "result.json"


def verdicts(room: Room, licensed: Iterable[str]) -> tuple[Verdict, ...]:
    """All verdicts on an interpreter. `licensed`: the parts of it that must come with their licences."""
    tries = Path(__file__).with_name("tries.py").read_text(encoding="utf-8")
    found = [*artefact.of_files(files(room.interpreter.tree), licensed), _imports(room, tries)]
    for name, what, program in (
        (
            "runs where memory is never writable and executable",
            "no-writable-code",
            seccomp.no_writable_code(),
        ),
        ("runs on Linux 5.8", "linux-5.8", seccomp.linux_5_8()),
    ):
        why_not = f"the filter is for {room.interpreter.arch} machines" if room.interpreter.emulated else ""
        run = None if why_not else _try(room, tries, what, program)
        found.append(artefact.of_run(name, run, why_not))
    return tuple(found)


def files(tree: Path) -> Files:
    """What is known of a tree: its names, its programs, and paths of the build in it."""
    names, programs, leaks = [], [], []
    for path in _regular(tree):
        name = path.relative_to(tree).as_posix()
        names.append(name)
        if path.stat().st_size == 0:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if leak := BUILD_PATHS.search(data):
                leaks.append(f"{name}: {leak[0].decode()}")
            if data[:4] == _ELF:
                programs.append(program(name, bytes(data)))
    return Files(tuple(names), tuple(programs), tuple(leaks))


def _regular(tree: Path) -> Iterator[Path]:
    for directory, below, names in os.walk(tree):
        below.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if not path.is_symlink():
                yield path


def program(name: str, data: bytes) -> Program:
    """What an ELF file asks of the machine that runs it."""
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile  # slow to load
    from elftools.elf.relocation import RelocationSection, RelrRelocationSection

    elf: Any = ELFFile(io.BytesIO(data))
    fixed = elf["e_type"] == "ET_EXEC"
    segments = tuple(Segment(str(s["p_type"]), int(s["p_flags"])) for s in elf.iter_segments())
    needed, relocations, loads = [], [], False
    # Sections, because a program that loads libraries has no program header for its dynamic section.
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            tags: Any = section.iter_tags("DT_NEEDED")
            needed += [str(tag.needed) for tag in tags]
        elif fixed and isinstance(section, RelocationSection | RelrRelocationSection):
            relocations.append(str(section.name))
        elif fixed and section["sh_type"] == "SHT_DYNSYM":
            loads = section["sh_size"] > section["sh_entsize"]
    return Program(name, segments, tuple(needed), tuple(relocations), loads)


def _imports(room: Room, tries: str) -> Verdict:
    ran = room.run("imports", "-I", _TRIES, "imports", timeout=_TIMEOUT, files={_TRIES: tries}, keep=_RESULT)
    try:
        failed = json.loads(ran.kept)
    except ValueError:
        failed = {"the interpreter": f"ended without a result: {ran.output[-500:]}"}
    return artefact.of_imports(failed)


def _try(room: Room, tries: str, what: str, program: bytes) -> Run:
    arguments = ("-I", _TRIES, what, program.hex())
    ran = room.run(what, *arguments, timeout=_TIMEOUT, files={_TRIES: tries})
    return Run("" if ran.result.ok else f"exit status {ran.result.exit_status}: {ran.output[-2000:]}")
