"""Fixtures that several test modules use."""

from tests.small_project import empty, project, template

__all__ = ["empty", "project", "template"]
