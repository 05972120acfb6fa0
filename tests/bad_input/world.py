"""A small real project, realized in a store of its own, and copies of both for one case each."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import zstandard
from blake3 import blake3

from hermetic.project.pin import Pin
from hermetic.sources.fetch.fetcher import finished_path
from tests.bad_input.zygote import REPOSITORY
from tests.support import project as disk_project

NOWHERE: Final = "http://127.0.0.1:9"  # a mirror that refuses at once
TARGETS: Final = ("app", "app-aarch64", "lib", "data", "busybox", "parcel")
_DIFF: Final = """\
A greeting in another tongue.

--- a/greeting
+++ b/greeting
@@ -1,3 +1,3 @@
 one
-hello
+salve
 three
--- /dev/null
+++ b/more/added
@@ -0,0 +1 @@
+new
"""
FILES: Final = {
    "derivations/lib/recipe.toml": 'name = "lib"\nsource = "lib"\ntoolchain = "none"\n'
    'build-inputs = ["busybox"]\npatches = ["0001-salve.patch"]\ntimeout = 60\n'
    '\n[meta]\nlicense = "MIT"\nhomepage = "https://example.org/lib"\n',
    "derivations/lib/build.sh": 'busybox mkdir -p "$out/share"\n'
    'busybox cat greeting more/added > "$out/share/greeting"\n',
    "patches/lib/0001-salve.patch": _DIFF,
    "derivations/app/recipe.toml": 'name = "app"\nversion = "2"\ntoolchain = "none"\n'
    'build-inputs = ["busybox"]\nhost-inputs = ["lib"]\nsystems = ["x86_64", "aarch64"]\n'
    'extra-sources = { words = "data" }\n\n[env]\nFLAVOUR = "plain"\nBOARD = "${system.debian}"\n'
    '\n[meta]\ndescription = "Prints a word"\nmain-program = "bin/app"\n',
    "derivations/app/build.sh": 'busybox mkdir -p "$out/bin"\n'
    'echo \'#!/bin/sh\' > "$out/bin/app"\necho "echo $FLAVOUR" >> "$out/bin/app"\n'
    'busybox chmod +x "$out/bin/app"\n',
    "derivations/data/recipe.toml": 'name = "data"\nsource = "data"\n[version."1"]\ntimeout = 60\n',
    "derivations/parcel/recipe.toml": 'name = "parcel"\nsource = "parcel"\n',
}
CONTENT: Final = {
    "greeting": b"one\nhello\nthree\n",
    "doc/read me": b"text\n" * 40,
    "bin/tool": b"#!/bin/sh\n",
}
COMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def tar(top: str, files: Mapping[str, bytes] = CONTENT, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive with one top-level folder, and a link of each kind in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as made:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode = len(data), 0o755 if name.startswith("bin/") else 0o644
            made.addfile(member, io.BytesIO(data))
        for kind, name, target in (
            (tarfile.SYMTYPE, "link", "doc/read me"),
            (tarfile.LNKTYPE, "copy", f"{top}/greeting"),
            (tarfile.DIRTYPE, "empty", ""),
        ):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.type, member.linkname, member.mode = kind, target, 0o755
            made.addfile(member)
    return out.getvalue()


def zipped(top: str, files: Mapping[str, bytes] = CONTENT) -> bytes:
    """The same as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in (*files.items(), ("link", b"doc/read me")):
            info = zipfile.ZipInfo(f"{top}/{name}", (1980, 1, 1, 0, 0, 0))
            info.external_attr = (0o120777 if name == "link" else 0o100644) << 16
            made.writestr(info, data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def pin(name: str, version: str, file: str, data: bytes) -> Pin:
    """What a lock says of these bytes."""
    return Pin(
        name=name,
        version=version,
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        blake3=blake3(data).hexdigest(),
        size=len(data),
        mirrors=(f"{NOWHERE}/{file}",),
    )


def lock_text(pins: list[Pin]) -> str:
    """A lock file of these sources."""
    sections = [
        f'[source.{p.name}."{p.version}"]\nfile = "{p.file}"\nsha256 = "{p.sha256}"\nblake3 = "{p.blake3}"\n'
        f"size = {p.size}\nmirrors = {json.dumps(p.mirrors)}\n"
        for p in pins
    ]
    return "\n".join(["format = 1\n", *sections])


class Place:
    """Where one case happens.

    Attributes:
        project, store: copies of the world's.
        work: the folder that the command runs in. canary: what must not change, beside them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.store = folder / "store"
        self.work = folder / "work"
        self.canary = folder / "canary"

    def provide(self, pin: Pin, data: bytes) -> None:
        """Lay a source where finished downloads wait, as if it had been fetched."""
        downloads = self.store / ".hermetic/download"
        downloads.mkdir(parents=True, exist_ok=True)
        finished_path(downloads, pin).write_bytes(data)

    def environment(self) -> dict[str, str]:
        """Of every command: nothing of the machine's settings, and no network."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_OPTIONAL_LOCKS": "0",
            "LC_ALL": "C.UTF-8",
            "PIP_CONFIG_FILE": os.devnull,
            "HERMETIC_PYPI_INDEX": f"{NOWHERE}/simple",
            "HERMETIC_DEBIAN_MIRROR": f"{NOWHERE}/debian",
        }

    def surroundings(self) -> None:
        """What a write that goes astray would hit."""
        for name in ("work", "canary/folder", "home", "tmp"):
            (self.folder / name).mkdir(parents=True)
        for name in ("canary/secret", "canary/folder/file", "home/.profile", "beside"):
            (self.folder / name).write_text(f"the content of {name}\n")


