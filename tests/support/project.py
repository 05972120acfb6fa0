"""Tiny projects on disk, their sources on a real server, and the command line run on them as a process.

Their builds are scripts for the shell of the busybox seed, in real sandboxes. The seed's archive is fetched
once through the real fetcher into a cache folder, or taken from the checkout's store, if it is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from blake3 import blake3

from hermetic.errors import HermeticError
from hermetic.project import lock as locks
from hermetic.project.pin import Pin
from hermetic.sources.fetch import Fetcher
from tests.support.servers import Server, serving, whole

REPOSITORY: Final = Path(__file__).resolve().parents[2]
BUSYBOX: Final = "derivations/busybox/recipe.toml"
ARCHES: Final = ("x86_64", "aarch64")


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def paths(self) -> list[Path]:
        """What it printed on stdout, as store paths."""
        return [Path(line) for line in self.out.splitlines()]

    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """A project folder, a store beside it, and the server that serves its sources.

    Attributes:
        environment: of every command.
    """

    def __init__(self, folder: Path, server: Server, seed: Pin, deb: bytes) -> None:
        self.root = folder / "project"
        self.store = folder / "store"
        self.server = server
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "NO_PROXY": "*",
        }
        self.root.mkdir()
        self._pins: dict[tuple[str, str], str] = {}
        self._defaults: dict[str, str] = {}
        self.write(BUSYBOX, (REPOSITORY / BUSYBOX).read_text())
        self._pin(seed.name, seed.version, seed.file, deb)

    # -- what it is made of

    def write(self, path: str, text: str) -> None:
        """A file of the project, replaced if it is there."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text in a file; it must be there."""
        text = (self.root / path).read_text()
        assert old in text, f"{old!r} is not in {path}"
        self.write(path, text.replace(old, new))

    def recipe(self, name: str, script: str | None = None, **fields: Any) -> None:
        """A recipe without a toolchain; fields as in recipe.toml, with `_` for `-`; tables as dicts."""
        fields = {"name": name, "toolchain": "none", **fields}
        if "source" not in fields:
            fields.setdefault("version", "1")
        tables = {key: value for key, value in fields.items() if isinstance(value, dict)}
        lines = [f"{k.replace('_', '-')} = {json.dumps(v)}" for k, v in fields.items() if k not in tables]
        for key, table in tables.items():
            lines += [f"[{key.replace('_', '-')}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        self.write(f"derivations/{name}/recipe.toml", "\n".join(lines) + "\n")
        if script is not None:
            self.write(f"derivations/{name}/build.sh", script)

    def source(self, name: str, files: Mapping[str, str], version: str = "1.0") -> str:
        """Pin an archive of files, and serve it; returns its path there. The first version is default."""
        return self._pin(name, version, f"{name}-{version}.tar", archive(f"{name}-{version}", files))

    def _pin(self, name: str, version: str, file: str, data: bytes) -> str:
        path = f"/{file}"
        self.server.routes[path] = whole(data)
        self._pins[name, version] = (
            f'[source.{name}."{version}"]\nfile = "{file}"\n'
            f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nblake3 = "{blake3(data).hexdigest()}"\n'
            f'size = {len(data)}\nmirrors = ["{self.server.url(path)}"]\n'
        )
        self._defaults.setdefault(name, version)
        defaults = "".join(f'{n} = "{v}"\n' for n, v in sorted(self._defaults.items()))
        pins = "\n".join(text for _, text in sorted(self._pins.items()))
        self.write("flake-like.lock", f"format = 1\n\n[default]\n{defaults}\n{pins}")
        return path

    def commit(self) -> None:
        """Commit everything to git."""
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(self.root)]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "a change"]):
            subprocess.run([*git, *command], check=True, env=self.environment)

    # -- what is done with it

    def command(self, *args: str) -> list[str]:
        where = ["--project", str(self.root), "--store", str(self.store)]
        return [sys.executable, "-m", "hermetic", *where, *args]

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """A hermetic process, in a session of its own."""
        settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        settings |= {"stdin": subprocess.DEVNULL, "start_new_session": True, "cwd": "/"}
        settings |= {"env": self.environment, **options}
        process: subprocess.Popen[str] = subprocess.Popen(self.command(*args), **settings)
        return process

    def run(self, *args: str, **options: Any) -> Ran:
        """Run hermetic to its end."""
        process = self.start(*args, **options)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
            process.wait()
        return Ran(process.returncode, out or "", err or "")

    def ok(self, *args: str, **options: Any) -> Ran:
        """The same; it must succeed."""
        ran = self.run(*args, **options)
        assert ran.code == 0, f"{args} ended with {ran.code}:\n{ran.err}\n{ran.out}"
        return ran

    def realized(self, target: str, *options: str) -> Path:
        """Realize a target; the path of its store object."""
        (path,) = self.ok("realize", *options, target).paths
        return path

    def objects(self, name: str = "") -> list[str]:
        """Names of the store's objects, without the hash; of one name, if that is given."""
        names = [p.name.partition("-")[2] for p in self.store.iterdir() if not p.name.startswith(".")]
        return sorted(n for n in names if n.startswith(name))

    def leftovers(self) -> list[str]:
        """What lies about in the store that no living process owns."""
        meta = self.store / ".hermetic"
        return [f"{folder}/{p.name}" for folder in ("tmp", "trash") for p in (meta / folder).iterdir()]

    def log(self, process: subprocess.Popen[str], until: str, seconds: float = 20) -> str:
        """What a process writes to stderr, up to a line that holds `until`."""
        assert process.stderr is not None
        seen = ""
        deadline = time.monotonic() + seconds
        for line in process.stderr:
            seen += line
            if until in line:
                return seen
            assert time.monotonic() < deadline, seen
        raise AssertionError(f"{until!r} is not in:\n{seen}")


