"""Archives that tools make become the tree that tools unpack from them.

Each packer packs generated trees in each of its dialects; we and tools of other origin unpack the archive.
The trees are the same: names, bytes, executable bits, links. `$HERMETIC_TEST_EXAMPLES` multiplies the number
of trees.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from hermetic.errors import ArchiveError
from hermetic.sources import archive
from tests.support.examples import TIMES

# From the path to what is there: content and whether it is executable, a link's target, None for a directory.
Tree = dict[bytes, tuple[bytes, bool] | bytes | None]

NAMES: Final = [
    b"f",
    b"README",
    b"name with blanks",
    "é".encode(),
    "日本語".encode(),
    b"n" * 120,
    b"-dash",
    b"tab\tname",
    b"back\\slash",
    b"run.sh",
    b"quo\"te'",
]
LINKS: Final = "links"
ODD: Final = "names that are odd"


def some_tree(rng: random.Random, features: set[str]) -> Tree:
    """A tree below the directory `top`: `LINKS`: with links in it; `ODD`: with names that zips get wrong."""
    names = NAMES if ODD in features else [b"f", b"README", b"name with blanks", b"n" * 120, b"run.sh"]
    directories = [b"top", b"top/d", b"top/d/e", b"top/" + b"l" * 90 + b"/" + b"m" * 90]
    tree: Tree = {}
    for directory in directories[: rng.randint(1, 4)]:
        parts = directory.split(b"/")
        for depth in range(len(parts)):
            tree[b"/".join(parts[: depth + 1])] = None
        for name in rng.sample(names, rng.randint(0, 4)):
            size = rng.choice([0, 1, 511, 512, 513, 5000, 40_000])
            tree[directory + b"/" + name] = (rng.randbytes(size), rng.random() < 0.4)
    tree[b"top/always"] = (b"content\n", False)
    tree[b"top/program"] = (b"#!/bin/sh\n", True)
    if LINKS in features:
        tree[b"top/link"] = b"always"
        tree[b"top/nowhere"] = b"d/" + b"x" * 130
        tree[b"top/up"] = b"./program"
    return tree


def write(root: Path, tree: Tree) -> None:
    for name, entry in tree.items():
        place = os.path.join(os.fsencode(root), name)  # noqa: PTH118
        if entry is None:
            os.makedirs(place, exist_ok=True)  # noqa: PTH103
        elif isinstance(entry, bytes):
            os.symlink(entry, place)  # noqa: PTH211
        else:
            Path(os.fsdecode(place)).write_bytes(entry[0])
            os.chmod(place, 0o755 if entry[1] else 0o644)  # noqa: PTH101


def read(root: Path) -> Tree:
    tree: Tree = {}
    for path in root.rglob("*"):
        name = os.fsencode(path.relative_to(root))
        if path.is_symlink():
            tree[name] = os.fsencode(path.readlink())
        elif path.is_dir():
            tree[name] = None
        else:
            tree[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return tree


def run(where: Path, *command: str, fails: bool = False) -> None:
    """Run a tool. `fails`: it may say that something is odd and yet do its work."""
    done = subprocess.run(command, cwd=where, capture_output=True, check=False)
    assert done.returncode == 0 or fails, done.stderr.decode()


# What packs the directory `top` below `where` to a file


def by_tarfile(form: int) -> Callable[[Path, Path], None]:
    def pack(where: Path, out: Path) -> None:
        with tarfile.open(out, "w:gz", format=form) as made:
            made.add(where / "top", "top")

    return pack


def by_zipfile(where: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted((where / "top").rglob("*")):
            made.write(path, path.relative_to(where))


def by_streamed_zipfile(where: Path, out: Path) -> None:
    """To a pipe, as Go and Java write: sizes follow the data, and all numbers are of zip64."""
    with out.open("wb") as file:

        class Pipe:
            def write(self, data: bytes) -> int:
                return file.write(data)

            def flush(self) -> None:
                file.flush()

        with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as made:  # type: ignore[call-overload]
            for path in sorted((where / "top").rglob("*")):
                if path.is_dir():
                    made.mkdir(str(path.relative_to(where)))
                    continue
                info = zipfile.ZipInfo.from_file(path, path.relative_to(where))
                with made.open(info, "w", force_zip64=True) as entry:
                    entry.write(path.read_bytes())


def tool(*command: str) -> Callable[[Path, Path], None]:
    def pack(where: Path, out: Path) -> None:
        run(where, *(str(out) if word == "OUT" else word for word in command))

    return pack


TAR: Final = {LINKS, ODD}
Packer = tuple[str, Callable[[Path, Path], None], set[str]]
PACKERS: Final[dict[str, Packer]] = {
    **{
        f"tar-{form}": ("tar", tool("tar", f"--format={form}", "-cf", "OUT", "top"), features)
        for form, features in {
            "gnu": TAR,
            "oldgnu": TAR,
            "pax": TAR,
            "ustar": {ODD},
            "v7": set[str](),
        }.items()
    },
    **{
        f"tar-{name}": ("tar", tool("tar", option, "-cf", "OUT", "./top"), TAR)
        for name, option in (("gzip", "-z"), ("bzip2", "-j"), ("xz", "-J"), ("zstd", "--zstd"))
    },
    "tar-posix-times": ("tar", tool("tar", "-cf", "OUT", "--format=posix", "--xattrs", "--acls", "top"), TAR),
    "tar-only-files": (
        "tar",
        tool("sh", "-c", 'find top -type f -print0 | tar -cf "$0" --null -T-', "OUT"),
        {ODD},
    ),
    **{
        f"bsdtar-{form}": ("bsdtar", tool("bsdtar", f"--format={form}", "-cf", "OUT", "top"), features)
        for form, features in {"pax": TAR, "gnutar": TAR, "ustar": {ODD}, "zip": {LINKS}}.items()
    },
    "bsdtar-zstd": ("bsdtar", tool("bsdtar", "--zstd", "-cf", "OUT", "top"), TAR),
    "pzstd": ("pzstd", tool("sh", "-c", 'tar -cf- top | pzstd -q -p 2 > "$0"', "OUT"), TAR),
    "python-ustar": ("python3", by_tarfile(tarfile.USTAR_FORMAT), {ODD}),
    "python-gnu": ("python3", by_tarfile(tarfile.GNU_FORMAT), TAR),
    "python-pax": ("python3", by_tarfile(tarfile.PAX_FORMAT), TAR),
    "python-zip": ("python3", by_zipfile, {ODD}),
    "python-zip-streamed": ("python3", by_streamed_zipfile, {ODD}),
    "zip": ("zip", tool("zip", "-q", "-r", "-y", "OUT", "top"), {LINKS, ODD}),
    "zip-without-directories": ("zip", tool("zip", "-q", "-r", "-D", "OUT", "top"), {ODD}),
    "zip-streamed": ("zip", tool("sh", "-c", 'zip -q -r - top | cat > "$0"', "OUT"), {ODD}),
    "7z-zip": ("7z", tool("7z", "a", "-tzip", "-bso0", "OUT", "top"), set()),
    "7z-tar": ("7z", tool("7z", "a", "-ttar", "-bso0", "OUT", "top"), set()),
    "jar": ("jar", tool("jar", "-c", "-f", "OUT", "-M", "top"), set()),
}


def unpackers(name: str, out: Path) -> list[list[str]]:
    if name == "pzstd":  # the others do not know it by its beginning
        return [["tar", "-I", "zstd", "-xf", str(out)]]
    if out.suffix == ".zip":
        return [["unzip", "-^", "-q", "-o", str(out)], ["bsdtar", "-xf", str(out)]]
    return [["tar", "-xf", str(out)], ["bsdtar", "-xf", str(out)]]


@pytest.mark.parametrize("name", PACKERS)
def test_a_packed_tree_is_what_other_tools_unpack(tmp_path: Path, name: str) -> None:
    program, pack, features = PACKERS[name]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    suffix = ".zip" if "zip" in name.removeprefix("tar-").replace("bzip2", "").replace("gzip", "") else ".tar"
    if name == "jar":
        suffix = ".zip"
    rng = random.Random(name)
    compared = 0
    for number in range(2 * TIMES):
        base = tmp_path / str(number)
        base.mkdir()
        out = base / f"made{suffix}"
        tree = some_tree(rng, features)
        if name.startswith("tar-v7") or name.endswith("ustar"):  # they have no room for such names
            tree = {
                path: entry
                for path, entry in tree.items()
                if b"l" * 90 not in path and b"n" * 120 not in path
            }
        write(base, tree)
        pack(base, out)
        ours = base / "ours"
        archive.unpack(out, ours)
        for command in unpackers(name, out):
            if shutil.which(command[0]) is None:
                continue
            theirs = base / command[0]
            theirs.mkdir()
            run(theirs, *command)
            assert read(ours) == read(theirs / "top"), command
            compared += 1
        assert {path for path, entry in read(ours).items() if entry is not None} == {
            path.removeprefix(b"top/") for path, entry in tree.items() if entry is not None
        }
    assert compared or not any(map(shutil.which, ("tar", "bsdtar", "unzip")))


@pytest.mark.parametrize("options", [["--format=oldgnu"], ["--format=posix"]])
def test_sparse_files_are_refused_by_name(tmp_path: Path, options: list[str]) -> None:
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    (tmp_path / "top").mkdir()
    with (tmp_path / "top/hole").open("wb") as file:
        file.truncate(1 << 20)
        file.write(b"x")
        file.seek(1 << 21)
        file.write(b"y")
    run(tmp_path, "tar", "--sparse", *options, "-cf", "made.tar", "top")
    with pytest.raises(ArchiveError, match=r"hole.*: a sparse file"):
        archive.unpack(tmp_path / "made.tar", tmp_path / "ours")


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_a_package_is_what_dpkg_unpacks(tmp_path: Path, compression: str) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    tree = some_tree(random.Random(compression), {LINKS})
    write(tmp_path, tree)
    (tmp_path / "top/DEBIAN").mkdir()
    (tmp_path / "top/DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    )
    run(tmp_path, "dpkg-deb", f"-Z{compression}", "--build", "top", "x.deb")
    run(tmp_path, "dpkg-deb", "-x", "x.deb", "theirs")
    archive.unpack(tmp_path / "x.deb", tmp_path / "ours")
    assert read(tmp_path / "ours") == read(tmp_path / "theirs")
