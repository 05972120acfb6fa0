"""Small projects as values: the files that evaluation reads, made in memory."""

from __future__ import annotations

import hashlib

from blake3 import blake3

from hermetic.derivation.instantiate import Evaluator
from hermetic.derivation.step import Instance


def pin(name: str, version: str = "1.0", content: bytes | None = None, mirrors: tuple[str, ...] = ()) -> str:
    """A lock entry for a source with the given content."""
    data = content if content is not None else f"{name} {version}".encode()
    shown = ", ".join(f'"{m}"' for m in mirrors or (f"https://example.org/{name}-{version}.tar.gz",))
    return (
        f'[source.{name}."{version}"]\nfile = "{name}-{version}.tar.gz"\n'
        f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nblake3 = "{blake3(data).hexdigest()}"\n'
        f"size = {len(data)}\nmirrors = [{shown}]\n"
    )


BASE = {
    "flake-like.lock": "format = 1\n" + "\n".join(pin(n) for n in ("busybox", "app", "lib", "tool")),
    "derivations/busybox/recipe.toml": 'name = "busybox"\nsource = "busybox"\nseed = true\n'
    'systems = ["x86_64"]\n',
    "derivations/userland/recipe.toml": 'name = "userland"\nversion = "1"\ntoolchain = "none"\n'
    'build-inputs = ["busybox"]\nsystems = ["x86_64"]\n',
    "derivations/userland/build.sh": "install-applets\n",
    "derivations/clang/recipe.toml": 'name = "clang"\nversion = "1"\ntoolchain = "none"\n'
    'build-inputs = ["userland"]\npropagated-build-inputs = ["userland"]\n'
    '[provides]\ndefault = true\n[provides.env]\nCC = "cc"\nCONFIG_SITE = "${prefix}/share/config.site"\n'
    '[provides.build-env]\nCC_FOR_BUILD = "${prefix}/bin/cc"\n',
    "derivations/clang/build.sh": "install-compiler\n",
    "derivations/tool/recipe.toml": 'name = "tool"\nsource = "tool"\n',
    "derivations/tool/build.sh": "make install\n",
    "derivations/lib/recipe.toml": 'name = "lib"\nsource = "lib"\nbuild-inputs = ["tool"]\n'
    'patches = ["0001-a.patch", "0002-b.patch"]\n',
    "derivations/lib/build.sh": "make\nmake install\n",
    "patches/lib/0001-a.patch": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
    "patches/lib/0002-b.patch": "--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n",
    "derivations/app/recipe.toml": 'name = "app"\nsource = "app"\nbuild-inputs = ["tool"]\n'
    'host-inputs = ["lib"]\n'
    '[env]\nFLAVOUR = "plain"\nBOARD = "${system.debian}"\n',
    "derivations/app/build.sh": "./configure\nmake\nmake install\n",
    "derivations/other/recipe.toml": 'name = "other"\nversion = "7"\n',
    "derivations/other/build.sh": "true\n",
}


def files(**changes: str | None) -> dict[str, bytes]:
    """The base project with some files replaced, or removed by None."""
    merged = {**BASE, **changes}
    return {name: text.encode() for name, text in merged.items() if text is not None}


def edited(name: str, old: str, new: str) -> dict[str, bytes]:
    """The base project with one text replaced in one file. The text must be there."""
    assert old in BASE[name], f"{old!r} is not in {name}"
    return files(**{name: BASE[name].replace(old, new)})


def instance(project: dict[str, bytes], target: str = "app-aarch64") -> Instance:
    """Instantiate a target of a project."""
    evaluator = Evaluator(project)
    return evaluator.instantiate(evaluator.parse_target(target))


def root(project: dict[str, bytes], target: str = "app-aarch64") -> str:
    """The derivation id of a target of a project."""
    return instance(project, target).graph.root
