"""Writes the content hashes that were verified here to the lock, as what everybody is to expect."""

from __future__ import annotations

from pathlib import Path

from hermetic.errors import NotReproducible
from hermetic.project import lock as locks
from hermetic.sources import update
from hermetic.store.store import Store
from hermetic.verify.verdict import Report


def accept(lock_file: Path, store: Store, report: Report) -> list[str]:
    """Set `[expect.*]` for the builds that were verified.

    Returns:
        the changes of the lock, one a line; empty when it expects all of this already.

    Raises:
        NotReproducible: a rebuild differed or failed; then nothing is written.
        LockError, StoreError: the lock is not valid, or cannot be written.
    """
    if not report.reproducible:
        raise NotReproducible(f"{report.target}: not every rebuild gave the same bytes, so none is accepted")
    old = update.load(lock_file)
    new = old
    for verdict in report.verdicts:
        made = store.realisation(verdict.drv_id)
        if made is not None:
            new = locks.set_expected(new, made.system, f"{made.name}-{made.version}", verdict.expected)
    if new != old:
        update.save(lock_file, new)
    return locks.diff(old, new)
