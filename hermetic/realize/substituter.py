"""What a substituter is: somebody who may have the output of a derivation, so that it need not be made here.

It is asked before anything is executed: by derivation id when a run is planned, so that the inputs of what it
has are not even looked at; and by build key once the inputs of a step are realized. The one here is
`store_substituter.StoreSubstituter`. Another one is a class with these methods that passes the tests in
`tests/unit/test_substituter.py`.

Nothing is taken on trust that can be checked. Before an object is registered, its content must have the hash
that it is named for. Sources must be the bytes that the lock pins, and where the lock expects a content hash
of a build, it must be that one. Whether an object is what a build gives cannot be checked without building:
whoever names a substituter trusts it for that, and `hermetic verify` finds out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from hermetic import tree
from hermetic.derivation.step import Step
from hermetic.derivation.value import Build, Fetch, build_key
from hermetic.errors import SubstituterError
from hermetic.realize.events import Listener, Notice
from hermetic.store.names import content_hash_of, label_in
from hermetic.store.records import Realisation

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class Substituter(Protocol):
    """Safe to use from several threads."""

    @property
    def name(self) -> str:
        """Where outputs come from, in front of people: a directory, a URL."""

    def by_derivation(self, drv_ids: Collection[str]) -> Mapping[str, Realisation]:
        """The realisations of those of some derivations that it knows.

        Raises:
            SubstituterError: it cannot answer; it is not asked again in this run.
        """

    def by_build_key(self, key: str) -> Realisation | None:
        """A realisation with that build key, if it knows one.

        Raises:
            SubstituterError: as above.
        """

    def obtain(self, name: str, target: Path, stop: threading.Event) -> tree.Manifest:
        """Put the store object of that name at `target`, which is not there, in canonical form.

        Returns:
            the manifest of the bytes that were written, as `tree.copy_and_scan` or
            `tree.canonicalise_and_scan` makes it, never one that the other side sent. The caller compares
            it with the name.

        Args:
            stop: once set, it may end early, with any content.

        Raises:
            SubstituterError: it has not got the object, or only a part of it.
            StoreError: `target` cannot be written.
        """


class Offer(msgspec.Struct, frozen=True):
    """A substituter's answer. `number`: its place in the order in which they are asked."""

    number: int
    source: Substituter
    realisation: Realisation


class Substituters:
    """Those of one run, asked in order. Says by `Notice` what is wrong with what they answer."""

    def __init__(self, sources: Sequence[Substituter], listener: Listener) -> None:
        self._sources = list(enumerate(sources))
        self._listener = listener
        self._silent: set[int] = set()  # those that could not answer
        self._refused: set[tuple[int, str, str]] = set()  # source, derivation id, object: not right

    def by_derivation(self, steps: Sequence[Step], *, after: int = -1) -> dict[str, Offer]:
        """For each of some steps the first offer there is, by derivation id.

        Args:
            after: ask only those that stand behind this one in the order.
        """
        found: dict[str, Offer] = {}
        for number, source in self._sources:
            wanted = {step.drv_id: step for step in steps if step.drv_id not in found}
            if number <= after or not wanted:
                continue
            first = next(iter(wanted.values()))
            answers = self._asked(number, source, first, source.by_derivation, [*wanted]) or {}
            for drv_id, step in wanted.items():
                offer = self._offer(step, number, source, answers.get(drv_id))
                if offer is not None:
                    found[drv_id] = offer
        return found

    def by_build_key(self, step: Step, key: str) -> Iterator[Offer]:
        """All offers for a build key, in order. Each source is asked when its turn comes."""
        for number, source in self._sources:
            answer = self._asked(number, source, step, source.by_build_key, key)
            offer = self._offer(step, number, source, answer, key)
            if offer is not None:
                yield offer

    def refuse(self, step: Step, offer: Offer, reason: str) -> None:
        """Do not take this object from this source again in this run, and say why."""
        self._refused.add((offer.number, step.drv_id, offer.realisation.object))
        self._say(step, offer.source, reason)

    def _asked(
        self, number: int, source: Substituter, step: Step, ask: Callable[[_Q], _A], question: _Q
    ) -> _A | None:
        if number in self._silent:
            return None
        try:
            return ask(question)
        except SubstituterError as error:
            self._silent.add(number)
            self._say(step, source, f"{error.message}; it is not asked again")
            return None

    def _offer(
        self, step: Step, number: int, source: Substituter, answer: Realisation | None, key: str = ""
    ) -> Offer | None:
        """An answer as an offer, unless it cannot be right. `key`: where that was asked for."""
        if answer is None or (number, step.drv_id, answer.object) in self._refused:
            return None
        offer = Offer(number, source, answer)
        asked, answered = (key, answer.build_key) if key else (step.drv_id, answer.drv_id)
        reason = "its record is not valid" if not answer.is_sound() else None
        reason = reason or (f"its record is of {answered}" if asked != answered else refusal(step, answer))
        if reason is not None:
            self.refuse(step, offer, reason)
            return None
        return offer

    def _say(self, step: Step, source: Substituter, reason: str) -> None:
        self._listener(Notice(step.drv_id, step.label, f"not substituted from {source.name}: {reason}"))


def refusal(step: Step, realisation: Realisation) -> str | None:
    """Why a realisation cannot be that of a step, as far as is known beforehand; None where it can."""
    drv = step.derivation
    system = drv.system if isinstance(drv, Build) else ""
    if realisation.system != system:
        return f"its record is of an output for {realisation.system or 'all systems'}"
    if label_in(realisation.object) != f"{drv.name}-{drv.version}":
        return f"it names {realisation.object} as the output"
    found, expected = content_hash_of(realisation.object), expected_content(step)
    if expected and found != expected:
        return f"flake-like.lock expects the content hash {expected}, and it names {found}"
    if isinstance(drv, Fetch) and realisation.build_key != build_key(drv, str):
        return "it names another build key than that of the source"
    return None


def expected_content(step: Step) -> str:
    """The content hash that an output must have: of a source by its pinned hash, of a build by the lock's
    expectation. Empty where none is known beforehand."""
    drv = step.derivation
    if isinstance(drv, Fetch):
        return tree.Manifest((tree.Entry(b"", "file", drv.size, drv.blake3),)).content_hash
    return step.expected
