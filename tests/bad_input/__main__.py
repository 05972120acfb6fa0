"""Damaged input of every kind through the whole program: `python -m tests.bad_input`.

    python -m tests.bad_input --each 1000 --report docs/bad-input.md      all kinds, some minutes
    python -m tests.bad_input --kind locks --each 100                     one kind
    python -m tests.bad_input --only locks:17                             one case again, and what is said
    python -m tests.bad_input --messages messages.txt                     keeps what is said, to be read

Ends with 1 if hermetic did anything wrong.
"""

from __future__ import annotations

import argparse
import os
import queue
import shlex
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hermetic import tree
from tests.bad_input import report
from tests.bad_input.judge import KINDS, SECONDS, Result, examine
from tests.bad_input.world import World
from tests.bad_input.zygote import Zygote


def main() -> int:
    options = _options()
    if options.only:
        kind, _, seed = options.only.partition(":")
        cases = [(kind, int(seed))]
    else:
        cases = [(kind, options.seed + n) for kind in options.kind or KINDS for n in range(options.each)]
    begun = time.monotonic()
    results = run(cases, options.jobs, progress=sys.stderr.isatty())
    seconds = time.monotonic() - begun
    bad = report.wrong(results)
    for result in results if options.only else bad:
        print(report.shown(result, everything=bool(options.only)))
    print(report.table(results))
    print(f"{len(results)} cases in {seconds:.0f} s; {len(bad)} went wrong")
    if options.messages:
        shown = (report.shown(result, everything=True) for result in results)
        Path(options.messages).write_text("\n".join(shown) + "\n")
    if options.report:
        command = f"python -m tests.bad_input {shlex.join(sys.argv[1:])}"
        Path(options.report).write_text(report.document(results, command, seconds, SECONDS))
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bad_input", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first case of each kind")
    parser.add_argument("--each", type=int, default=1000, help="cases of each kind")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind (repeatable)")
    parser.add_argument("--only", metavar="KIND:SEED", help="one case, and all that the program says to it")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--report", metavar="FILE", help="write a report")
    parser.add_argument("--messages", metavar="FILE", help="write what the program said")
    return parser.parse_args()


def run(cases: list[tuple[str, int]], jobs: int, *, progress: bool = False) -> list[Result]:
    """Examine cases, several at a time; the results in their order."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a store syncs what it writes
    folder = Path(tempfile.mkdtemp(prefix="bad-input-", dir=memory))
    zygotes = [Zygote() for _ in range(jobs)]
    idle: queue.SimpleQueue[Zygote] = queue.SimpleQueue()
    for zygote in zygotes:
        idle.put(zygote)
    try:
        world = World(folder)

        def one(case: tuple[str, int]) -> Result:
            zygote = idle.get()
            try:
                return examine(*case, world, zygote, folder / f"{case[0]}-{case[1]}")
            finally:
                idle.put(zygote)

        results = []
        with ThreadPoolExecutor(jobs) as pool:
            for result in pool.map(one, cases):
                results.append(result)
                if progress:
                    print(f"\r{len(results)} of {len(cases)} ", end="", file=sys.stderr, flush=True)
        return results
    finally:
        for zygote in zygotes:
            zygote.close()
        tree.remove(folder)


if __name__ == "__main__":
    sys.exit(main())
