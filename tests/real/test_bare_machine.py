"""The interpreter works where nothing else is: no files of a system, no network, an unusual terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.real.conftest import environment, library, own_copy
from tests.real.terminal import Terminal

SECONDS = 4  # below the time after which a resolver gives up on a name server that does not answer


@pytest.fixture(scope="module")
def root(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root directory with nothing but the interpreter, for all tests that add nothing to it."""
    return own_copy(native, tmp_path_factory.mktemp("bare") / "root")


@pytest.fixture
def own_root(native: Path, tmp_path: Path) -> Path:
    """One to which files may be added."""
    return own_copy(native, tmp_path / "root")


def bare(root: Path, code: str, **env: str) -> str:
    """Run code where there is nothing else, and no network but the loopback."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    command = f'ip link set lo up; exec chroot {root} /bin/python3 -c "$CODE"'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CODE": code, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no network namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_time_zones(root: Path) -> None:
    code = """
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones
summer = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
print(summer.utcoffset(), summer.tzname(), len(available_timezones()) > 500)
print("Asia/Kolkata" in available_timezones())
for key in ("Europe/Nowhere", "Europe", "../../os.py"):
    try:
        ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError) as error:
        print(type(error).__name__)
"""
    lines = bare(root, code).splitlines()
    assert lines[:2] == ["2:00:00 CEST True", "True"]
    assert lines[2:] == ["ZoneInfoNotFoundError", "ZoneInfoNotFoundError", "ValueError"]


def test_time_zones_of_the_user_come_first(own_root: Path) -> None:
    zones = own_root / "zones" / "Europe"
    zones.mkdir(parents=True)
    ours = library(own_root) / "zoneinfo/data"
    shutil.copy(ours / "Asia/Tokyo", zones / "Berlin")
    code = """
from datetime import datetime
from zoneinfo import ZoneInfo
print(datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")).tzname())
"""
    assert bare(own_root, code, PYTHONTZPATH="/zones") == "JST\n"
    package = library(own_root) / "site-packages/tzdata"
    (package / "zoneinfo" / "Europe").mkdir(parents=True)
    for directory in (package, package / "zoneinfo", package / "zoneinfo/Europe"):
        (directory / "__init__.py").touch()
    shutil.copy(ours / "America/New_York", package / "zoneinfo/Europe/Berlin")
    assert bare(own_root, code) == "EST\n"


def test_localhost(root: Path) -> None:
    code = """
import socket, time
start = time.monotonic()
def addresses(name, family=0):
    return sorted({a[4][0] for a in socket.getaddrinfo(name, 80, family)})
for name in ("localhost", "LocalHost", "localhost.", "www.localhost", "a.b.localhost."):
    print(addresses(name))
print(addresses("localhost", socket.AF_INET), addresses("localhost", socket.AF_INET6))
print(socket.gethostbyname("localhost"), socket.getfqdn("127.0.0.1"), socket.gethostbyaddr("::1")[0])
server = socket.create_server(("localhost", 0))
socket.create_connection(("localhost", server.getsockname()[1])).close()
print(time.monotonic() - start)
"""
    *lines, seconds = bare(root, code).splitlines()
    assert lines[:5] == ["['127.0.0.1', '::1']"] * 5
    assert lines[5:] == ["['127.0.0.1'] ['::1']", "127.0.0.1 localhost localhost"]
    assert float(seconds) < SECONDS


@pytest.mark.parametrize("name", ["notlocalhost", "localhost.example.org", "example.org", "www.python.org"])
@pytest.mark.parametrize(
    "servers", ["", "nameserver 127.0.0.1", "nameserver 192.0.2.1\nnameserver 2001:db8::1"]
)
def test_other_names_fail_soon(own_root: Path, name: str, servers: str) -> None:
    if servers:
        (own_root / "etc").mkdir()
        (own_root / "etc/resolv.conf").write_text(servers + "\n")
    code = f"""
import socket, time
start = time.monotonic()
try:
    print(socket.getaddrinfo({name!r}, 80))
except socket.gaierror:
    print(time.monotonic() - start)
"""
    assert float(bare(own_root, code)) < SECONDS


def test_answers_that_are_too_large_for_udp_are_asked_for_by_tcp(own_root: Path) -> None:
    (own_root / "etc").mkdir()
    (own_root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    code = """
import socket, struct, threading
NAMES = 40  # of 16 bytes each: more than the 512 that UDP carries

def answer(query, truncated):
    kind = struct.unpack_from("!H", query, query.index(b"\\0", 12) + 1)[0]
    count = NAMES if kind == 1 and not truncated else 0
    flags = 0x8180 | (0x200 if truncated and kind == 1 else 0)
    header = query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0)
    records = [struct.pack("!HHHIH4B", 0xC00C, 1, 1, 60, 4, 10, 0, 0, n) for n in range(count)]
    return header + query[12 : query.index(b"\\0", 12) + 5] + b"".join(records)

def by_udp():
    while True:
        query, client = udp.recvfrom(512)
        udp.sendto(answer(query, True), client)

def by_tcp():
    while True:
        connection, _ = tcp.accept()
        with connection, connection.makefile("rb") as queries:
            while prefix := queries.read(2):
                full = answer(queries.read(*struct.unpack("!H", prefix)), False)
                connection.sendall(struct.pack("!H", len(full)) + full)

udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 53))
tcp = socket.create_server(("127.0.0.1", 53))
for serve in (by_udp, by_tcp):
    threading.Thread(target=serve, daemon=True).start()
print(len({a[4][0] for a in socket.getaddrinfo("many.example.org", 80, type=socket.SOCK_STREAM)}))
"""
    assert int(bare(own_root, code)) == 40


def test_a_server_starts_without_waiting_for_names(root: Path) -> None:
    start = time.monotonic()
    bare(root, "import http.server as h; h.HTTPServer(('', 0), h.BaseHTTPRequestHandler).server_close()")
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize(
    "terminal",
    [
        "xterm-kitty",
        "xterm-ghostty",
        "alacritty",
        "tmux-256color",
        "screen-256color",
        "screen.xterm-256color",
        "xterm-256color",
        "foot",
        "foot-extra",
        "wezterm",
        "rio",
        "contour",
        "st-256color",
        "rxvt-unicode-256color",
        "konsole-256color",
        "vte-256color",
        "linux",
        "vt100",
        "vt220",
        "dumb",
        "xterm-direct",
        "mlterm",
        "mintty",
        "ms-terminal",
        "vscode",
        "eterm-color",
        "iterm2",
        "putty",
        "ansi",
        "cons25",
        "hurd",
        "xfce",
        "terminator",
    ],
)
def test_terminals_by_their_names(root: Path, terminal: str) -> None:
    code = "import curses as c; c.setupterm(fd=1); print(c.tigetnum('cols') > 0, c.tigetstr('cr') == b'\\r')"
    assert bare(root, code, TERM=terminal) == "True True\n"


@pytest.mark.parametrize("name", ["alacritty", "xterm-kitty", "linux"])
def test_the_prompt_edits_lines_in_terminals_that_no_file_describes(root: Path, name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    command = [shutil.which("chroot", path="/usr/sbin:/usr/bin") or "", str(root), "/bin/python3", "-q"]
    terminal = Terminal(command, {"TERM": name, "HOME": "/", "LC_ALL": "C.UTF-8"}, cwd=root)
    terminal.expect(">>> ")
    assert "pyrepl" not in terminal.screen, "it says that it cannot use its own line editing"
    terminal.type("67\x02*\r", "42")
    terminal.type("exit\r", "")
    assert terminal.end("") == 0


def test_terminal_descriptions_are_searched_as_ncurses_says(native: Path, tmp_path: Path) -> None:
    """ncurses(3X), environment: TERMINFO, ~/.terminfo, TERMINFO_DIRS, the system's directories."""
    if shutil.which("tic") is None:
        pytest.skip("needs tic, of ncurses")
    python = str(native / "bin/python3")
    places = {"TERMINFO": "first", "HOME": "second", "TERMINFO_DIRS": "third"}
    for columns, (variable, name) in enumerate(places.items(), start=101):
        directory = tmp_path / name / (".terminfo" if variable == "HOME" else "")
        directory.mkdir(parents=True)
        source = tmp_path / f"{name}.ti"
        source.write_text(f"odd|a terminal of ours,\n\tcols#{columns}, cr=^M,\n")
        subprocess.run(["tic", "-x", "-o", str(directory), str(source)], check=True)
    env = environment(TERM="odd", **{variable: str(tmp_path / name) for variable, name in places.items()})
    code = "import curses; curses.setupterm(fd=1); print(curses.tigetnum('cols'))"
    for variable, columns in zip(places, (101, 102, 103), strict=True):
        done = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == f"{columns}\n", variable
        env[variable] = "/nowhere"


def test_freed_memory_goes_back(native: Path) -> None:
    code = """
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
for size in (600, 5_000, 40_000, 200_000, 2_000_000, 20_000_000):
    before = resident()
    blocks = [b"x" * size + str(i).encode() for i in range(300_000_000 // size)]
    full = resident()
    del blocks
    assert full - before > 250, (size, before, full)
    print(size, resident() - before)
"""
    done = subprocess.run(
        [str(native / "bin/python3"), "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    left = {size: float(megabytes) for size, megabytes in (line.split() for line in done.stdout.splitlines())}
    assert len(left) == 6
    assert {size: megabytes for size, megabytes in left.items() if megabytes > 50} == {}


def test_a_module_of_the_user_is_not_shadowed(native: Path, tmp_path: Path) -> None:
    python = str(native / "bin/python3")
    for name in ("resource", "math", "select", "array", "_json", "sys", "itertools", "time"):
        (tmp_path / f"{name}.py").write_text("mine = True\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import resource, math, select, array, _json, sys, itertools, time\n"
        "modules = (resource, math, select, array, _json, sys, itertools, time)\n"
        "print([m.__name__ for m in modules if hasattr(m, 'mine')])\n"
    )
    mine = subprocess.run(
        [python, str(script)], env=environment(), capture_output=True, text=True, check=True
    )
    assert mine.stdout == "['resource', 'math', 'select', 'array', '_json']\n"
    none = subprocess.run(
        [python, "-I", str(script)], env=environment(), capture_output=True, text=True, check=True
    )
    assert none.stdout == "[]\n"
