"""Extension modules built from source: by pip with zig's compiler, and by a derivation with ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hermetic.systems import SYSTEMS
from tests.real.conftest import (
    LOADS_EXTENSIONS,
    NATIVE,
    TARGETS,
    environment,
    hermetic,
    index_settings,
    line,
    realize_beside_our_recipes,
)

SOURCE = """
#include <Python.h>
#include <math.h>

static PyObject *half(PyObject *self, PyObject *arg) {
    double value = PyFloat_AsDouble(arg);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(floor(value) / 2);
}

static PyMethodDef methods[] = {{"half", half, METH_O, "Half of a number without its fraction."}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "trial", NULL, 0, methods};

PyMODINIT_FUNC PyInit_trial(void) { return PyModuleDef_Init(&module); }
"""
USES = "import trial; print(trial.half(9.5), trial.__file__.rpartition('/')[2])"

RECIPE = """
name = "extension-trial"
version = "1"
host-inputs = ["{interpreter}"]

[meta]
license = "MIT"
description = "An extension module"
"""
SCRIPT = """
cat >trial.c <<'END'
{source}
END
suffix=$(sed -n "s/^ *'EXT_SUFFIX': '\\(.*\\)',$/\\1/p" "${name}"/lib/python3*/_sysconfigdata_*.py)
$CC -O2 -fPIC "-I$(echo "${name}"/include/python3*)" -c trial.c -o trial.o
mkdir -p "$out"
$LD -shared -o "$out/trial$suffix" trial.o
"""

LOADING = tuple(t for t in TARGETS if "sealed" not in t)


@pytest.mark.parametrize("target", LOADING)
def test_our_toolchain_builds_what_the_interpreter_loads(
    target: str, outputs: dict[str, Path], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    interpreter, _, arch = target.rpartition("-")
    recipe = project / "derivations/extension-trial"
    recipe.mkdir(parents=True)
    (recipe / "recipe.toml").write_text(RECIPE.format(interpreter=interpreter))
    variable = interpreter.replace("-", "_").replace(".", "_")
    (recipe / "build.sh").write_text(
        SCRIPT.replace("{source}", SOURCE).replace("{name}", "{" + variable + "}")
    )
    paths = realize_beside_our_recipes(project, f"extension-trial-{arch}", "qemu-user")
    module, emulators = (str(path) for path in paths.values())
    emulator = () if target in NATIVE else (f"{emulators}/usr/bin/{SYSTEMS[arch].qemu}",)
    said = subprocess.run(
        [*emulator, str(outputs[target] / "bin/python3"), "-c", USES],
        env=environment(PYTHONPATH=module),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    half, _, file = said.rstrip().partition(" ")
    assert half == "4.5"
    assert file.startswith("trial.cpython-3") and "-linux-musl" in file


class Builder:
    """A virtual environment in which pip builds with zig's compiler, and a home with pip's cache.

    Attributes:
        seals: whether the interpreter is sealed.
    """

    def __init__(self, python: Path, compiler: str, directory: Path, home: Path) -> None:
        self.directory = directory
        self.env = {**index_settings(), **environment(CC=compiler, HOME=str(home))}
        self.run(str(python), "-m", "venv", str(directory))
        self.seals = "False" in self.python(LOADS_EXTENSIONS)

    def run(self, *command: str, status: int = 0) -> str:
        done = subprocess.run(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if "No matching distribution found for setuptools" in done.stdout:
            pytest.skip("pip cannot install setuptools here")
        assert (done.returncode == 0) == (status == 0), done.stdout
        return done.stdout

    def python(self, code: str) -> str:
        return self.run(str(self.directory / "bin/python"), "-c", code)

    def pip(self, *args: str, status: int = 0) -> str:
        return self.run(str(self.directory / "bin/pip"), *args, status=status)

    def modules(self) -> set[str]:
        """The extension modules that were installed, without their suffixes."""
        return {
            file.name.partition(".")[0] for file in self.directory.glob("lib/python3*/site-packages/**/*.so")
        }


@pytest.fixture(scope="session")
def zig(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command of the compiler, which makes a C library once for each kind of target."""
    (record,) = json.loads(hermetic("realize", "--json", "zig").stdout)
    cache = tmp_path_factory.mktemp("zig")
    return f"env ZIG_GLOBAL_CACHE_DIR={cache} {record['path']}/ziglang/zig cc"


@pytest.fixture(params=NATIVE)
def builder(request: pytest.FixtureRequest, outputs: dict[str, Path], zig: str, tmp_path: Path) -> Builder:
    """For each interpreter that runs on this machine."""
    target: str = request.param
    compiler = f"{zig} -target {SYSTEMS[target.rpartition('-')[2]].zig}"
    return Builder(outputs[target] / "bin/python3", compiler, tmp_path / "env", tmp_path)


def test_pip_builds_with_a_compiler_for_musl(builder: Builder, tmp_path: Path) -> None:
    package = tmp_path / "trial"
    package.mkdir()
    (package / "trial.c").write_text(SOURCE)
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    (package / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(name='trial', version='1', ext_modules=[Extension('trial', ['trial.c'])])\n"
    )
    if builder.seals:
        said = builder.pip("install", str(package), status=1)
        assert "This Python is sealed: it loads no extension modules" in said
        assert "-shared" not in said  # nothing was linked
    else:
        builder.pip("install", str(package))
        assert builder.python(USES).startswith("4.5 trial.cpython-3")


@pytest.mark.parametrize(
    ("package", "code", "printed"),
    [
        ("markupsafe", "import markupsafe; print(markupsafe.escape('<a>'))", "&lt;a&gt;"),
        ("pyyaml", "import yaml; print(yaml.safe_load('a: 1'))", "{'a': 1}"),
    ],
)
def test_packages_that_can_do_without_c_do(builder: Builder, package: str, code: str, printed: str) -> None:
    builder.pip("install", "--no-binary", package, package)
    assert builder.python(code) == printed + "\n"
    assert not (builder.seals and builder.modules())


@pytest.mark.parametrize("other", ["sealed", "glibc"])
def test_what_pip_has_built_for_another_python_is_not_taken(
    outputs: dict[str, Path], zig: str, tmp_path: Path, other: str
) -> None:
    ours = next((outputs[t] for t in NATIVE if t.startswith("cpython-x86_64")), None)
    theirs = next((str(outputs[t] / "bin/python3") for t in NATIVE if "sealed" in t), None)
    if ours is not None and other == "glibc":
        theirs = shutil.which(f"python{line(ours)}")
        if theirs is not None and subprocess.run([theirs, "-V"], capture_output=True).returncode:
            theirs = None  # one of a version manager that has no such version
    if ours is None or theirs is None:
        pytest.skip(f"a Python of the same release is not here: {other}")
    install = ("install", "--no-binary", "markupsafe", "markupsafe")
    musl = f"{zig} -target x86_64-linux-musl"
    first = Builder(Path(theirs), zig if other == "glibc" else musl, tmp_path / "theirs", tmp_path)
    second = Builder(ours / "bin/python3", musl, tmp_path / "ours", tmp_path)
    loads = "import markupsafe._speedups"
    for builder in (first, second):
        assert "Building wheel" in builder.pip(*install)
    second.python(loads)
    # Each finds its own again.
    for builder in (first, second):
        builder.pip("uninstall", "-y", "markupsafe")
        assert "Building wheel" not in builder.pip(*install)
    second.python(loads)
    assert bool(first.modules()) == (other == "glibc")
