"""What several commands print: values as JSON."""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec


def as_json(value: Any) -> str:
    """A value as indented JSON, with a line's end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + os.linesep


def write_json(value: Any) -> None:
    """Print a value as indented JSON on stdout."""
    sys.stdout.write(as_json(value))
