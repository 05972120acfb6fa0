"""The command line: data to stdout, everything else to stderr, one error tree to exit codes.

Commands live in modules of their own and are imported when they are asked for: `hermetic realize` of
something that is built already must not wait for code that it does not need.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

from hermetic.cli import exits
from hermetic.cli.usage import Group, explained
from hermetic.errors import UsageError

# command → (module, one line of help); the order is that of `hermetic --help`
COMMANDS: Final = {
    "realize": ("realize", "Build targets, or find them built; print the paths of their outputs."),
    "run": ("run", "Run the program of a target; that of another architecture runs under qemu."),
    "shell": ("shell", "Open a shell in the sandbox of a build."),
    "log": ("log", "Print the log of a build."),
    "show": ("show", "Print everything that a build depends on, as JSON."),
    "tree": ("tree", "Print what a target is built from, as a tree."),
    "why-depends": ("why_depends", "Say why one target depends on another."),
    "diff": ("diff", "Say why the builds of two targets differ."),
    "targets": ("targets", "List what can be built: recipes, systems and versions, with their hashes."),
    "seeds": ("seeds", "List the prebuilt binaries that are trusted."),
    "lock": ("lock", "List, check or update the pinned sources (flake-like.lock)."),
    "verify": ("verify", "Rebuild targets under varied conditions and compare bit for bit."),
    "check": ("check", "Check interpreters: their files, and CPython's own tests."),
    "gc": ("gc", "Delete from the store what no root keeps (garbage collection)."),
    "root": ("root", "Add, remove and list roots: names that keep objects in the store."),
    "why-live": ("why_live", "Say what keeps an object in the store."),
    "store": ("store", "Inspect, check and repair the store."),
}


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"hermetic.cli.{COMMANDS[name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="hermetic", prog_name="hermetic")
@click.option(
    "--project", metavar="DIR", help="Project directory. Default: the nearest with flake-like.lock."
)
@click.option(
    "--store", metavar="DIR", envvar="HERMETIC_STORE", help="Store directory. Default: store/ in the project."
)
@click.option("--debug", is_flag=True, envvar="HERMETIC_DEBUG", help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, project: str | None, store: str | None, debug: bool) -> None:
    """Build software from pinned sources, in a sandbox, to the same bits on every machine.

    A TARGET names a recipe in derivations/, and may name a version and an architecture:
    NAME[-VERSION][-ARCH], for example zlib, cpython-aarch64 or cpython-3.14.7-x86_64. The default version is
    set in flake-like.lock; the default architecture is x86_64, that of the machine that builds.

    "realize" builds a TARGET and everything below it. Each step (a download, an unpacking, a build) is a
    derivation: what is done, with all its inputs, under the hash of them all. Its output is an OBJECT: a
    directory or file in the store, under the hash of its content. An OBJECT stays until "gc" deletes what no
    root (a name or a link) keeps.

    Results go to stdout, progress and errors to stderr.

    Exit codes: 0 done, 1 error, 2 wrong usage, 100 a build failed, 101 a build took too long,
    102 a hash did not match, 104 not reproducible or a check failed, 130 interrupted.
    """
    from hermetic.session import Session

    ctx.obj = session = Session(project, store)
    ctx.call_on_close(session.close)


def main() -> None:
    """Entry point of the `hermetic` command."""
    exits.leave(lambda: run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Run one command line; returns the exit code. With `--debug`, exceptions are raised."""
    return exits.code(lambda: _run(args), debug="--debug" in args)


def _run(args: list[str]) -> int:
    try:
        result: Any = cli.main(args, prog_name="hermetic", standalone_mode=False)
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # not in every version of click
            error.show()
            return UsageError.exit_code
        exits.report(explained(error))
        return UsageError.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return result if isinstance(result, int) else 0
