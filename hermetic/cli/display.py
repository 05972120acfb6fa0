"""The listener of commands that may have to build. What draws is loaded when there is something to draw."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermetic.realize.events import Event, Listener


@contextmanager
def display(*, verbose: bool = False) -> Iterator[Listener]:
    """Show what the listener is told, from the first event until the block ends.

    Args:
        verbose: show the output of builds, too.
    """
    with ExitStack() as stack:
        shown: list[Listener] = []
        opening = threading.Lock()

        def listener(event: Event) -> None:
            with opening:
                if not shown:
                    from hermetic.cli.progress import showing

                    shown.append(stack.enter_context(showing(verbose)))
            shown[0](event)

        yield listener
