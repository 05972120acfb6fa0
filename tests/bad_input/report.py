"""Counts results into a table, and shows single ones."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from tests.bad_input.judge import CODES, Result

_REFUSALS: Final = tuple(sorted(CODES - {0}))
_FAULTS: Final = (
    "traceback", "hang", "signal", "exit code", "says too little", "write outside", "lost", "leftovers",
)  # fmt: skip
_HEAD: Final = """\
# Bad input

Real recipes, lock files, archives, command lines, store files and lists of realisations are damaged at
random, and the whole program runs on each. This report is the output of

```sh
{command}
```

Every case is made from its seed: `--only KIND:SEED` repeats one. {cases:,} cases, {runs:,} runs of the
program, each in its own process, in {seconds:.0f} s on {machine}.

"""
_TAIL: Final = """
- *Accepted*: exit code 0. The damage is harmless, or not in what the command reads.
- Numbers: exit codes of refusals, as in README.
- *Traceback*, *signal*, *exit code* (an undocumented one), *hang* (longer than {limit:.0f} s).
- *Says too little*: the message has no `error:`, or names neither the file nor the value.
- *Write outside*: a path outside the store and the current directory was written, according to the audit
  events of the process or to a comparison of everything around them (contents, modes, time stamps) before
  and after.
- *Lost*: a store object that a root keeps alive is gone after its database was damaged.
- *Leftovers*: work directories or temporary files that remain.

Programs that `hermetic run` and `hermetic shell` start have their own exit codes, which are not judged.
"""


def table(results: Sequence[Result]) -> str:
    """Kinds against outcomes, in runs of the program."""
    used = {run.code for result in results for run in result.runs}
    codes = [code for code in _REFUSALS if code in used]
    columns = ["kind", "cases", "runs", "accepted", *map(str, codes), *_FAULTS]
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for kind in dict.fromkeys(result.kind for result in results):
        of_kind = [result for result in results if result.kind == kind]
        outcomes = Counter(run.code for result in of_kind for run in result.runs)
        faults = Counter(fault for result in of_kind for fault, _ in result.wrong)
        cells = [len(of_kind), sum(outcomes.values()), outcomes[0], *(outcomes[code] for code in codes)]
        cells += [faults[fault] for fault in _FAULTS]
        lines.append(f"| {kind} | " + " | ".join(f"{n:,}" for n in cells) + " |")
    return "\n".join(lines) + "\n"


def document(results: Sequence[Result], command: str, seconds: float, limit: float) -> str:
    """The report as it is kept."""
    runs = sum(len(result.runs) for result in results)
    python = f"Python {platform.python_version()}"
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {python}"
    head = _HEAD.format(command=command, cases=len(results), runs=runs, seconds=seconds, machine=machine)
    return head + table(results) + _TAIL.format(limit=limit)


def shown(result: Result, *, everything: bool = False) -> str:
    """One case in full; what it printed only where something is wrong, or if asked for."""
    lines = [f"{result.kind}:{result.seed}  {result.case.what!a}"]
    for run in result.runs:
        if run.wrong or everything:
            command = " ".join(os.fsdecode(arg)[:200] for arg in run.args)
            lines.append(f"  $ hermetic {command!a}  → {run.code}, {run.seconds:.2f} s")
            lines += [f"    {line!a}"[:1000] for line in run.err.splitlines()[-12:]]
            told = [
                f"  {fault.upper()}: {text.splitlines()[-1] if text else ''!a}" for fault, text in run.wrong
            ]
            lines += [*told[:5], f"  and {len(told) - 5} more"] if len(told) > 5 else told
    return "\n".join(lines)


def wrong(results: Iterable[Result]) -> list[Result]:
    """Those with faults."""
    return [result for result in results if result.wrong]
