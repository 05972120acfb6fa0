"""Fixtures that several test modules use."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermetic import tree
from tests.small_project import empty, project, template

__all__ = ["empty", "project", "template"]


def pytest_configure() -> None:
    """Programs under test shall see Ctrl-C even where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that ordinary users can reach, too."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    tree.remove(path)
