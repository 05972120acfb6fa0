"""The shape of the code: imports point one way, effects stay where they belong, nothing names one machine."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import REPOSITORY

PACKAGE = REPOSITORY / "hermetic"
LONGEST = 600  # lines of a module


def table() -> list[tuple[str, list[str]]]:
    """The layers, lowest first, each with its pure modules, as ARCHITECTURE.md lists them."""
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| `(\w+)/?` \|.*\|([^|]*)\|$", text.partition("| layer |")[2], re.M)
    return [
        (name, re.findall(r"`(\w+)`", pure) or (["all"] if pure.strip() == "all" else []))
        for name, pure in rows
    ]


LAYERS = (*(name for name, _ in table()), "__main__")

# Functions of their arguments: nothing here may know of files, processes, the clock or the network.
EFFECTS = {
    "asyncio", "concurrent", "datetime", "fcntl", "httpx", "locale", "multiprocessing", "os", "pathlib",
    "platform", "random", "secrets", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile",
    "threading", "time", "uuid",
}  # fmt: skip

# What runs in the fork server, started with `-I -S`: the standard library and these alone.
SERVER = (
    "__main__",
    "host",
    "inside",
    "seccomp",
    "syscalls",
    "clock",
    "ptrace",
    "wire",
    "log",
    "limits",
    "machine",
)


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module by its name below the package: `store.core`; of a package, `store.__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found[".".join(path.relative_to(PACKAGE).with_suffix("").parts)] = ast.parse(
            path.read_text(), str(path)
        )
    return found


@functools.cache
def nodes(name: str) -> list[ast.AST]:
    """All that a module is made of."""
    return list(ast.walk(modules()[name]))


@functools.cache
def imports(module: str) -> list[str]:
    """Full names of all that a module imports anywhere, functions and type checking included."""
    return list(_imports(module))


def _imports(module: str) -> Iterator[str]:
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> str:
    """`hermetic.store.core` → `store`."""
    return name.removeprefix("hermetic.").split(".")[0]


def own_imports(module: str) -> set[str]:
    known = {layer(name) for name in modules()}
    return {layer(n) for n in imports(module) if n.startswith("hermetic.") and layer(n) in known}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or of attributes of a name; nothing for what is more than that."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def test_every_module_has_its_layer() -> None:
    assert {layer(name) for name in modules()} - {"__init__"} == set(LAYERS)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_one_way(name: str) -> None:
    if name != "__init__":
        allowed = set(LAYERS[: LAYERS.index(layer(name)) + 1])
        assert own_imports(name) <= allowed


def test_no_module_is_part_of_a_circle() -> None:
    """Not even by an import inside a function; what serves type checking alone does not count."""
    edges = {name: needed(name) for name in modules()}
    done: set[str] = set()
    for start in edges:
        way, stack = [start], [iter(sorted(edges[start]))]
        while stack and start not in done:
            following = next(stack[-1], None)
            if following is None:
                done.add(way.pop())
                stack.pop()
            elif following not in done:
                assert following not in way, " → ".join([*way[way.index(following) :], following])
                way.append(following)
                stack.append(iter(sorted(edges[following])))


def needed(name: str) -> set[str]:
    """The modules that a module imports anywhere, but for type checking."""
    found = set()
    left: list[ast.AST] = [modules()[name]]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING":
            left += node.orelse
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:  # a module of a package, or a name that its `__init__` has
                parts = f"{node.module}.{alias.name}".removeprefix("hermetic.")
                parent = parts.rpartition(".")[0]
                tried = (parts, f"{parts}.__init__", parent, f"{parent}.__init__")
                found.add(next((m for m in tried if m in modules()), name))
    return found - {name}


def test_the_package_itself_imports_nothing() -> None:
    """Where it is read; a public name is imported when it is first asked for."""
    tree = modules()["__init__"]
    now = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert now == []
    assert imports("cli.__init__") == []


def test_no_import_is_left_of_a_layer_that_does_not_exist() -> None:
    for name in modules():
        for imported in imports(name):
            if imported.startswith("hermetic."):
                parts = imported.split(".")[1:]
                there = {".".join(parts), ".".join(parts[:-1]), f"{'.'.join(parts)}.__init__"}
                there.add(f"{'.'.join(parts[:-1])}.__init__")
                assert there & set(modules()), f"{name} imports {imported}"


def pure() -> list[str]:
    found = []
    for name, chosen in table():
        inside = [m for m in modules() if m == name or m.startswith(f"{name}.")]
        wanted = inside if chosen == ["all"] else [f"{name}.{module}" for module in chosen]
        assert set(wanted) <= set(inside), f"ARCHITECTURE.md names modules that {name} does not have"
        found += wanted
    return found


def test_something_is_pure() -> None:
    assert {"errors", "derivation.instantiate", "project.recipe", "gc.plan"} <= set(pure())


@pytest.mark.parametrize("name", pure())
def test_what_is_pure_knows_nothing_of_the_machine(name: str) -> None:
    assert {i.split(".")[0] for i in imports(name)} & EFFECTS == set()
    opened = [n for n in nodes(name) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "open"]
    assert opened == []


@pytest.mark.parametrize("name", SERVER)
def test_the_sandbox_server_needs_the_standard_library_alone(name: str) -> None:
    for imported in imports(f"sandbox.{name}"):
        own = (
            imported == "hermetic.sandbox"
            or imported.removeprefix("hermetic.sandbox.").split(".")[0] in SERVER
        )
        assert own or imported.split(".")[0] in sys.stdlib_module_names, imported
    assert imports("sandbox.__init__") == []


def test_nobody_but_the_command_line_prints_or_exits() -> None:
    found = []
    for name in modules():
        if layer(name) in ("cli", "__main__"):
            continue
        for node in nodes(name):
            called = dotted(node.func) if isinstance(node, ast.Call) else ""
            said = called in ("print", "exit", "quit", "sys.exit", "breakpoint") or called.startswith(
                "click."
            )
            # A module that is a program of its own, run in another process, has streams of its own.
            program = name == "store.hasher"
            streams = dotted(node) in ("sys.stdout", "sys.stderr")
            ends = isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node)
            if said or (streams and not program) or ends:
                found.append(f"{name}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    assert found == []


def test_only_the_sandbox_and_the_entry_point_end_processes_the_hard_way() -> None:
    users = {name for name in modules() if any(dotted(node) == "os._exit" for node in nodes(name))}
    assert "cli.entry" in users, "there all is written and closed"
    assert {layer(name) for name in users - {"cli.entry"}} == {"sandbox"}, "it ends its forks so"


def test_no_module_is_longer_than_a_person_reads() -> None:
    lengths = {p.relative_to(REPOSITORY): len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {str(p): n for p, n in lengths.items() if n > LONGEST} == {}


def test_every_module_says_what_it_is() -> None:
    empty = [n for n, tree in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert [name for name in empty if name not in ("__main__",)] == []


# -- what no file may hold


def tracked() -> list[Path]:
    """The files that git knows or would take."""
    command = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [REPOSITORY / os.fsdecode(name) for name in listed.split(b"\0") if name]
    return [p for p in paths if p.is_file() and not p.is_symlink()]


def holding(pattern: str) -> list[str]:
    """`file:line` of every line that matches."""
    wanted = re.compile(pattern.encode())
    found = []
    for path in tracked():
        data = path.read_bytes()
        if wanted.search(data):
            numbers = [n for n, line in enumerate(data.splitlines(), 1) if wanted.search(line)]
            found += [f"{path.relative_to(REPOSITORY)}:{n}" for n in numbers]
    return found


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Which index pip uses, and which mirror apt, is the machine's business."""
    hosts = ("pypi:org", "pythonhosted:org", "deb:debian:org", "ftp:debian:org", "archive:ubuntu:com",
             "snapshot:debian:org", "security:debian:org", "registry:npmjs:org",
             "conda:anaconda:org")  # fmt: skip
    assert holding("|".join(re.escape(host.replace(":", ".")) for host in hosts)) == []


def test_no_file_names_a_path_of_this_machine() -> None:
    here = {str(REPOSITORY), sys.prefix, str(Path.home() / ".cache"), str(Path.home() / ".config")}
    places = [p for p in here if len(Path(p).parts) > 2 and not p.startswith(("/usr", "/root", "/app/src"))]
    if not places:
        pytest.skip("this checkout stands at a place that says nothing")
    assert holding("|".join(rf"{re.escape(place)}(?![\w.-])" for place in places)) == []


def test_no_file_is_left_with_marks_of_a_merge_or_trailing_blanks_in_code() -> None:
    assert holding(r"^(<{7} |>{7} |={7}$)") == []
