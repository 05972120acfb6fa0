"""The entry point of the `hermetic` command: what is built already is answered before click is loaded."""

# ruff: noqa: PTH109, PTH118
# Because pathlib is slow to load; see `store.quick`.

from __future__ import annotations

import os
import sys

from hermetic.cli import streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Environment variables that stand for an option.
_OPTIONS = ("HERMETIC_DEBUG", "HERMETIC_SUBSTITUTE")


def main() -> NoReturn:
    """Entry point of the `hermetic` command, after which the process ends."""
    code: object = 0
    try:
        run()
    except SystemExit as end:
        code = end.code
    if not isinstance(code, int):
        sys.exit(code)  # type: ignore[arg-type]
    sys.stderr.flush()
    os._exit(code)  # all is written and closed, and Python would first take its modules apart


def run() -> None:
    """What the command does.

    Raises:
        SystemExit: the exit code, if it is not 0.
    """
    streams.prepare()
    try:
        _main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except (ImportError, MemoryError) as error:  # here: what every command needs cannot be loaded
        reason = str(error) or "out of memory"
        print(f"hermetic: error: cannot start: {reason}", file=sys.stderr)
        print(
            "hint: raise the limits of this process (ulimit -a), or install hermetic again", file=sys.stderr
        )
        sys.exit(1)


def _main(args: list[str]) -> None:
    text = known(args)
    if text is None:
        _whole(args)
        return
    try:
        sys.stdout.write(text)
        streams.flush()
    except BrokenPipeError:
        streams.let_go_of_stdout()
        sys.exit(1)
    except streams.OutputError as error:
        streams.let_go_of_stdout()
        print(f"hermetic: error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)


def _whole(args: list[str]) -> None:
    from hermetic.cli import startup
    from hermetic.sandbox import server

    simple = _simple(args)
    if simple is not None and simple[2] != "show":
        server.start_early(rebuilds=simple[2] == "verify")
    startup.prepare()
    if simple is None or simple[2] == "show" or any(os.environ.get(name) for name in _OPTIONS):
        from hermetic.cli.main import main as whole

        whole()
    else:
        from hermetic.cli import plain

        plain.main(*simple)


def _simple(args: list[str]) -> tuple[str | None, str | None, str, list[str]] | None:
    """Project, store, command and targets of a command line that has no other options; None for any other."""
    settings: dict[str, str | None] = {"--project": None, "--store": os.environ.get("HERMETIC_STORE") or None}
    rest = list(args)
    while len(rest) > 1 and rest[0] in settings:
        settings[rest[0]] = rest[1]
        del rest[:2]
    if len(rest) < 2 or rest[0] not in ("realize", "show", "verify") or any(a.startswith("-") for a in rest):
        return None
    return settings["--project"], settings["--store"], rest[0], rest[1:]


def known(args: list[str]) -> str | None:
    """What is printed by `realize TARGET...` and `show TARGET`, where a look at the store tells it.

    None for everything else.
    """
    simple = _simple(args)
    if simple is None or simple[2] == "verify":
        return None
    from hermetic.project import worktree

    named, place, command, targets = simple
    try:
        here = os.getcwd()
    except OSError:  # it may have been removed; whether it is needed shows later
        return None
    project = worktree.root_above(os.path.realpath(named or here))
    if project is None:
        return None
    store = os.path.join(here, place or f"{project}/store")
    if os.path.normpath(store) != store:
        return None
    if command == "show":
        from hermetic.cli import shown

        return shown.text(project, store, targets[0]) if len(targets) == 1 else None
    from hermetic.store import quick

    paths = quick.objects(project, store, dict.fromkeys(targets))
    return None if paths is None else "".join(f"{path}\n" for path in paths)
