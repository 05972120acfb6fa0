"""Line editing and its history: as with the Python of other systems, and nothing is ever destroyed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.real.conftest import environment
from tests.real.terminal import Terminal

TERMINALS = ("xterm", "dumb", "unknown-terminal", None)
# As interpreters leave it: an entry of two lines, UTF-8, and a byte that is none.
HISTORY = b"import os\ndef f():\r\n    return 1\nword = '\xc3\xa9'\nlatin = '\xe9'\n"
LIBEDITS = b"_HiStOrY_V2_\nimport\\040os\nword\\040=\\040'\\303\\251'\n"


class Home:
    """A user's home directory and what is started in it."""

    def __init__(self, directory: Path, python: str) -> None:
        self.directory = directory
        self.python = python
        self.history = directory / ".python_history"

    def terminal(
        self,
        *args: str,
        term: str | None = "xterm",
        basic: bool = True,
        powerless: bool = False,
        **changes: str,
    ) -> Terminal:
        """The interpreter in a terminal, at its first prompt."""
        settings = environment(HOME=str(self.directory), **changes)
        if term is not None:
            settings["TERM"] = term
        if basic:
            settings["PYTHON_BASIC_REPL"] = "1"
        terminal = Terminal([self.python, "-q", *args], settings, cwd=self.directory, powerless=powerless)
        terminal.expect(">>> ")
        return terminal

    def run(self, code: str, *args: str) -> str:
        """Output of a program, without a terminal."""
        done = subprocess.run(
            [self.python, "-c", code, *args],
            env=environment(HOME=str(self.directory)),
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def home(native: Path, tmp_path: Path) -> Home:
    """An empty home directory."""
    return Home(tmp_path, str(native / "bin/python3"))


@pytest.mark.parametrize("basic", [False, True])
@pytest.mark.parametrize("term", TERMINALS)
def test_a_session_adds_to_the_history_and_keeps_the_rest(home: Home, term: str | None, basic: bool) -> None:
    home.history.write_bytes(HISTORY)
    terminal = home.terminal(term=term, basic=basic)
    terminal.type("6*7\r", "42")
    assert terminal.end() == 0
    assert home.history.read_bytes() == HISTORY + b"6*7\n"
    assert os.listdir(home.directory) == [home.history.name]


@pytest.mark.parametrize("basic", [False, True])
def test_a_history_of_libedit_becomes_plain_lines(home: Home, basic: bool) -> None:
    home.history.write_bytes(LIBEDITS)
    terminal = home.terminal(basic=basic)
    terminal.type("6*7\r", "42")
    assert terminal.end() == 0
    assert home.history.read_text() == "import os\nword = 'é'\n6*7\n"


@pytest.mark.parametrize("basic", [False, True])
def test_a_history_that_cannot_be_read_is_not_overwritten(home: Home, basic: bool) -> None:
    home.history.write_bytes(HISTORY)
    home.history.chmod(0o200)
    terminal = home.terminal(basic=basic, powerless=True)
    terminal.type("6*7\r", "42")
    assert terminal.end() == 0
    home.history.chmod(0o600)
    # From 3.14 on, the new interactive interpreter adds to the file what was typed, without reading it.
    assert home.history.read_bytes().removesuffix(b"6*7\n") == HISTORY


@pytest.mark.parametrize("basic", [False, True])
def test_a_session_that_is_ended_by_a_statement_loses_no_entry(home: Home, basic: bool) -> None:
    home.history.write_bytes(HISTORY)
    terminal = home.terminal(basic=basic)
    terminal.type("6*7\r", "42")
    assert terminal.end("raise SystemExit\r") == 0
    assert home.history.read_bytes() == HISTORY + b"6*7\nraise SystemExit\n"


@pytest.mark.parametrize(
    "write",
    [
        "import readline as r; r.read_history_file(path); r.write_history_file(path)",
        "import readline as r; r.add_history('x' * 3000); r.write_history_file(path)",
        "from _pyrepl.readline import _replace_file; _replace_file(path, bytes(5000))",
    ],
)
def test_a_full_disk_leaves_the_old_history(home: Home, write: str) -> None:
    home.history.write_bytes(HISTORY * 50)
    home.run(
        "import resource; path = '.python_history'; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        f"try: {write}\nexcept OSError: pass\nelse: raise SystemExit('it was written')"
    )
    assert home.history.read_bytes() == HISTORY * 50
    assert os.listdir(home.directory) == [home.history.name]


def test_a_link_to_the_history_stays_a_link_and_its_mode_stays(home: Home) -> None:
    target = home.directory / "elsewhere"
    target.write_text("a\n")
    target.chmod(0o640)
    home.history.symlink_to(target)
    basic = "import readline as r; r.add_history('b'); r.write_history_file(p)"
    for write in (basic, "_replace_file(p, b'b\\n')"):
        home.run(f"from _pyrepl.readline import _replace_file; p = '.python_history'; {write}")
        assert home.history.is_symlink()
        assert target.read_text() == "b\n"
        assert target.stat().st_mode & 0o777 == 0o640


def test_the_length_of_the_history_is_limited_by_whole_lines(home: Home) -> None:
    code = "import readline as r, sys; r.read_history_file('h'); r.set_history_length(int(sys.argv[1])); "
    for length, left in (("2", "c\nd\n"), ("9", "a\nb\nc\nd\n"), ("-1", "a\nb\nc\nd\n"), ("0", "")):
        (home.directory / "h").write_text("a\nb\nc\nd\n")
        home.run(code + "r.write_history_file('h')", length)
        assert (home.directory / "h").read_text() == left
    (home.directory / "h").write_bytes(LIBEDITS)
    home.run(code + "r.add_history('x y'); r.append_history_file(1, 'h')", "1")
    assert (home.directory / "h").read_text() == "_HiStOrY_V2_\nx\\040y\n"
    assert home.run("import readline as r; r.read_history_file('h'); print(r.get_history_item(1))") == "x y\n"


def test_items_are_replaced_and_removed_by_position(home: Home) -> None:
    code = """if True:
        import readline as r
        for word in 'abcd': r.add_history(word)
        r.remove_history_item(0); r.replace_history_item(0, 'B'); r.replace_history_item(2, 'D')
        print([r.get_history_item(n) for n in range(5)])
        for bad in (-1, 3, 9):
            try: r.replace_history_item(bad, 'x')
            except ValueError: pass
            else: raise SystemExit(bad)
    """
    assert home.run(code) == "[None, 'B', 'c', 'D', None]\n"


def test_a_huge_history_is_read_and_written_in_no_time(home: Home) -> None:
    text = "".join(f"line {n} é\n" for n in range(300_000))
    (home.directory / "h").write_text(text)
    code = "import readline as r; r.read_history_file('h'); r.write_history_file('h')"
    home.run(f"{code}; import time; assert time.process_time() < 10")
    assert (home.directory / "h").read_text() == text


def test_programs_may_append_to_one_history_at_the_same_time(home: Home) -> None:
    code = """if True:
        import readline, sys
        for n in range(1000):
            readline.add_history(sys.argv[1] * 50)
            readline.append_history_file(1, 'h')
    """
    programs = [subprocess.Popen([home.python, "-c", code, word], cwd=home.directory) for word in "abc"]
    assert [program.wait() for program in programs] == [0, 0, 0]
    lines = (home.directory / "h").read_text().splitlines()
    assert sorted(lines) == [word * 50 for word in "abc" for _ in range(1000)]


@pytest.mark.parametrize("term", ["xterm", "dumb", "unknown-terminal"])
def test_tab_indents_at_the_start_of_a_line_and_completes_behind_a_word(home: Home, term: str) -> None:
    terminal = home.terminal(term=term)
    terminal.type("if True:\r", "... ")
    terminal.type("\t", "")
    terminal.type("answer = 6 * 7\r", "... ")
    terminal.type("\r", ">>> ")
    terminal.type("ans\t", "wer")
    terminal.type("\r", "42")
    assert terminal.end() == 0
    assert home.history.read_text() == "if True:\n\tanswer = 6 * 7\nanswer\n"


@pytest.mark.parametrize(
    "binding",
    [
        "tab: complete",
        "Control-i: complete",
        '"\\t": complete',
        "bind ^I rl_complete",
        "python:bind ^I rl_complete",
    ],
)
def test_bindings_of_readline_and_of_libedit_are_understood(home: Home, binding: str) -> None:
    terminal = home.terminal()
    terminal.type("import readline; readline.parse_and_bind('tab: self-insert'); answer = 6 * 7\r", ">>> ")
    terminal.type(f"readline.parse_and_bind({binding!r})\r", ">>> ")
    terminal.type("ans\t\r", "42")
    assert terminal.end() == 0


def test_completion_counts_characters(home: Home) -> None:
    terminal = home.terminal()
    terminal.type("import readline\r", ">>> ")
    terminal.type("tell = lambda: (readline.get_begidx(), readline.get_endidx())\r", ">>> ")
    terminal.type("readline.set_completer(lambda text, n: n or print(text, *tell()))\r", ">>> ")
    terminal.type("'éé' + wor\t", "wor 7 10")
    terminal.end("\x15\x04")


@pytest.mark.parametrize("name", [".inputrc", ".editrc"])
def test_the_users_key_bindings_are_read(home: Home, name: str) -> None:
    lines = {
        ".inputrc": '$if Bash\n"\\C-o": "0"\n$else\n"\\C-o": "6*7"\n$endif\n'
        '$if mode=vi\n"\\C-o": "1"\n$endif\n',
        ".editrc": 'python:bind -s ^O "6*7"\nother:bind -s ^O 0\n',
    }
    (home.directory / name).write_text(lines[name])
    terminal = home.terminal()
    terminal.type("\x0f\r", "42")
    assert terminal.end() == 0


def test_a_file_of_bindings_that_is_not_there_is_an_error(home: Home) -> None:
    code = (
        "import readline\ntry: readline.read_init_file('none')\nexcept FileNotFoundError: print('not there')"
    )
    assert home.run(code) == "not there\n"


def test_vi_mode_keeps_completion(home: Home) -> None:
    (home.directory / ".inputrc").write_text("set editing-mode vi\n")
    terminal = home.terminal()
    terminal.type("answer = 6*7\r", ">>> ")
    terminal.type("ans\t\r", "42")
    terminal.type("6*8\x1bxa7\r", "42")
    assert terminal.end() == 0


def test_a_program_may_prepare_the_line(home: Home) -> None:
    terminal = home.terminal()
    terminal.type("import readline\r", ">>> ")
    terminal.type("readline.set_startup_hook(lambda: readline.insert_text('pre'))\r", ">>> pre")
    terminal.type("pared = 42\r", ">>> pre")
    terminal.type("pared\r", "42")
    terminal.end("\x15\x04")


def test_debugger_console_commands_and_input_edit_lines(home: Home) -> None:
    terminal = home.terminal()
    terminal.type("answer = 42; breakpoint()\r", "(Pdb) ")
    terminal.type("unt\t", "unt")
    terminal.type("\x15p ans\t\r", "42")
    terminal.type("q\r", ">>> ")
    terminal.type("import cmd; C = type('C', (cmd.Cmd,), {'do_hello': lambda s, a: print('HI', a)})\r", ">> ")
    terminal.type("C().cmdloop()\r", "(Cmd) ")
    terminal.type("hello th\x1b[D\x1b[Di\x1b[C\x1b[Cere\r", "HI ithere")
    terminal.type("hel\t", "hel")
    terminal.type("\x15\x03", ">>> ")
    terminal.type("import code; code.interact(local={'answer': 42})\r", "InteractiveConsole")
    terminal.type("\x1b[Dansxer\x1b[D\x1b[D\x1b[D\x1b[3~w\r", "42")
    terminal.type("\x04", "now exiting")
    terminal.type("input('name? ')\r", "name? ")
    terminal.type("bo\x1b[D\x1b[Da\r", "'abo'")
    # From 3.14 on, every CPython that was interrupted at its prompt says so when it ends.
    assert terminal.end() in (0, -signal.SIGINT)


def test_the_new_interpreters_entries_of_several_lines_survive_the_basic_one(home: Home) -> None:
    new = home.terminal(basic=False)
    new.type("def f():\r", "...")
    new.type("return 42\r", "...")
    new.type("\r", ">>> ")
    new.type("f()\r", "42")
    assert new.end() == 0
    before = home.history.read_bytes()
    assert b"def f():\r\n" in before
    basic = home.terminal()
    basic.type("6*8\r", "48")
    assert basic.end() == 0
    assert home.history.read_bytes() == before + b"6*8\n"
    new = home.terminal(basic=False)
    new.type("\x1bOA\x1bOA\x1bOA", "return 42")
    new.end("\x03\x04")
