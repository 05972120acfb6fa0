"""How a command ends: errors are printed, and become exit codes. Loads what every command needs."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from typing import Final

from hermetic.cli.streams import let_go_of_stdout
from hermetic.errors import HermeticError, UsageError

_LONGEST: Final = 2000  # characters of one message


def leave(command: Callable[[], int]) -> None:
    """Run what a process is there for, and exit with the code that it returns."""
    # SIGTERM is handled like Ctrl-C: builds are stopped, work directories removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(command())
    finally:
        gc.freeze()  # the interpreter looks for garbage once more when it ends
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            let_go_of_stdout()


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
        report(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("hermetic: interrupted; the store holds what was finished", file=sys.stderr)
        return 130
    except BrokenPipeError:
        let_go_of_stdout()
        return 1
    except MemoryError:
        if debug:
            raise
        report(HermeticError("out of memory", hint="fewer jobs at a time (-j) need less"))
        return 1
    except OSError as error:
        if debug:
            raise
        from hermetic.cli.output import from_os_error

        report(from_os_error(error))
        return 1


def report(error: HermeticError) -> None:
    """Print an error: what is wrong, further lines, a hint."""
    print(f"hermetic: error: {_visible(error.message)}", file=sys.stderr)
    for line in error.details:
        print(f"  {line}", file=sys.stderr)
    if error.hint:
        print(f"hint: {_visible(error.hint)}", file=sys.stderr)


def _visible(text: str) -> str:
    """What is quoted from a damaged file must not move the cursor, hide text, or fill the screen."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"  # the reason stands at the end
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
