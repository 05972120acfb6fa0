"""Standard streams that are not as they should be."""

from __future__ import annotations

import os


def let_go_of_stdout() -> None:
    """The reader of our output has gone: what has not been written yet must not fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
