"""Where a hunk belongs in a file, as git and GNU patch decide it. Pure.

Both refuse fuzz here, but they search differently. `git apply` (`find_pos` in apply.c) starts at the line
that the hunk states for the new file and looks outward, forward first; a hunk that states line 0 or 1 belongs
at the beginning, one without context after its last change at the end. `patch -F0` (`locate_hunk` in patch.c)
starts where the hunk would stand if it had moved as far as the hunk before it. For it a hunk belongs at an
end of the file only if that side has less context than the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hermetic.sources.patching.model import Hunk


class Image:
    """The lines of a file while hunks are applied to it, and which of them hunks have put there.

    Attributes:
        lines: each with its line end. taken: for each line 1 if it is part of a hunk that was applied: no
            other hunk can match it.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.lines = list(lines)
        self.taken = bytearray(len(self.lines))

    def put(self, at: int, hunk: Hunk) -> None:
        end = at + len(hunk.before)
        self.lines[at:end] = hunk.after
        self.taken[at:end] = b"\1" * len(hunk.after)

    def same(self, at: int, other: int, hunk: Hunk) -> bool:
        """Whether the hunk makes the same file of it at two places, at which it matches."""
        first, last, size = min(at, other), max(at, other), len(hunk.before)
        between = self.lines[first : last + size]
        return [*hunk.after, *between[size:]] == [*between[: last - first], *hunk.after]

    def matches(self, at: int, before: Sequence[bytes]) -> bool:
        end = at + len(before)
        return (
            end <= len(self.lines)
            and (not before or self.lines[at] == before[0])
            and self.lines[at:end] == list(before)
            and not any(self.taken[at:end])
        )


def by_git(image: Image, hunk: Hunk) -> int | None:
    """The index of the line at which `git apply` puts the hunk, in the file as it is by then."""
    last = len(image.lines) - len(hunk.before)
    begins, ends = hunk.start <= 1, not hunk.trailing
    if begins or ends:
        at = 0 if begins else last
        fits = at >= 0 and not (ends and at != last) and image.matches(at, hunk.before)
        return at if fits else None
    start = min(max(hunk.new_start - 1, 0), len(image.lines))
    return next((at for at in outward(start, 0, last) if image.matches(at, hunk.before)), None)


def outward(start: int, first: int, last: int) -> Iterator[int]:
    """`start` and the places around it, near ones first, forward before backward; from `first` to `last`."""
    if first <= start <= last:
        yield start
    for distance in range(1, max(last - start, start - first, 0) + 1):
        if first <= start + distance <= last:
            yield start + distance
        if first <= start - distance <= last:
            yield start - distance


class GnuPlaces:
    """Where `patch -F0` puts one hunk after the other. It counts in lines of the file before all of them."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.original = Image(lines)
        self.offset = 0  # how far the last hunk stood from where it said
        self.frozen = 0  # lines up to the last change so far
        self.grown = 0  # lines that the hunks so far have added

    def place(self, hunk: Hunk) -> int | None:
        """The index of the line, in the file as it is by then, or None where it refuses the hunk."""
        at = self._find(hunk)
        return None if at is None else at + self.grown

    def put(self, at: int, hunk: Hunk) -> None:
        """The hunk was put at `at`, an index as `place` returns it."""
        at -= self.grown
        if hunk.before:
            self.offset = at - self._stated(hunk)
        self.frozen = at + len(hunk.before) - hunk.trailing
        self.grown += len(hunk.after) - len(hunk.before)

    def _stated(self, hunk: Hunk) -> int:
        return hunk.start - 1 if hunk.before else hunk.start

    def _find(self, hunk: Hunk) -> int | None:
        guess = self._stated(hunk) + self.offset
        if not hunk.before:  # it stops copying at the end of the file
            return min(max(guess, 0), len(self.original.lines))
        last = len(self.original.lines) - len(hunk.before)
        if hunk.leading < hunk.trailing and hunk.start <= 1:
            places: Iterator[int] = iter([0] if self.frozen <= hunk.leading else [])
        elif hunk.trailing < hunk.leading:
            places = iter([last] if last >= self.frozen else [])
        else:
            places = outward(guess, self.frozen, last)
        return next((at for at in places if at >= 0 and self.original.matches(at, hunk.before)), None)
