"""Fixtures that several test modules use."""

import signal

from tests.small_project import empty, project, template

__all__ = ["empty", "project", "template"]


def pytest_configure() -> None:
    """Programs under test shall see Ctrl-C even where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
