"""What a finished interpreter must be: facts about its files and its runs → verdicts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

EXECUTABLE, WRITABLE = 1, 2  # flags of a segment (p_flags)

# Not in this interpreter, and why; docs/interpreter.md says it at length.
LEFT_OUT: Final = {
    "_dbm": "its licence would be that of the whole program",
    "_gdbm": "its licence would be that of the whole program",
    "_tkinter": "Tcl/Tk has no useful static form",
    "idlelib": "needs _tkinter",
    "tkinter": "needs _tkinter",
    "turtle": "needs _tkinter",
    "turtledemo": "needs _tkinter",
}
_ELSEWHERE: Final = {  # of other systems than Linux
    "_ios_support", "_overlapped", "_scproxy", "_winapi", "_wmi", "msvcrt", "nt", "winreg", "winsound",
}  # fmt: skip

# What wheels for musl expect of a system, shipped with interpreters that load them.
_OF_A_SYSTEM: Final = frozenset({"lib/libz.so.1"})

_LICENCE: Final = re.compile(r"lib/python3\.\d+/licenses/([^/]+)/[^/]+")


class Segment(msgspec.Struct, frozen=True):
    """A program header. `kind`: as in `PT_LOAD`."""

    kind: str
    flags: int


class Program(msgspec.Struct, frozen=True):
    """An ELF file.

    Attributes:
        needed: the shared objects that it asks for.
        relocations: sections with relocations, of a program that stands at a fixed address.
        loads: it has names for the shared libraries that it loads.
    """

    path: str
    segments: tuple[Segment, ...]
    needed: tuple[str, ...] = ()
    relocations: tuple[str, ...] = ()
    loads: bool = False


class Files(msgspec.Struct, frozen=True):
    """What is known of a tree.

    Attributes:
        names: of all files. programs: the ELF files among them.
        with_build_paths: files in whose content there is a path of the build.
    """

    names: tuple[str, ...]
    programs: tuple[Program, ...]
    with_build_paths: tuple[str, ...]


class Run(msgspec.Struct, frozen=True):
    """What the interpreter did when it was tried out. `error`: empty if it did as it should."""

    error: str


class Verdict(msgspec.Struct, frozen=True):
    """One thing that must hold, and whether it does. `details`: why not."""

    name: str
    status: Literal["good", "bad", "not tried"]
    details: tuple[str, ...] = ()


def of_files(files: Files, licensed: Iterable[str]) -> Iterator[Verdict]:
    """The verdicts on the files themselves."""
    programs = files.programs
    loaded = [f"{p.path}: PT_INTERP" for p in programs if any(s.kind == "PT_INTERP" for s in p.segments)]
    loaded += [f"{p.path}: needs {name}" for p in programs for name in p.needed]
    loaded += [f"{p.path}: {name}" for p in programs for name in p.relocations]
    if not programs:
        loaded = ["there is no program"]
    yield _verdict("programs are static: no PT_INTERP, no DT_NEEDED, no relocations", loaded)
    expected = _OF_A_SYSTEM if any(p.loads for p in programs) else frozenset()
    shared = [name for name in files.names if re.search(r"\.so(\.[0-9.]+)?\Z", name)]
    yield _verdict("no shared objects but what wheels expect", [n for n in shared if n not in expected])
    both = WRITABLE | EXECUTABLE
    yield _verdict(
        "no segment is writable and executable",
        [f"{p.path}: {s.kind}" for p in programs for s in p.segments if s.flags & both == both],
    )
    yield _verdict("the stack is not executable (PT_GNU_STACK)", [d for p in programs for d in _stack(p)])
    yield _verdict("no path of the build in any file", files.with_build_paths)
    found = {m[1] for name in files.names if (m := _LICENCE.fullmatch(name))}
    yield _verdict("the licences are there", [f"licenses/{p}: no file" for p in licensed if p not in found])


def _stack(program: Program) -> Iterator[str]:
    stacks = [s for s in program.segments if s.kind == "PT_GNU_STACK"]
    if not stacks:
        yield f"{program.path}: no PT_GNU_STACK, which means an executable stack"
    elif any(s.flags & EXECUTABLE for s in stacks):
        yield f"{program.path}: executable"


def of_imports(failed: dict[str, str]) -> Verdict:
    """The verdict on importing every module of the standard library. `failed`: name to error."""
    known = LEFT_OUT.keys() | _ELSEWHERE
    wrong = [f"{name}: {error}" for name, error in sorted(failed.items()) if name not in known]
    return _verdict("every module of sys.stdlib_module_names imports, but for those left out", wrong)


def of_run(name: str, run: Run | None, why_not: str = "") -> Verdict:
    """The verdict on a run; None if it was not tried."""
    if run is None:
        return Verdict(name, "not tried", (why_not,))
    return _verdict(name, [run.error] if run.error else [])


def _verdict(name: str, wrong: Iterable[str]) -> Verdict:
    details = tuple(wrong)
    return Verdict(name, "bad" if details else "good", details)
