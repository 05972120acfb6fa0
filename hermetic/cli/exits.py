"""How a command ends: errors are printed, and become exit codes. Loads what every command needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from hermetic.cli import streams
from hermetic.cli.visible import cut, visible
from hermetic.errors import HermeticError, UsageError

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the former is slow to load


def leave(command: Callable[[], int]) -> None:
    """Run what a process is there for, and exit with the code that it returns."""
    # SIGTERM is handled like Ctrl-C: builds are stopped, work directories removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = 1
    try:
        result = command()
    finally:
        try:
            streams.flush()
        except BrokenPipeError:
            streams.let_go_of_stdout()
            result = result or 1
        except streams.OutputError as error:
            streams.let_go_of_stdout()
            report(error)
            result = result or error.exit_code
    sys.exit(result)


def code(command: Callable[[], int], *, debug: bool = False) -> int:
    """The exit code of a command, which returns it or raises an error that is printed here.

    Args:
        debug: let errors pass.
    """
    try:
        return command()
    except HermeticError as error:
        if debug and not isinstance(error, UsageError):  # a wrong command line has no cause in the program
            raise
        if isinstance(error, streams.OutputError):
            streams.let_go_of_stdout()  # what is left must not fail a second time
        report(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("hermetic: interrupted; the store holds what was finished", file=sys.stderr)
        return 130
    except BrokenPipeError:
        streams.let_go_of_stdout()
        return 1
    except MemoryError:
        if debug:
            raise
        report(HermeticError("out of memory", hint="fewer jobs at a time (-j) need less, or raise ulimit -v"))
        return 1
    except (OSError, UnicodeError, ImportError, RuntimeError) as error:
        from hermetic.cli.surroundings import explained

        known = explained(error)
        if debug or known is None:
            raise
        report(known)
        return 1


def report(error: HermeticError) -> None:
    """Print an error: what is wrong, further lines, a hint."""
    # What is quoted must not move the cursor, hide text, or fill the screen.
    print(f"hermetic: error: {visible(cut(error.message), colours=True)}", file=sys.stderr)
    for line in error.details:
        print(f"  {visible(cut(line))}", file=sys.stderr)
    if error.hint:
        print(f"hint: {visible(cut(error.hint), colours=True)}", file=sys.stderr)
