"""Extension modules: wheels from the index that pip is configured for, in interpreters that load them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.conftest import environment, index_settings, line

# By package: what its extension modules do. Each line of code is one statement.
PACKAGES = {
    "markupsafe": "import markupsafe._speedups; print(markupsafe.escape('<a>'))",
    "pyyaml": "import yaml; print(yaml.load('a: [1, x]', yaml.CSafeLoader))",
    "psutil": "import os, psutil; print(psutil.Process().pid == os.getpid())",
    "numpy": "import numpy as n; print(round(float(n.linalg.det(n.eye(3) * 2)), 6))",
    "lxml": "from lxml import etree; print(etree.fromstring('<a><b x=\"1\"/></a>').xpath('//b/@x'))",
    "cryptography": "from cryptography.fernet import Fernet as F; f = F(F.generate_key()); "
    "print(f.decrypt(f.encrypt(b'hi')))",
    "pydantic-core": "from pydantic_core import from_json; print(from_json('[1, 2]'))",
    "pillow": "import io; from PIL import Image as I; b = io.BytesIO(); I.new('RGB', (8, 8), 'red')"
    ".save(b, 'PNG'); print(I.open(b).getpixel((1, 1)))",
    "uvloop": "import asyncio, uvloop; print(uvloop.run(asyncio.sleep(0, 'slept')))",
}
SAID = {
    "markupsafe": "&lt;a&gt;",
    "pyyaml": "{'a': [1, 'x']}",
    "psutil": "True",
    "numpy": "8.0",
    "lxml": "['1']",
    "cryptography": "b'hi'",
    "pydantic-core": "[1, 2]",
    "pillow": "(255, 0, 0)",
    "uvloop": "slept",
}


@pytest.fixture(scope="module")
def python(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of an interpreter that loads extension modules, with all packages."""
    program = native / "bin/python3"
    if run(program, "-c", "import _imp; print(hasattr(_imp, 'create_dynamic'))") != "True\n":
        pytest.skip("this interpreter is sealed")
    directory = tmp_path_factory.mktemp("extensions")
    run(program, "-m", "venv", str(directory))
    done = subprocess.run(
        [str(directory / "bin/pip"), "install", "-q", "--only-binary", ":all:", *PACKAGES],
        env={**index_settings(), **environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "No matching distribution" not in done.stderr:
        pytest.skip(f"pip cannot install here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return directory / "bin/python"


def run(python: Path, *args: str, status: int = 0, **env: str) -> str:
    done = subprocess.run(
        [str(python), *args],
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_wheels_work(python: Path, package: str) -> None:
    assert run(python, "-I", "-c", PACKAGES[package]) == SAID[package] + "\n"


def test_all_of_them_in_one_process_with_threads_and_children(python: Path) -> None:
    code = """
import multiprocessing, sys, threading

def load(n):
    import numpy
    return float(numpy.ones(n).sum())

if __name__ == "__main__":
    stop = []
    def churn():
        while not stop:
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
    others = [threading.Thread(target=churn) for _ in range(2)]
    for thread in others:
        thread.start()
    import lxml.etree, psutil, PIL._imaging, pydantic_core, yaml, uvloop, cryptography.fernet
    loaders = [threading.Thread(target=load, args=(9,)) for _ in range(4)]
    for thread in loaders:
        thread.start()
    for thread in loaders:
        thread.join()
    stop.append(1)
    for thread in others:
        thread.join()
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(load, [1, 2]))
"""
    script = python.parent.parent / "all.py"
    script.write_text(code)
    said = run(python, str(script))
    assert said.splitlines() == [f"{method} [1.0, 2.0]" for method in ("fork", "spawn", "forkserver")]


def test_loading_can_be_switched_off(python: Path) -> None:
    code = "import ctypes, json, ssl; print(ctypes.CDLL(None).getpid() > 0); import markupsafe._speedups"
    assert run(python, "-c", code) == "True\n"
    said = run(python, "-c", code, status=1, PYTHONNOEXTENSIONS="1")
    assert "True\n" in said and "PYTHONNOEXTENSIONS is set" in said


def test_a_module_for_the_other_c_library_is_refused_in_words(python: Path, tmp_path: Path) -> None:
    version = line(python.resolve().parent.parent)
    wanted = (
        "--platform",
        "manylinux2014_x86_64",
        "--python-version",
        version,
        "-d",
        str(tmp_path),
        "markupsafe",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", *wanted],
        env={**index_settings(), **environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pip cannot download here: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    run(python, "-m", "zipfile", "-e", str(wheel), str(tmp_path / "site"))
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import markupsafe._speedups"
    said = run(python, "-c", code, status=1)
    assert "built for the GNU C library" in said and "this Python takes musllinux wheels" in said


def test_ctypes_finds_functions_and_data_of_the_program(python: Path) -> None:
    code = """
import ctypes, ctypes.util
print(ctypes.c_char_p.in_dll(ctypes.CDLL(None), "program_invocation_short_name").value)
print(ctypes.py_object.in_dll(ctypes.pythonapi, "PyExc_ValueError").value is ValueError)
z = ctypes.CDLL(ctypes.util.find_library("z"))
z.zlibVersion.restype = ctypes.c_char_p
print(z.zlibVersion() >= b"1.3")
for name in ("SSL_new", "sqlite3_open", "deflate", "mi_malloc", "ffi_call"):
    assert not hasattr(ctypes.CDLL(None), name), name
"""
    assert run(python, "-c", code) == "b'python'\nTrue\nTrue\n"
