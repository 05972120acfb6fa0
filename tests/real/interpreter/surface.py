"""Prints what the standard library of the interpreter that runs it contains, as its build decides.

usage: python -I surface.py

A line for each name: modules, what modules in C and those above them contain, and what libraries can do.
surface.txt is the output under Debian's Python 3.13 (trixie, with python3.13-gdbm), the measure of ours.
surface-3.14.txt is what came (+) and went (-) in Debian's Python 3.14 (sid), but for what SQLite's version
decides.
"""

# It is written for the interpreter under test, whose library is newer than the one that mypy assumes.
# mypy: ignore-errors

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.machinery import SOURCE_SUFFIXES
from types import ModuleType

warnings.simplefilter("ignore")

# Not of this system, with an effect when imported, or the same as another (posix: os).
FOREIGN = {
    "antigravity",
    "idlelib",
    "posix",
    "sitecustomize",
    "test",
    "this",
    "tkinter",
    "turtle",
    "turtledemo",
}
# In Python, but what they contain is that of a module in C, or decided by what the system has.
ABOVE = {"codecs", "curses", "dbm", "hashlib", "locale", "lzma", "multiprocessing", "os", "posixpath", "pty"}
ABOVE |= {"selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "uuid"}
DIRECTIVES = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%"


def main() -> None:
    """Print all lines, sorted."""
    print(*sorted({*modules(), *capabilities()}), sep="\n")


def modules() -> Iterator[str]:
    """Names of modules that can be imported, and of what is in those that depend on the build."""
    names = set(sys.builtin_module_names) | set(sys.stdlib_module_names)
    library = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    names |= {found.name for found in pkgutil.walk_packages(library, onerror=lambda _: None)}
    for name in sorted(names):
        parts = name.split(".")
        private = any(part.startswith("_") or not part.isidentifier() for part in parts)
        if private or parts[0] in FOREIGN:
            continue
        try:
            module = importlib.import_module(name)
        except Exception:
            continue
        yield name
        file = getattr(module, "__file__", None) or ""
        if name in ABOVE or not file.endswith(tuple(SOURCE_SUFFIXES)):
            yield from contents(name, module)


def contents(name: str, module: ModuleType) -> Iterator[str]:
    """Public names in a module and in its classes."""
    for member in dir(module):
        value = getattr(module, member, None)
        if member.startswith("_") or value is None or isinstance(value, ModuleType):
            continue
        yield f"{name}.{member}"
        if isinstance(value, type):
            yield from (f"{name}.{member}.{field}" for field in vars(value) if not field.startswith("_"))


def capabilities() -> Iterator[str]:
    """What libraries can do, beyond their names."""
    import errno
    import hashlib
    import os
    import sqlite3
    import ssl
    import time

    for kind in ("sysconf", "pathconf", "confstr"):
        yield from (f"{kind} {name}" for name in getattr(os, f"{kind}_names"))
    for kind in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks", "supports_effective_ids"):
        yield from (f"os.{kind} {function.__name__}" for function in getattr(os, kind))
    yield from (f"strerror {errno.errorcode[n]}" for n in errno.errorcode if os.strerror(n) != os.strerror(0))
    yield from (f"hash {name}" for name in hashlib.algorithms_available)
    database = sqlite3.connect(":memory:")
    for table in ("json_each", "json_tree"):  # the newest SQLite lists what has been used
        database.execute(f"SELECT 1 FROM {table}('[]')")
    options = (option for (option,) in database.execute("PRAGMA compile_options"))
    yield from (f"sqlite option {option}" for option in options if "=" not in option)
    for kind in ("function", "module", "pragma"):
        yield from (f"sqlite {kind} {row[0]}" for row in database.execute(f"PRAGMA {kind}_list"))
    yield from (f"ssl {name}" for name in dir(ssl) if name.startswith("HAS_") and getattr(ssl, name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL")
    yield from (f"cipher {cipher['name']}" for cipher in context.get_ciphers())
    variables = sysconfig.get_config_vars()
    yield from (f"config {name}" for name in variables if name.startswith("HAVE_") and variables[name])
    with contextlib.suppress(ValueError):
        sys.activate_stack_trampoline("perf")
        sys.deactivate_stack_trampoline()
        yield "-X perf"
    os.environ["TZ"] = "UTC"
    time.tzset()
    moment = time.struct_time((2024, 2, 9, 4, 5, 6, 4, 40, 0))
    for directive in DIRECTIVES:
        for flag in ("", "-", "_", "0", "^", "5"):
            yield f"strftime %{flag}{directive} {time.strftime(f'<%{flag}{directive}>', moment)!r}"
    for text in ("%", "a%Qb", "%H%", "%_#8p", "%Ey"):
        yield f"strftime {text} {time.strftime(text, moment)!r}"


main()
