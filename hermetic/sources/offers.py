"""What mirrors offer beside what is pinned: whether there are newer versions."""

from __future__ import annotations

import msgspec

from hermetic.errors import FetchError
from hermetic.project.pin import Pin
from hermetic.sources.fetch import Fetcher, kinds
from hermetic.sources.fetch.mirror import Offer


class Survey(msgspec.Struct, frozen=True):
    """What the mirrors of a pin list.

    Attributes:
        offers: the newest version that each mirror lists, by the mirror as it stands in the lock.
        problems: why other mirrors list nothing, in the same way.
    """

    pin: Pin
    offers: dict[str, Offer]
    problems: dict[str, str]

    @property
    def newer(self) -> list[Offer]:
        """What is newer than the pin, in the order of the mirrors."""
        return [offer for offer in self.offers.values() if offer.version != offer.own]


def survey(pin: Pin, fetcher: Fetcher) -> Survey:
    """Ask every mirror of a pin what it lists. Nothing is downloaded but lists."""
    result = Survey(pin, {}, {})
    for spec in pin.mirrors:
        try:
            result.offers[spec] = kinds.of(spec).newest(fetcher.machine, pin)
        except FetchError as problem:
            hint = f" ({problem.hint})" if problem.hint else ""
            result.problems[spec] = problem.message.removeprefix(f"{spec}: ") + hint
    return result
