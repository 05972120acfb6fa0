"""Writes the content hashes that were verified here to the lock, as what everybody is to expect."""

from __future__ import annotations

import sys
from collections.abc import Collection

from hermetic.derivation import graph
from hermetic.derivation.instantiate import Instance
from hermetic.derivation.value import Build
from hermetic.project import lock as locks
from hermetic.project.worktree import LOCK_FILE
from hermetic.session import Session
from hermetic.sources import update


def accept(session: Session, instances: list[Instance], verified: Collection[str]) -> None:
    """Set `[expect.*]` for the builds that were verified.

    Args:
        verified: their derivation ids.

    Raises:
        LockError, StoreError: the lock is not valid, or cannot be written.
    """
    path = session.root / LOCK_FILE
    old = update.load(path)
    new = old
    work = graph.merge(instances)
    for drv_id in verified:
        drv = work.derivations[drv_id]
        found = session.store.realisation(drv_id)
        if isinstance(drv, Build) and found is not None:
            content = found.object.split("-", 1)[0]
            new = locks.set_expected(new, drv.system, f"{drv.name}-{drv.version}", content)
    if new == old:
        print(f"{LOCK_FILE} expects all of this already", file=sys.stderr)
        return
    update.save(path, new)
    for line in locks.diff(old, new):
        print(line, file=sys.stderr)
