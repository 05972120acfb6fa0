"""Checks that run one after the other in the interpreter under test, which needs nothing but its library."""

from __future__ import annotations

import faulthandler
import signal
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

SECONDS = 600  # for one check; an emulated machine is slow
CHECKS: dict[str, Callable[[], object]] = {}


def check(function: Callable[[], object]) -> Callable[[], object]:
    """Make a function one of the checks; its name is theirs."""
    CHECKS[function.__name__] = function
    return function


def _too_long(*_: object) -> NoReturn:
    raise TimeoutError(f"not done after {SECONDS} s")


def main(words: list[str]) -> int:
    """Run those whose name contains one of the words; all without any. Returns the exit status."""
    failed = []
    signal.signal(signal.SIGALRM, _too_long)
    for name, function in CHECKS.items():
        if words and not any(word in name for word in words):
            continue
        start = time.monotonic()
        signal.alarm(SECONDS)
        faulthandler.dump_traceback_later(SECONDS + 60, exit=True)  # if even the signal is not heard
        try:
            function()
        except BaseException:
            failed.append(name)
            print(f"FAILED  {name}", flush=True)
            traceback.print_exc()
        else:
            print(f"ok      {name} ({time.monotonic() - start:.2f} s)", flush=True)
    print(f"{len(failed)} failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0
