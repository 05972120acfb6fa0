"""Callers of the sandbox (root, an ordinary user), and what their builds are made of."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[2]
ORDINARY_UID: Final = 54321  # nobody's
SOME_GROUP: Final = 54322
BIN: Final = "/hermetic/x86_64-linux-musl/busybox/bin"
_PROBE: Final = (REPOSITORY / "tests" / "sandbox" / "probe.py").read_text()


@functools.cache
def busybox() -> Path:
    """A static busybox: $HERMETIC_TEST_BUSYBOX, or Debian's, unpacked into a cache folder."""
    given = os.environ.get("HERMETIC_TEST_BUSYBOX")
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hermetic-tests"
    found = cache / "busybox-static" / "bin" / "busybox"
    if not found.exists():
        with tempfile.TemporaryDirectory() as folder:
            try:
                command = ["apt-get", "download", "-q", "busybox-static"]
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
                cache.mkdir(parents=True, exist_ok=True)
                package = next(Path(folder).glob("*.deb"))
                subprocess.run(["dpkg-deb", "-x", package, cache / "busybox-static"], check=True)
            except (OSError, StopIteration, subprocess.SubprocessError) as error:
                pytest.skip(f"no static busybox: {error}; HERMETIC_TEST_BUSYBOX can name one")
    return found


class Caller:
    """Somebody who runs builds, with a folder of their own.

    Attributes:
        uid: who; 0 is root.
        home: a folder that nobody else can enter; a new one for each `at_home`.
        python: an interpreter that they can execute.
    """

    def __init__(self, name: str, uid: int, shared: Path) -> None:
        self.name = name
        self.uid = uid
        self.shared = shared
        self.home = Path("/nonexistent")
        self.python = self._find_python()

    @contextlib.contextmanager
    def at_home(self) -> Iterator[None]:
        """With an empty home."""
        self.home = Path(tempfile.mkdtemp(prefix=f"hermetic-{self.name}-"))
        os.chown(self.home, self.uid, self.uid)
        try:
            yield
        finally:
            shutil.rmtree(self.home)

    def _find_python(self) -> str:
        """The first interpreter that this caller can execute and that has what the sandbox's client needs."""
        for python in dict.fromkeys((sys.executable, shutil.which("python3.11"), "/usr/bin/python3")):
            try:
                if python and self.popen([python, "-c", "import hermetic.sandbox.client"]).wait() == 0:
                    return python
            except OSError:
                pass
        pytest.skip(f"{self.name} can execute no suitable Python")

    def may_have_namespaces(self) -> bool:
        """Whether the kernel lets this caller have new namespaces, and mount something in them."""
        code = "import ctypes; c = ctypes.CDLL(None); assert not c.unshare(0x10020000)\n"
        code += "assert not c.mount(b'x', b'/tmp', b'tmpfs', 0, None)"
        return self.popen([self.python, "-c", code]).wait() == 0

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """A process of this caller, who is a member of some group or other."""
        if os.geteuid() == 0:
            options |= {"user": self.uid, "group": self.uid, "extra_groups": [SOME_GROUP]}
        settings = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.shared), "PYTHONDONTWRITEBYTECODE": "1"}
        options = {
            "stdout": subprocess.PIPE,
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.PIPE,
        } | options
        return subprocess.Popen(command, env=settings, cwd="/", text=True, **options)

    def folder(self, name: str, files: dict[str, str] | None = None) -> Path:
        """A new folder of theirs, with files."""
        made = self.home / name
        made.mkdir()
        for path, text in (files or {}).items():
            (made / path).write_text(text)
        for inner in (made, *made.iterdir()):
            os.chown(inner, self.uid, self.uid)
        return made

    def spec(self, *argv: str, **fields: Any) -> dict[str, Any]:
        """A specification with a busybox, a writable /build, and what else is asked for."""
        mounts = [{"source": str(self.shared / "bin"), "target": BIN}, *fields.pop("mounts", [])]
        if not any(m["target"] == "/build" for m in mounts):
            build = self.home / "build"
            if not build.exists():
                self.folder("build")
            mounts.append({"source": str(build), "target": "/build", "writable": True})
        links = {"/bin/sh": f"{BIN}/busybox", **fields.pop("links", {})}
        return {"argv": argv, "env": {"PATH": BIN}, "mounts": mounts, "links": links, **fields}

    def shell(self, script: str, **fields: Any) -> dict[str, Any]:
        return self.spec("/bin/sh", "-c", script, **fields)

    def python_spec(self, code: str, **fields: Any) -> dict[str, Any]:
        """A specification of a probe: Python code, after `probe.py`, in the host's own interpreter."""
        real = Path(self.python).resolve()
        prefix = real.parent.parent
        mounts = [{"source": "/usr", "target": "/usr"}]
        if not prefix.is_relative_to("/usr"):
            mounts.append({"source": str(prefix), "target": str(prefix)})
        links = {}
        for folder in (Path("/lib"), Path("/lib64")):
            if folder.is_symlink():
                links[str(folder)] = str(folder.readlink())
            elif folder.exists():
                mounts.append({"source": str(folder), "target": str(folder)})
        mounts += fields.pop("mounts", [])
        return self.spec(str(real), "-I", "-S", "-c", _PROBE + code, mounts=mounts, links=links, **fields)

    def start(self, command: str, order: dict[str, Any], **options: Any) -> subprocess.Popen[str]:
        """The driver, started."""
        order = {"log": str(self.home / f"log-{time.monotonic_ns()}"), **order}
        file = self.home / f"order-{time.monotonic_ns()}.json"
        file.write_bytes(msgspec.json.encode(order))
        os.chown(file, self.uid, self.uid)
        return self.popen([self.python, "-m", "tests.sandbox.driver", command, str(file)], **options)

    def drive(self, command: str, **order: Any) -> dict[str, Any]:
        """The driver's answer."""
        out, err = self.start(command, order).communicate(timeout=60)
        assert out, err
        answer: dict[str, Any] = json.loads(out)
        return answer

    def run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Run one build: `result` and `log`, or `error` and `hint`."""
        return self.drive("run", spec=spec)

    def output(self, spec: dict[str, Any]) -> str:
        """What a build that must succeed writes."""
        answer = self.run(spec)
        assert answer.get("result", {}).get("exit_status") == 0, answer
        log: str = answer["log"]
        return log.strip()

    def probe(self, code: str, **fields: Any) -> Any:
        """The JSON that a probe prints."""
        return json.loads(self.output(self.python_spec("import json\n" + code, **fields)))


def share_package(folder: Path) -> None:
    """Copies of the code, its dependency and a busybox, for everybody to read."""
    for package in ("hermetic", "tests"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(str(msgspec.__file__)).parent, folder / "msgspec")
    (folder / "bin").mkdir()
    shutil.copy(busybox(), folder / "bin" / "busybox")
    applets = subprocess.run([busybox(), "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
