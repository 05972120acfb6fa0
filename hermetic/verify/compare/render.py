"""Differences as text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from hermetic.verify.compare.model import KINDS, Difference


def describe(differences: Sequence[Difference], *, details: int = 5) -> str:
    """Lines for a terminal: per file a headline, then its first details with excerpts. No final line feed.

    Args:
        details: differences shown per file at most; how many more there are is said.
    """
    files = [(path, list(group)) for path, group in groupby(differences, key=lambda d: d.path)]
    if not files:
        return "the trees are the same"
    lines = [f"{len(files):,} {'entry differs' if len(files) == 1 else 'entries differ'}"]
    for path, found in files:
        lines += _file(path, found, details)
    return "\n".join(lines)


def _file(path: str, found: list[Difference], details: int) -> list[str]:
    if len(found) == 1 and not found[0].where and not found[0].left and not found[0].right:
        return [f"{path}: {found[0].words}"]
    kinds = Counter(d.kind for d in found)
    causes = [
        f"{words}{f' ({kinds[kind]:,})' if kinds[kind] > 1 else ''}"
        for kind, words in KINDS.items()
        if kinds[kind]
    ]
    lines = [f"{path}: {', '.join(causes)}"]
    for difference in found[:details]:
        where = f"{difference.where}: " if difference.where else ""
        lines.append(f"  {where}{difference.words}")
        for sign, text in (("-", difference.left), ("+", difference.right)):
            lines += [f"    {sign} {line}" for line in text.splitlines()]
    if len(found) > details:
        lines.append(f"  … and {sum(d.count for d in found[details:]):,} more")
    return lines
