"""Settings of hermetic in the environment of a test run: for real builds, and for nothing else."""

from __future__ import annotations

import os
from typing import Final

NAMES: Final = ("HERMETIC_STORE", "HERMETIC_SUBSTITUTE", "HERMETIC_DEBUG")
TAKEN: Final[dict[str, str]] = {}  # what was set


def take() -> None:
    """Remove them from the environment: a test's own store is not to be another's by accident."""
    TAKEN.update({name: os.environ.pop(name) for name in NAMES if name in os.environ})
