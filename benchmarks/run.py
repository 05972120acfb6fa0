"""Runs the benchmarks and prints a table: `python -m benchmarks.run`. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import collecting, commands, contents, machine
from benchmarks.measure import CHECKOUT, Case, Failed, Result, measure
from benchmarks.places import Nix, find_shell, remove

_BENCHMARKS: Final[dict[str, Callable[[Path, Path, Nix | None], Iterator[Case]]]] = {
    "noop": commands.noop,
    "evaluation": commands.evaluation,
    "builds": commands.builds,
    "verify": commands.verify,
    "add-large": contents.adding_large,
    "add-small": contents.adding_small,
    "check": contents.checking,
    "optimise": contents.optimising,
    "gc": collecting.collecting,
    "gc-many": collecting.collecting_many,
}


def main() -> int:
    args = _arguments()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the scratch directory is removed
    scratch = Path(tempfile.mkdtemp(prefix="hermetic-benchmarks-", dir=args.scratch)).resolve()
    facts = machine.facts(scratch)
    results: list[tuple[str, Result]] = []
    try:
        for name in args.only or _BENCHMARKS:
            results += _run(name, scratch, args.rounds, args.shell)
    finally:
        remove(scratch)
    if args.json:
        print(json.dumps({"machine": facts, "results": [_record(n, r) for n, r in results]}, indent=2))
    else:
        print("\n".join(f"{key:10} {value}" for key, value in facts.items()))
        print(f"\n{_table(results)}")
    return 0 if results else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    names = ", ".join(_BENCHMARKS)
    parser.add_argument(
        "--only", action="append", choices=_BENCHMARKS, metavar="NAME", help=f"only this one; any of {names}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--json", action="store_true", help="print all samples as JSON")
    parser.add_argument("--shell", metavar="FILE", help="a static busybox, for the builds that are measured")
    parser.add_argument(
        "--scratch",
        metavar="DIR",
        default="/dev/shm",
        help="where to work; several GB; default: /dev/shm, so that it is not the disk that is measured",
    )
    return parser.parse_args()


def _run(name: str, scratch: Path, rounds: int, shell: str | None) -> Iterator[tuple[str, Result]]:
    """One benchmark. What cannot be measured here is said, and left out."""
    directory = scratch / name
    directory.mkdir()
    try:
        busybox = find_shell(shell, CHECKOUT)
        nix = None
        if shutil.which("nix-store"):
            (directory / "for-nix").mkdir()
            nix = Nix(directory / "for-nix", busybox)
        else:
            print(f"{name}: nix-store is not installed, so hermetic is measured alone", file=sys.stderr)
        for case in _BENCHMARKS[name](directory, busybox, nix):
            print(f"{name}: {case.title} ...", file=sys.stderr, flush=True)
            result = measure(case, rounds)
            print("    " + "  ".join(filter(None, _row(result)[1:])), file=sys.stderr, flush=True)
            yield name, result
    except Failed as failure:
        print(f"{name}: skipped: {failure}", file=sys.stderr)
    finally:
        remove(directory)


def _table(results: list[tuple[str, Result]]) -> str:
    head = ("", "hermetic", "Nix", "ratio", "CPU ratio", "mark", "")
    rows = [head, *(_row(result) for _, result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    case = result.case
    mark = "" if case.mark is None else _shown(case.mark, case.unit)
    if case.against_nix is not None:
        mark = f"{case.against_nix:.2f} of Nix"
    return (
        case.title,
        _shown(result.figure(result.hermetic), case.unit),
        _shown(result.figure(result.nix), case.unit) if result.nix else "-",
        f"{result.ratio:.2f}" if result.ratio is not None else "-",
        f"{result.cpu_ratio:.2f}" if result.cpu_ratio is not None else "-",
        mark,
        {None: "", True: "met", False: "NOT MET"}[result.met],
    )


def _shown(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if unit == "ms" else f"{value:.2f} {unit}"


def _record(name: str, result: Result) -> dict[str, object]:
    sides = {"hermetic": result.hermetic, "nix": result.nix}
    return {
        "name": name,
        "title": result.case.title,
        "unit": result.case.unit,
        "mark": result.case.mark,
        "met": result.met,
        "ratio": result.ratio,
        "cpu_ratio": result.cpu_ratio,
        **{side: result.figure(samples) if samples else None for side, samples in sides.items()},
        "seconds": {s: [{"wall": x.wall, "cpu": x.cpu} for x in samples] for s, samples in sides.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
