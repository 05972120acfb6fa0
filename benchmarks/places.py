"""What is measured: made-up projects for hermetic, expressions of the same shape for Nix, their stores."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from blake3 import blake3

from benchmarks.measure import CHECKOUT, Failed, Sample, Timed, hermetic, output, python_env, run
from hermetic.store.layout import Layout

_NIX_CONF: Final = """\
substitute = false
sandbox = true
sandbox-fallback = false
sandbox-paths =
build-users-group =
experimental-features =
"""
Inputs = Mapping[str, tuple[str, ...]]  # name of a derivation to those of its inputs; the first is the root


def graph(size: int) -> Inputs:
    """`size` derivations that hang together as those of real software do: each has up to three inputs."""
    names = [f"d{n:05}" for n in range(size)]
    return {
        name: tuple(names[i] for i in dict.fromkeys((n + 1, n + 7, n + 31)) if i < size)
        for n, name in enumerate(names)
    }


def side_by_side(size: int) -> Inputs:
    """One root that needs `size - 1` others, which need nothing."""
    names = [f"d{n:05}" for n in range(size)]
    return {names[0]: tuple(names[1:]), **dict.fromkeys(names[1:], ())}


def chains(size: int, length: int) -> Inputs:
    """`size` derivations in chains: each needs the next one, the last of a chain nothing."""
    names = [f"d{n:05}" for n in range(size)]
    return {
        name: (names[n + 1],) if (n + 1) % length and n + 1 < size else () for n, name in enumerate(names)
    }


class Hermetic:
    """A project in a directory of its own, with one seed (a shell) and builds that write a line each.

    Args:
        shell: a static busybox.
        salt: goes into each build, so that two projects have nothing in common.
    """

    def __init__(self, directory: Path, inputs: Inputs, shell: Path, salt: str = "") -> None:
        self.directory = directory
        self.project = directory / "project"
        self.store = directory / "store"
        self.root = next(iter(inputs))
        self._archive = directory / "busybox.tar"
        (self.project / "derivations" / "busybox").mkdir(parents=True)
        with tarfile.open(self._archive, "w") as tar:
            tar.add(shell, "shell/bin/busybox")  # the directory at the top is left out when it is unpacked
        data = self._archive.read_bytes()
        self._file = f"{blake3(data).hexdigest()[:16]}-busybox.tar"
        self._write(
            "flake-like.lock",
            f'format = 1\n[source.busybox."1"]\nfile = "busybox.tar"\nsize = {len(data)}\n'
            f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nblake3 = "{blake3(data).hexdigest()}"\n'
            'mirrors = ["https://localhost/busybox.tar"]\n',
        )
        self._write(
            "derivations/busybox/recipe.toml",
            'name = "busybox"\nsource = "busybox"\nseed = true\nsystems = ["x86_64"]\n',
        )
        for name, needed in inputs.items():
            listed = ", ".join(f'"{n}"' for n in needed)
            self._write(
                f"derivations/{name}/recipe.toml",
                f'name = "{name}"\nversion = "1"\ntoolchain = "none"\nbuild-inputs = [{listed}]\n',
            )
            self._write(f"derivations/{name}/build.sh", f"echo {name}{salt} >$out/name\n")

    def _write(self, name: str, text: str) -> None:
        path = self.project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def command(self, *args: str) -> list[str]:
        return hermetic(self.project, self.store, *args)

    def run(self, *args: str) -> Sample:
        return run(self.command(*args), env=python_env())

    def empty(self) -> None:
        """A new store that holds the shell and nothing else."""
        remove(self.store)
        downloads = Layout(self.store).downloads
        downloads.mkdir(parents=True)
        shutil.copyfile(self._archive, downloads / self._file)  # as if it had been fetched a moment ago
        self.run("realize", "busybox")


class Nix:
    """The same for Nix, in a store of its own: no daemon, no substituters, sandboxed builds."""

    def __init__(self, directory: Path, shell: Path) -> None:
        self.directory = directory
        self.store = directory / "nix"
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("NIX")},
            "NIX_CONFIG": f"{_NIX_CONF}max-jobs = {os.cpu_count()}\n",
            "NIX_CONF_DIR": str(directory),
        }
        self._shell = directory / "shell"
        (self._shell / "bin").mkdir(parents=True)
        shutil.copy(shell, self._shell / "bin" / "busybox")

    def expression(self, inputs: Inputs, salt: str = "") -> Path:
        """A file with the derivations of a graph; its value is the list of those that no other one needs.

        Nix evaluates an input when a derivation asks for it, so long chains need deep calls: it refuses those
        of more than 10,000 calls (`max-call-depth`).
        """
        needed_by_others = {name for needed in inputs.values() for name in needed}
        roots = [name for name in inputs if name not in needed_by_others]
        lines = [f"{name} = go {name!r} [ {' '.join(needed)} ];" for name, needed in inputs.items()]
        text = (
            f'let\n  shell = builtins.path {{ path = {self._shell}; name = "shell"; }};\n'
            "  go = name: inputs: derivation {\n"
            '    inherit name inputs; system = "x86_64-linux"; builder = "${shell}/bin/busybox";\n'
            f'    args = [ "sh" "-euc" "echo ${{name}}{salt} >$out" ];\n  }};\n  '
            + "\n  ".join(lines).replace("'", '"')
            + f"\nin [ {' '.join(roots)} ]\n"
        )
        path = self.directory / f"{next(iter(inputs))}-{len(inputs)}{salt}.nix"
        path.write_text(text)
        return path

    def command(self, program: str, *args: str) -> list[str]:
        return [program, "--store", str(self.store), *args]

    def run(self, *command: str) -> Sample:
        return run(self.command(*command), env=self.env)

    def timed(self, *command: str) -> Timed:
        """`run`, later."""
        return lambda: self.run(*command)

    def output(self, program: str, *args: str) -> str:
        return output(self.command(program, *args), env=self.env)

    def empty(self) -> None:
        """A new store that holds the shell and nothing else."""
        remove(self.store)
        self.output("nix-store", "--add", str(self._shell))


def after(prepare: Callable[[], object], timed: Timed) -> Timed:
    """`timed`, each time after a preparation that is not."""

    def both() -> Sample:
        prepare()
        return timed()

    return both


def remove(path: Path) -> None:
    """Remove a store, read-only directories and all."""
    from hermetic import tree

    tree.remove(path)


def copy(source: Path, target: Path) -> None:
    """Copy a tree as it is, times and all."""
    output(["cp", "-a", str(source), str(target)])


def work(what: str, store: Path, *paths: Path) -> Sample:
    """Run `benchmarks.worker` in a new process and wait for its end."""
    command = [sys.executable, "-m", "benchmarks.worker", what, str(store), *map(str, paths)]
    return run(command, env=python_env(), cwd=CHECKOUT)


def find_shell(given: str | None, checkout: Path) -> Path:
    """A static busybox: the one given, the seed of the checkout's store, or that of the machine.

    Raises:
        Failed: there is none.
    """
    if given:
        return Path(given).resolve()
    candidates = [*sorted(checkout.glob("store/*-busybox-*/bin/busybox"))]
    if installed := shutil.which("busybox"):
        candidates.append(Path(installed).resolve())
    for path in candidates:
        if path.is_file():
            return path
    raise Failed("no busybox found: run `hermetic realize busybox` once, or give one with --shell")
