"""What a process of hermetic does before it loads the rest, so that it starts and runs fast."""

from __future__ import annotations

import gc
import sys

_THRESHOLD = (
    50_000  # objects; there are thousands of derivations and little garbage, so the default looks too often
)


def prepare() -> None:
    """Set up the garbage collector of Python, and load msgspec.

    msgspec takes what it needs from `typing_extensions`, or else from `typing`, which has all of it in every
    Python that hermetic runs on. The former loads `inspect` and more, a tenth of the time of a small build.
    So it is hidden for a moment.
    """
    gc.set_threshold(_THRESHOLD)
    name = "typing_extensions"
    absent = name not in sys.modules
    if absent:
        sys.modules[name] = None  # type: ignore[assignment]
    import msgspec  # noqa: F401

    if absent:
        del sys.modules[name]
