"""The entry point of the `hermetic` command: what is built already is answered before click is loaded."""

# ruff: noqa: PTH109, PTH118
# Because pathlib is slow to load; see `store.quick`.

from __future__ import annotations

import gc
import os
import sys

from hermetic.cli import shown
from hermetic.cli.streams import let_go_of_stdout
from hermetic.project import worktree
from hermetic.store import quick


def main() -> None:
    """Entry point of the `hermetic` command."""
    text = known(sys.argv[1:])
    if text is None:
        gc.set_threshold(50_000)  # thousands of derivations, and little garbage: the default looks too often
        from hermetic.cli.main import main as whole

        whole()
    else:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            let_go_of_stdout()
            sys.exit(1)


def known(args: list[str]) -> str | None:
    """What is printed by `realize TARGET...` and `show TARGET`, where a look at the store tells it.

    None for everything else.
    """
    settings = {"--project": os.getcwd(), "--store": os.environ.get("HERMETIC_STORE", "")}
    rest = list(args)
    while len(rest) > 1 and rest[0] in settings:
        settings[rest[0]] = os.path.join(os.getcwd(), rest[1])
        del rest[:2]
    command, targets = rest[:1], rest[1:]
    if command not in (["realize"], ["show"]) or not targets or any(t.startswith("-") for t in targets):
        return None
    project = worktree.root_above(os.path.realpath(settings["--project"]))
    if project is None:
        return None
    store = os.path.join(os.getcwd(), settings["--store"] or f"{project}/store")
    if os.path.normpath(store) != store:
        return None
    if command == ["show"]:
        return shown.text(project, store, targets[0]) if len(targets) == 1 else None
    paths = quick.objects(project, store, dict.fromkeys(targets))
    return None if paths is None else "".join(f"{path}\n" for path in paths)
