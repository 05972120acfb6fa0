"""Does memory that a Python program frees go back to the system, and what does that cost?

usage: python -m benchmarks.freeing PYTHON [PYTHON...] [--rounds N]

The interpreters take turns. For each: the resident memory left after 500 MB in blocks of one size were
freed, and the time to allocate and free one block again and again.
"""

from __future__ import annotations

import json
import statistics
import subprocess

import click

LEFT = """
import json
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
left = {}
for size in (600, 5_000, 40_000, 200_000, 2_000_000, 20_000_000):
    before = resident()
    blocks = [b"x" * size + str(i).encode() for i in range(500_000_000 // size)]
    del blocks
    left[f"{size:,} bytes"] = resident() - before
print(json.dumps(left))
"""
COST = """
import json, time
cost = {}
for size, rounds in ((1_000, 300_000), (100_000, 30_000), (1_000_000, 3_000), (5_000_000, 600),
                     (20_000_000, 200), (60_000_000, 60)):
    start = time.perf_counter()
    for _ in range(rounds):
        block = bytearray(size)
        del block
    cost[f"{size:,} bytes"] = (time.perf_counter() - start) / rounds * 1e6
print(json.dumps(cost))
"""


def medians(pythons: tuple[str, ...], code: str, rounds: int) -> dict[str, dict[str, float]]:
    """Run code with each interpreter in turn; return the medians by interpreter and row."""
    samples: dict[str, list[dict[str, float]]] = {python: [] for python in pythons}
    for _ in range(rounds):
        for python in pythons:
            done = subprocess.run([python, "-I", "-c", code], stdout=subprocess.PIPE, check=True)
            samples[python].append(json.loads(done.stdout))
    return {
        python: {row: statistics.median(one[row] for one in runs) for row in runs[0]}
        for python, runs in samples.items()
    }


@click.command()
@click.argument("pythons", nargs=-1, required=True, metavar="PYTHON...")
@click.option("--rounds", default=5, show_default=True, help="Processes for each interpreter.")
def main(pythons: tuple[str, ...], rounds: int) -> None:
    """Print, for each interpreter, what is left of 500 MB that were freed, and the time of an allocation."""
    for title, code in (("MB left of 500 MB", LEFT), ("microseconds to allocate and free", COST)):
        table = medians(pythons, code, rounds)
        click.echo(title)
        for row in table[pythons[0]]:
            click.echo(f"  {row:>18}" + "".join(f"{table[python][row]:12.2f}" for python in pythons))


if __name__ == "__main__":
    main()
