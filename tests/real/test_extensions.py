"""Extension modules: the wheels that derivations/wheels pins, in interpreters that load them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hermetic.derivation.instantiate import Evaluator
from hermetic.project.files import read_worktree
from hermetic.systems import SYSTEMS, System
from tests.real.conftest import (
    CHECKOUT,
    LOADS_EXTENSIONS,
    NATIVE,
    TARGETS,
    environment,
    hermetic,
    library,
    line,
    own_copy,
)

LINE = "3.13"  # of the interpreters that the wheels are for
WHEELS = "wheels"  # the recipe

# By package: what its extension modules do, and what that prints.
PACKAGES = {
    "cffi": (
        "import cffi; f = cffi.FFI(); f.cdef('int abs(int);')\n"
        "more = f.callback('int(int)', lambda n: n + 1); print(more(f.dlopen(None).abs(-3)))",
        "4",
    ),
    "charset-normalizer": (
        "import charset_normalizer as c, charset_normalizer.md as m\n"
        "print(m.__file__[-3:], c.from_bytes('naïve café, déjà vu'.encode()).best())",
        ".so naïve café, déjà vu",
    ),
    "cryptography": (
        "from cryptography.fernet import Fernet as F; f = F(F.generate_key())\n"
        "print(f.decrypt(f.encrypt(b'hi')))",
        "b'hi'",
    ),
    "grpcio": (
        "import os; os.environ['GRPC_VERBOSITY'] = 'NONE'\n"
        "import grpc; from concurrent.futures import ThreadPoolExecutor\n"
        "upper = grpc.unary_unary_rpc_method_handler(lambda request, context: request.upper())\n"
        "server = grpc.server(ThreadPoolExecutor(2))\n"
        "server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler('text', {'Upper': upper})])\n"
        "port = server.add_insecure_port('127.0.0.1:0'); server.start()\n"
        "with grpc.insecure_channel(f'127.0.0.1:{port}') as channel:\n"
        "    print(channel.unary_unary('/text/Upper')(b'hi', timeout=60))\n"
        "server.stop(None).wait()",
        "b'HI'",
    ),
    "lxml": (
        "from lxml import etree; print(etree.fromstring('<a><b x=\"1\"/></a>').xpath('//b/@x'))",
        "['1']",
    ),
    "markupsafe": ("import markupsafe._speedups; print(markupsafe.escape('<a>'))", "&lt;a&gt;"),
    "multidict": (
        "import multidict._multidict as m; d = m.CIMultiDict(a=1); d.add('A', 2); print(d.getall('a'))",
        "[1, 2]",
    ),
    "numpy": ("import numpy as n; print(round(float(n.linalg.det(n.eye(3) * 2)), 6))", "8.0"),
    "pandas": (
        "import io, pandas; table = pandas.read_csv(io.StringIO('k,v\\na,1\\nb,2\\na,3\\n'))\n"
        "print(table.groupby('k')['v'].sum().to_dict())",
        "{'a': 4, 'b': 2}",
    ),
    "pillow": (
        "import io; from PIL import Image; b = io.BytesIO(); Image.new('RGB', (8, 8), 'red').save(b, 'PNG')\n"
        "print(Image.open(b).getpixel((1, 1)))",
        "(255, 0, 0)",
    ),
    "psutil": ("import os, psutil; print(psutil.Process().pid == os.getpid())", "True"),
    "pydantic-core": ("from pydantic_core import from_json; print(from_json('[1, 2]'))", "[1, 2]"),
    "pyyaml": ("import yaml; print(yaml.load('a: [1, x]', yaml.CSafeLoader))", "{'a': [1, 'x']}"),
    "regex": ("import regex; print(regex.findall(r'\\p{Lu}', 'aBČ'))", "['B', 'Č']"),
    "rpds-py": ("import rpds; print(rpds.HashTrieMap({'a': 1}).insert('b', 2)['b'])", "2"),
    "uvloop": ("import asyncio, uvloop; print(uvloop.run(asyncio.sleep(0, 'slept')))", "slept"),
}
# Those that have threads of their own or a loop: they do not work on in a child after fork.
NOT_AFTER_FORK = ("grpcio", "uvloop")


def _packages() -> dict[str, tuple[str, ...]]:
    """The packages of `PACKAGES` for each system that wheels are pinned for, by its GNU triple."""
    evaluator = Evaluator(read_worktree(CHECKOUT))
    recipe = evaluator.recipe(WHEELS)
    found = {}
    for arch in recipe.systems:
        files = (evaluator.lock.pin(source).file for source in recipe.files_for(arch))
        names = {file.partition("-")[0].replace("_", "-") for file in files}
        found[SYSTEMS[arch].triple] = tuple(name for name in PACKAGES if name in names)
    return found


PINNED = _packages()


def _system(target: str) -> System:
    return SYSTEMS[target.rpartition("-")[2]]


def _packages_of(target: str) -> tuple[str, ...]:
    return PINNED.get(_system(target).triple, ())


class Environment:
    """A virtual environment of an interpreter, with the packages that are pinned for its system.

    Attributes:
        machine: as wheels call it.
        tree: of the interpreter. wheels: the directory that they were installed from.
        packages: those of `PACKAGES`.
    """

    def __init__(self, target: str, paths: dict[str, Path], wheels: Path, directory: Path) -> None:
        self.tree, self.wheels, self.directory = paths[target], wheels, directory
        self.packages, self.machine = _packages_of(target), _system(target).uname[0]
        emulator = paths["qemu-user"] / "usr/bin" / _system(target).qemu
        self._command = () if target in NATIVE else (str(emulator),)
        self._python = self.tree / "bin/python3"
        if self.run("-c", LOADS_EXTENSIONS) != "True\n":
            pytest.skip("this interpreter is sealed")
        self.run("-m", "venv", "--without-pip", str(directory))
        self._python = directory / "bin/python"
        self.pip("install", *self.packages)

    @property
    def site(self) -> Path:
        """Where the packages are."""
        return self.directory / f"lib/python{LINE}/site-packages"

    def pip(self, command: str, *args: str) -> str:
        """Run the pip that comes with the interpreter. It starts no process, which an emulator could not."""
        (pip,) = library(self.tree).glob("ensurepip/_bundled/pip-*.whl")
        offline = ("--no-index", "--find-links", str(self.wheels), "--no-cache-dir")
        return self.run(str(pip / "pip"), command, "-q", *offline, "--no-compile", *args)

    def run(self, *args: str, status: int = 0, **env: str) -> str:
        """What the interpreter prints, stdout and stderr together."""
        done = subprocess.run(
            [*self._command, str(self._python), *args],
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def environments(
    outputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Environment]:
    """An environment for each target, made when it is first asked for."""
    made: dict[str, Environment] = {}

    def of(target: str) -> Environment:
        if target not in made:
            if not _packages_of(target):
                pytest.skip(f"no wheels are pinned for {_system(target).arch}")
            if line(outputs[target]) != LINE:
                pytest.skip(f"the pinned wheels are for Python {LINE}")
            arch = next(a for a, s in SYSTEMS.items() if s.triple == _system(target).triple)
            records = json.loads(hermetic("realize", "--json", f"{WHEELS}-{arch}", "qemu-user").stdout)
            wheels, emulators = (Path(record["path"]) for record in records)
            directory = tmp_path_factory.mktemp(target)
            made[target] = Environment(target, {**outputs, "qemu-user": emulators}, wheels, directory)
        return made[target]

    return of


@pytest.fixture
def env(target: str, environments: Callable[[str], Environment]) -> Environment:
    """The environment of each target in turn."""
    return environments(target)


@pytest.fixture(params=NATIVE)
def native_env(request: pytest.FixtureRequest, environments: Callable[[str], Environment]) -> Environment:
    """The environment of each target that this machine runs as it is."""
    return environments(request.param)


def _with(env: Environment, package: str) -> Environment:
    if package not in env.packages:
        pytest.skip(f"no wheel of {package} is pinned for this system")
    return env


@pytest.mark.parametrize(
    ("target", "package"),
    [(target, package) for target in TARGETS if "sealed" not in target for package in _packages_of(target)],
)
def test_wheels_work(environments: Callable[[str], Environment], target: str, package: str) -> None:
    code, said = PACKAGES[package]
    assert environments(target).run("-I", "-c", code) == said + "\n"


def test_installers_take_the_wheels_for_musl_and_this_machine(env: Environment) -> None:
    tags = [
        text.removeprefix("Tag: ")
        for file in env.site.glob("*.dist-info/WHEEL")
        for text in file.read_text().splitlines()
        if text.startswith("Tag: ") and not text.endswith("-any")
    ]
    assert len(tags) >= len(env.packages)
    assert {tag.partition("musllinux_")[2][4:] for tag in tags} == {env.machine}


def test_all_of_them_in_one_process_which_ends_in_order(env: Environment) -> None:
    script = env.directory / "order.py"
    statements = [PACKAGES[package][0] for package in env.packages]
    script.write_text(
        "import atexit, threading\n"
        "atexit.register(print, 'first to register, last to run')\n"
        f"for code in {statements!r}:\n"
        "    exec(code, globals())\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "atexit.register(print, 'at exit')\n"
    )
    said = [PACKAGES[package][1] for package in env.packages]
    assert env.run(str(script)).splitlines() == [*said, "at exit", "first to register, last to run"]


def test_threads_and_children_load_them(native_env: Environment) -> None:
    packages = [name for name in native_env.packages if name not in NOT_AFTER_FORK]
    script = native_env.directory / "children.py"
    script.write_text(f"""