class World:
    """The template of all cases, in a folder.

    Attributes:
        pins: the sources that the lock file pins, by name.
        list: what `store export-list` prints.
    """

    def __init__(self, folder: Path) -> None:
        self.template = Place(folder / "template")
        self.template.surroundings()
        self.template.project.mkdir()
        self.pins: dict[str, Pin] = {}
        self._provide()
        for name, text in FILES.items():
            self._write(name, text)
        self._write(disk_project.BUSYBOX, (REPOSITORY / disk_project.BUSYBOX).read_text())
        self._write("flake-like.lock", lock_text([*self.pins.values()]))
        self._commit()
        self.hermetic("realize", *TARGETS)
        self.hermetic("root", "add", "kept", "lib")
        self.list = self.hermetic("store", "export-list", "app", "app-aarch64").encode()

    def _provide(self) -> None:
        seed, deb = disk_project.find_seed()
        sources = {
            "lib": ("1.0", "lib-1.0.tar.gz", gzip.compress(tar("lib-1.0"), mtime=0)),
            "data": ("3", "data-3.zip", zipped("data-3")),
            "parcel": ("1", "parcel-1.tar", tar("parcel-1")),
            "busybox": (seed.version, seed.file, deb),
        }
        for name, (version, file, data) in sources.items():
            self.pins[name] = pin(name, version, file, data)
            self.template.provide(self.pins[name], data)

    def _write(self, name: str, text: str) -> None:
        path = self.template.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _commit(self) -> None:
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(self.template.project)]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all of it"]):
            subprocess.run([*git, *command], check=True, env=self.template.environment())

    def hermetic(self, *args: str) -> str:
        """What a command that must succeed prints."""
        place = self.template
        where = ["--project", str(place.project), "--store", str(place.store)]
        done = subprocess.run(
            [sys.executable, "-m", "hermetic", *where, *args],
            env=place.environment(),
            cwd=place.work,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{args} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def copy(self, folder: Path) -> Place:
        """A fresh copy, with times, in `folder`, which must not be there."""
        shutil.copytree(self.template.folder, folder, symlinks=True)
        return Place(folder)