def archive(folder: str, files: Mapping[str, str]) -> bytes:
    """A tar archive with one top-level folder, as upstreams make them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in sorted(files.items()):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def stopped(process: subprocess.Popen[str], number: int = signal.SIGINT) -> float:
    """Send a signal to a process; after how many seconds it ended."""
    begun = time.monotonic()
    process.send_signal(number)
    try:
        process.wait(timeout=20)
    finally:
        process.kill()
    return time.monotonic() - begun


def find_seed() -> tuple[Pin, bytes]:
    """The busybox seed as the checkout pins it, and its bytes.

    Raises:
        HermeticError: it cannot be fetched.
    """
    pin = locks.parse((REPOSITORY / locks.FILE_NAME).read_bytes()).pin("busybox")
    for path in (REPOSITORY / "store").glob(f"*-busybox-{pin.version}"):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == pin.sha256:
            return pin, path.read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hermetic-tests"
    return pin, Fetcher(cache).fetch(pin).read_bytes()


def make_template(folder: Path) -> tuple[Path, Pin, bytes]:
    """Make a store in which the seed is realized.

    Raises:
        HermeticError: the seed cannot be fetched.
    """
    pin, deb = find_seed()
    with serving() as server:
        project = Project(folder, server, pin, deb)
        project.recipe("check", ': > "$out/here"')
        ran = project.run("realize", "busybox", "check")
        if "cannot set up a sandbox" in ran.err or "namespaces" in ran.err:
            pytest.skip(f"no sandbox on this machine: {ran.err}")
        assert ran.code == 0, ran.err
    return folder / "store", pin, deb


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pin, bytes]:
    """A store in which the seed is realized; tests begin with a copy of it."""
    try:
        return make_template(tmp_path_factory.mktemp("template"))
    except HermeticError as error:
        pytest.skip(f"the busybox seed cannot be fetched: {error.message} {error.details}")


@pytest.fixture
def project(tmp_path: Path, template: tuple[Path, Pin, bytes]) -> Iterator[Project]:
    """A project with the seed alone, and a store that holds it."""
    store, pin, deb = template
    with serving() as server:
        made = Project(tmp_path, server, pin, deb)
        shutil.copytree(store, made.store, symlinks=True)
        yield made


@pytest.fixture
def empty(tmp_path: Path, template: tuple[Path, Pin, bytes]) -> Iterator[Project]:
    """The same without a store."""
    with serving() as server:
        yield Project(tmp_path, server, *template[1:])
