"""The command line: data to stdout, everything else to stderr, one error tree to exit codes.

Commands live in modules of their own and are imported when they are asked for: `hermetic realize` of
something that is built already must not wait for code that it does not need.
"""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any, Final

import click

from hermetic.cli.streams import let_go_of_stdout
from hermetic.errors import HermeticError

# command → (module, one line of help); the order is that of `hermetic --help`
COMMANDS: Final = {
    "realize": ("realize", "Build targets (or find them built); print their store paths."),
    "run": ("run", "Run a realized program, natively or under the pinned emulator."),
    "shell": ("shell", "Open the sandbox of a build by hand."),
    "log": ("log", "Print the log of a build."),
    "show": ("show", "Print a derivation as JSON."),
    "tree": ("tree", "Print the graph of derivations."),
    "why-depends": ("why_depends", "Say why one target depends on another."),
    "diff": ("diff", "Say in words why two derivations differ."),
    "seeds": ("seeds", "Print the prebuilt binaries that are trusted."),
    "lock": ("lock", "Check or change flake-like.lock."),
    "verify": ("verify", "Build again, elsewhere and otherwise, and compare bit for bit."),
    "gc": ("gc", "Delete what no root keeps alive."),
    "root": ("root", "Add, remove and list gc roots."),
    "why-live": ("why_live", "Say which root keeps a store object alive."),
    "store": ("store", "Look at the store, check it, mend it."),
}

_LONGEST: Final = 2000  # characters of one message


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"hermetic.cli.{COMMANDS[name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from hermetic.errors import nearest

            near = nearest(args[0], COMMANDS)
            hint = f" Did you mean {near!r}?" if near else ""
            ctx.fail(f"no such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="hermetic", prog_name="hermetic")
@click.option("--project", metavar="DIR", help="The folder with flake-like.lock. Default: here or above.")
@click.option(
    "--store", metavar="DIR", envvar="HERMETIC_STORE", help="The store. Default: store/ in the project."
)
@click.option("--debug", is_flag=True, envvar="HERMETIC_DEBUG", help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, project: str | None, store: str | None, debug: bool) -> None:
    """Content-addressed, sandboxed, reproducible builds.

    A TARGET is NAME[-VERSION][-ARCH], for example cpython-aarch64 or cpython-3.13.15-x86_64. Data goes to
    stdout, progress and errors to stderr.

    Exit codes: 0 done, 1 error, 2 wrong usage, 100 a build failed, 101 a build took too long,
    102 a hash did not match, 104 not reproducible, 130 interrupted.
    """
    from hermetic.session import Session

    ctx.obj = session = Session(project, store)
    ctx.call_on_close(session.close)


def main() -> None:
    """Entry point of the `hermetic` command."""
    # A polite end is one like Ctrl-C: builds are stopped, work folders removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(run(sys.argv[1:]))
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            let_go_of_stdout()


def run(args: list[str]) -> int:
    """Run one command line; returns the exit code. Never lets an exception out, but with `--debug`."""
    debug = "--debug" in args
    try:
        result: Any = cli.main(args, prog_name="hermetic", standalone_mode=False)
    except HermeticError as error:
        if debug:
            raise
        report(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
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
    return result if isinstance(result, int) else 0


def report(error: HermeticError) -> None:
    """Print an error: the fact, further lines, the remedy."""
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
