"""The tools that people use accept the interpreter, and install the wheels that it can load and no others."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.conftest import LOADS_EXTENSIONS, environment, index_settings, line

Run = Callable[..., str]

# PDM does not start with the newest hishel.
TOOLS = ("uv", "virtualenv", "pipx", "pex", "tox", "poetry", "pdm", "hishel<2")
# All its releases come as wheels for single platforms; there is no pure one.
BINARY_ONLY = "rpds-py"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest of each tool, in an environment of the machine's own Python."""
    directory = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    done = subprocess.run(
        [str(directory / "bin/pip"), "install", "-q", *TOOLS], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(TOOLS)} here: {done.stderr.strip().splitlines()[-1]}")
    return directory / "bin"


@pytest.fixture
def python(native: Path) -> str:
    """The native interpreter, in the store."""
    return str(native / "bin/python3")


@pytest.fixture
def run(tools: Path, tmp_path: Path) -> Run:
    """Run a tool in a home of its own; return what it printed, stdout and stderr together."""
    env = {**index_settings(), **environment(PATH=f"{tools}:/usr/bin:/bin", HOME=str(tmp_path / "home"))}

    def call(*command: str, status: int = 0, **changes: str) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**env, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == (status == 0), done.stdout
        return done.stdout

    return call


def test_the_c_library_is_known(run: Run, python: str) -> None:
    code = "import platform; print(platform.libc_ver(), platform.platform())"
    assert run(python, "-c", code).startswith("('musl', '1.2.")


def test_uv(run: Run, python: str, tmp_path: Path) -> None:
    assert run("uv", "python", "find", python).strip() == python
    run("uv", "venv", "-p", python, "env")
    run("uv", "pip", "install", "-p", "env/bin/python", "six")
    code = "import six, sys; print(six.__file__, sys.base_prefix)"
    assert str(tmp_path / "env") in run("env/bin/python", "-c", code)
    assert "1." in run(
        "uv", "run", "-p", python, "--with", "six", "python", "-c", "import six; print(six.__version__)"
    )


LOADS = "import rpds; print(rpds.HashTrieMap().insert(1, 2)[1])"


@pytest.fixture
def loads(run: Run, python: str) -> bool:
    """Whether the interpreter loads extension modules."""
    return run(python, "-c", LOADS_EXTENSIONS) == "True\n"


def test_uv_installs_the_wheels_that_can_be_loaded(run: Run, python: str, loads: bool) -> None:
    run("uv", "venv", "-p", python, "env")
    install = ("uv", "pip", "install", "-p", "env/bin/python", "--only-binary", ":all:", BINARY_ONLY)
    if loads:
        run(*install)
        assert run("env/bin/python", "-I", "-c", LOADS) == "2\n"
    else:
        assert "rpds-py" in run(*install, status=1).lower()


BITS = "import sys; print(sys.maxsize.bit_length() + 1)"


def test_the_tags_are_those_of_musl(run: Run, python: str, loads: bool) -> None:
    code = """
import glob, sys, sysconfig
sys.path += glob.glob(sysconfig.get_path("stdlib") + "/ensurepip/_bundled/pip-*.whl")
from pip._vendor.packaging.tags import platform_tags
print(*platform_tags())
"""
    machine = {"64\n": "x86_64", "32\n": "i686"}[run(python, "-c", BITS)]
    # No wheel was ever built for musl 1.0.
    musl = {f"musllinux_1_{minor}_{machine}" for minor in ((2, 1, 0) if loads else (0,))}
    assert set(run(python, "-I", "-S", "-c", code).split()) == {f"linux_{machine}"} | musl


def test_pip(run: Run, python: str, loads: bool) -> None:
    run(python, "-m", "venv", "env")
    run("env/bin/pip", "install", "six")
    assert "1." in run("env/bin/python", "-c", "import six; print(six.__version__)")
    for newest in (False, True):
        if newest:
            run("env/bin/pip", "install", "-U", "pip")
        install = ("env/bin/pip", "install", "--force-reinstall", "--only-binary", ":all:", BINARY_ONLY)
        if loads:
            assert "musllinux" in run(*install)
            assert run("env/bin/python", "-I", "-c", LOADS) == "2\n"
        else:
            assert "No matching distribution" in run(*install, status=1)


def test_virtualenv(run: Run, python: str) -> None:
    run("virtualenv", "-p", python, "env")
    run("env/bin/pip", "install", "six")
    assert run("env/bin/python", "-c", "import six, sys; print(sys.base_prefix)").strip() in python


def test_pipx(run: Run, python: str) -> None:
    assert "a word" in run("pipx", "run", "--python", python, "pycowsay", "a word")


def test_pex(run: Run, python: str) -> None:
    # Its default is a version of pip that not every index has.
    run("pex", "six", "--python", python, "--pip-version", "25.3", "-o", "six.pex")
    assert "1." in run(python, "six.pex", "-c", "import six; print(six.__version__)")


def project_with(requirement: str, python: str, directory: Path) -> None:
    """Write a project for tools that read pyproject.toml."""
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "trial"\nversion = "1"\ndependencies = ["{requirement}"]\n'
        f'requires-python = "=={line(Path(python).parents[1])}.*"\n'
    )


def reached(call: Callable[[], str]) -> str:
    """What a tool prints that knows no index but one, which may be out of reach."""
    try:
        return call()
    except AssertionError as error:
        if "All attempts to connect" in str(error) or "ConnectError" in str(error):
            pytest.skip("the index that this tool takes by default cannot be reached")
        raise


def test_poetry(run: Run, python: str, loads: bool, tmp_path: Path) -> None:
    project_with(BINARY_ONLY, python, tmp_path)
    settings = {"POETRY_VIRTUALENVS_IN_PROJECT": "1", "POETRY_INSTALLER_ONLY_BINARY": ":all:"}
    run("poetry", "env", "use", python, **settings)
    reached(lambda: run("poetry", "lock", "-n", **settings))
    said = run("poetry", "install", "-n", "--no-root", status=0 if loads else 1, **settings)
    if loads:
        assert run(".venv/bin/python", "-I", "-c", LOADS) == "2\n"
    else:
        assert "rpds-py" in said.lower()


def test_pdm(run: Run, python: str, loads: bool, tmp_path: Path) -> None:
    if run(python, "-c", BITS) == "32\n" and platform.machine() == "x86_64":
        pytest.skip("PDM takes a 32-bit Python for one of the machine's width")
    project_with(BINARY_ONLY, python, tmp_path)
    run("pdm", "use", "-f", python)
    reached(lambda: run("pdm", "lock"))
    said = run("pdm", "install", "--no-self", status=0 if loads else 1, PDM_ONLY_BINARY=":all:")
    if loads:
        assert run(".venv/bin/python", "-I", "-c", LOADS) == "2\n"
    else:
        assert "rpds-py" in said.lower()


def test_tox(run: Run, python: str, tmp_path: Path) -> None:
    name = f"py{line(Path(python).parents[1]).replace('.', '')}"
    (tmp_path / "tox.toml").write_text(
        f'env_list = ["{name}"]\n'
        '[env_run_base]\nskip_install = true\ndeps = ["six"]\n'
        'commands = [["python", "-c", "import six, sys; print(sys.base_prefix)"]]\n'
    )
    said = run("tox", "run", "-e", name, "--discover", python)
    assert str(Path(python).parents[1]) in said