import contextlib, io, multiprocessing, threading

def work(code):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code, {{}})
    return said.getvalue().strip()

if __name__ == "__main__":
    codes = {[PACKAGES[name][0] for name in packages]!r}
    stop = []
    def churn():
        while not stop:
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
    others = [threading.Thread(target=churn) for _ in range(2)]
    for thread in others:
        thread.start()
    loaders = [threading.Thread(target=exec, args=(code.replace("print", "str"), {{}})) for code in codes * 2]
    for thread in loaders:
        thread.start()
    for thread in loaders:
        thread.join()
    stop.append(1)
    for thread in others:
        thread.join()
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(work, codes))
""")
    said = [PACKAGES[name][1] for name in packages]
    methods = ("fork", "spawn", "forkserver")
    assert native_env.run(str(script)).splitlines() == [f"{method} {said}" for method in methods]


def test_loading_can_be_switched_off(native_env: Environment) -> None:
    code = "import ctypes, json, ssl; print(ctypes.CDLL(None).getpid() > 0)\n"
    code += PACKAGES[native_env.packages[0]][0]
    assert native_env.run("-c", code).startswith("True\n")
    said = native_env.run("-c", code, status=1, PYTHONNOEXTENSIONS="1")
    assert "True\n" in said and "PYTHONNOEXTENSIONS is set" in said


def test_a_module_for_glibc_is_refused_in_words(native_env: Environment, tmp_path: Path) -> None:
    wheels = [wheel for wheel in native_env.wheels.glob("*.whl") if "manylinux" in wheel.name]
    if not wheels:
        pytest.skip("no wheel for glibc is pinned for this system")
    native_env.run("-m", "zipfile", "-e", str(wheels[0]), str(tmp_path))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import markupsafe._speedups"
    said = native_env.run("-c", code, status=1)
    assert "built for the GNU C library" in said and "this Python takes musllinux wheels" in said


def test_zlib_of_the_system_is_the_one_that_comes_with_the_interpreter(env: Environment) -> None:
    code = """
import PIL._imaging
print(*{text.split()[-1] for text in open("/proc/self/maps") if "/libz.so" in text})
"""
    (found,) = _with(env, "pillow").run("-c", code).split()
    assert Path(found).samefile(env.tree / "lib/libz.so.1")


def test_without_proc(native_env: Environment, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root = own_copy(_with(native_env, "numpy").tree, tmp_path / "root")
    for package in native_env.site.glob("numpy*"):
        shutil.copytree(package, library(root) / "site-packages" / package.name)
    code, said = PACKAGES["numpy"]
    done = subprocess.run(
        ["chroot", str(root), "/bin/python3", "-c", code],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (said + "\n", "")


def test_ctypes_finds_functions_and_data_of_the_program(env: Environment) -> None:
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
    assert env.run("-c", code) == "b'python'\nTrue\nTrue\n"
