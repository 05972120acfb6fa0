"""Which kinds of mirror there are: the one line of registration for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hermetic.errors import FetchError, did_you_mean
from hermetic.sources.fetch.debian import Debian
from hermetic.sources.fetch.mirror import Mirror
from hermetic.sources.fetch.pypi import PyPI
from hermetic.sources.fetch.web import Web

KINDS: Final[dict[str, Callable[[str], Mirror]]] = {
    "https": Web,
    "http": Web,
    "pypi": PyPI,
    "debian": Debian,
}


def of(spec: str) -> Mirror:
    """The mirror that an entry of the lock names.

    Raises:
        FetchError: of no known kind, or not well-formed.
    """
    kind = spec.partition(":")[0]
    if kind not in KINDS:
        raise FetchError(f'{spec}: unknown kind of mirror "{kind}"', hint=did_you_mean(kind, KINDS))
    return KINDS[kind](spec)
