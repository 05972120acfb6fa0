"""A request that failed: what one mirror's attempt ends with."""

from __future__ import annotations


class Failure(Exception):
    """A request that failed.

    Attributes:
        reason: one line, for the report. passing: whether the same request may succeed a moment later.
        wait: seconds that the server asks to wait before the next one.
    """

    def __init__(self, reason: str, *, passing: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        self.wait = wait


def pause(failure: Failure, tries: int, backoff: float, left: float) -> float:
    """Seconds to wait before the next attempt.

    Args:
        tries: attempts made. backoff: before the second; doubles. left: seconds that may still be waited
            because servers ask for it.

    Raises:
        Failure: the server asks for more than that.
    """
    if failure.wait is None:
        return float(backoff * 2 ** (tries - 1))
    if failure.wait > left:
        asked = f"it asks to wait {failure.wait:.0f} s, more than the {left:.0f} s that remain for it"
        raise Failure(f"{failure.reason}; {asked}")
    return max(failure.wait, backoff)
