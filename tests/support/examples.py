"""How many random examples the tests try."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

# Of every property test and of the store's random histories; what stands in the tests is for people who wait.
TIMES: Final = int(os.environ.get("HERMETIC_TEST_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Settings of a property test: `count` examples, times $HERMETIC_TEST_EXAMPLES; one may take any time."""
    return settings(max_examples=count * TIMES, deadline=None)
