"""The command: `python -m tests.faults`."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from hermetic import tree
from tests.faults import report, workers
from tests.faults.bench import Case
from tests.faults.plan import KINDS, cases, parse

GROUPS: Final = {  # group: how many by default, what it is
    "kills": (300, "kill -9 of the build, of hermetic, of both"),
    "full_disk": (40, "points at which a disk is full"),
    "read_only": (16, "stores that cannot be written"),
    "servers": (36, "servers that misbehave"),
    "clocks": (20, "clocks that jump back"),
    "crowds": (12, "several processes at once"),
}


def arguments(args: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="Inject faults into hermetic and check what it promises."
    )
    for group, (count, what) in GROUPS.items():
        name = f"--{group.replace('_', '-')}"
        parser.add_argument(name, type=int, default=count, metavar="N", help=f"{what}; default {count}")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of cases; default 1")
    parser.add_argument(
        "--only", action="append", metavar="CASE", help="KIND:PHASE:SEED, as a report names it"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="cases at a time; default 2")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to work; default: the temporary folder"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there, too")
    parser.add_argument("--json", action="store_true", help="print every outcome as JSON")
    return parser.parse_args(args)


def chosen(options: argparse.Namespace) -> list[Case]:
    """The cases of a run, in an order that mixes kinds."""
    if options.only:
        return [parse(text) for text in options.only]
    found = [c for group in GROUPS for c in cases(group, getattr(options, group), options.seed)]
    random.Random(options.seed).shuffle(found)
    return found


def main() -> int:
    options = arguments()
    todo = chosen(options)
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=options.folder))
    begun, done = time.monotonic(), []
    try:
        with closing(workers.outcomes(todo, folder, options.jobs)) as ended:
            for outcome in ended:
                done.append(outcome)
                word = {True: "survived", False: "NOT SURVIVED", None: "not tried"}[outcome.survived]
                print(f"[{len(done)}/{len(todo)}] {word} {outcome.case} {outcome.why}", file=sys.stderr)
        seconds = time.monotonic() - begun
        if options.report:
            command = " ".join(["python -m tests.faults", *_shown(options)])
            text = report.document(done, command=command, seed=options.seed, seconds=seconds, folder=folder)
            options.report.write_text(text)
    except workers.Unavailable as reason:
        print(f"no faults can be tried here: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        tree.remove(folder)
    if options.json:
        print(json.dumps([{**o._asdict(), "case": str(o.case)} for o in done], indent=2))
    else:
        print(report.table(done))
    for text in report.failures(done):
        print(text, file=sys.stderr)
    return 1 if any(o.survived is False for o in done) else 0


def _shown(options: argparse.Namespace) -> list[str]:
    """The arguments that decide what is tried."""
    numbers = [f"--{group.replace('_', '-')} {getattr(options, group)}" for group in GROUPS]
    return [f"--seed {options.seed}", *(options.only or numbers)]


assert {kind.group for kind in KINDS.values()} == set(GROUPS)

if __name__ == "__main__":
    sys.exit(main())
