"""The public names of the package: declared once for people and once for type checkers, and loaded late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hermetic
from hermetic.errors import RecipeError, UsageError
from hermetic.session.outcome import Failure, Realized
from tests.support import project_files


@pytest.mark.parametrize("name", hermetic.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(hermetic, name) is not None
    assert name in dir(hermetic)


def test_type_checkers_are_told_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(hermetic.__file__).read_text())
    told = {
        alias.name: str(node.module).removeprefix("hermetic.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if str(node.module).startswith("hermetic.")
    }
    assert told == hermetic._MODULES
    assert sorted(told) == hermetic.__all__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'hermetic' has no attribute 'Sesion'"):
        _ = hermetic.Sesion  # type: ignore[attr-defined]


def test_a_session_needs_nothing_of_the_command_line() -> None:
    code = (
        "import sys, hermetic; assert 'hermetic.session' not in sys.modules; hermetic.Session\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('click', 'rich', 'httpx') or '.cli' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def session(tmp_path: Path) -> hermetic.Session:
    for name, data in project_files.files().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return hermetic.Session(tmp_path)


def test_to_instantiate_makes_no_store(session: hermetic.Session, tmp_path: Path) -> None:
    instance = session.instantiate("app")
    assert instance.graph.root in instance.graph.derivations
    assert session.root == tmp_path
    assert not session.store_path.exists()


def test_errors_are_those_of_the_package(session: hermetic.Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown target 'ap'"):
        session.instantiate("ap")
    with pytest.raises(UsageError, match="there is no store at"):
        session.garbage()
    with pytest.raises(UsageError, match="no such directory"):
        _ = hermetic.Session(tmp_path / "nowhere").root
    with pytest.raises(UsageError, match="unknown perturbation 'hostnam'"):
        session.verify(["app"], perturb=["hostnam"])
    assert not session.store_path.exists()


def test_several_failures_are_one_error_with_their_common_exit_code() -> None:
    assert Realized({}).error is None
    one = Failure("a" * 52, "a-1 (x86_64)", RecipeError("a-1 (x86_64): bad", details=("why",)))
    other = Failure("b" * 52, "b-1 (x86_64)", UsageError("worse"))
    assert Realized({}, (one,)).error is one.error
    both = Realized({}, (one, other), ("c-1 (x86_64)",)).error
    assert both is not None
    assert both.message == "2 failed, 1 not tried because of them"
    assert both.details == ("a-1 (x86_64): bad", "why", "b-1 (x86_64): worse")
    assert both.exit_code == 100
    same = Realized({}, (other, other)).error
    assert same is not None
    assert same.exit_code == UsageError.exit_code
