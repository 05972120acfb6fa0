"""Fixtures that several test modules use."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hermetic import tree
from hermetic.store.store import Store
from tests.support import settings as test_settings
from tests.support.examples import examples
from tests.support.project import empty, project, template
from tests.support.stores import make_chain

__all__ = ["empty", "project", "template"]


def pytest_configure() -> None:
    """Programs under test shall see Ctrl-C even where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    test_settings.take()


# What a property test tries that says nothing else.
settings.register_profile("tests", examples(25))
settings.load_profile("tests")

TESTS = Path(__file__).parent
KINDS = ("unit", "network", "sandbox", "stress", "real")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The directory of a test is its marker."""
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        if kind not in KINDS:
            raise pytest.UsageError(f"{item.path} is in none of the directories {', '.join(KINDS)} of tests/")
        item.add_marker(kind)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that ordinary users can reach, too."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    tree.remove(path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, open."""
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def chain(tmp_path: Path) -> dict[str, str]:
    """A store with a small graph; see `make_chain`. It is at the same place as the one of `store`."""
    return make_chain(tmp_path)
