"""Promises of `hermetic.tree`."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import stat
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from hermetic import tree
from hermetic.errors import StoreError
from hermetic.tree import Entry, Manifest
from hermetic.tree.copying import make_link
from tests.support.examples import examples


def make(root: Path, content: dict[str, bytes | str | None]) -> Path:
    """A tree: bytes for a file, None for a folder, text for a link; a name ending in `*` is executable."""
    root.mkdir(parents=True, exist_ok=True)
    for name, what in content.items():
        path = root / name.rstrip("*")
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir(exist_ok=True)
        elif isinstance(what, str):
            path.symlink_to(what)
        else:
            path.write_bytes(what)
            path.chmod(0o755 if name.endswith("*") else 0o644)
    return root


Settle = Callable[[str | bytes | os.PathLike[str]], object]


@pytest.fixture(params=["canonicalise", "canonicalise_and_scan"])
def settle(request: pytest.FixtureRequest) -> Settle:
    """Both ways to make a tree canonical; that which lists it, too, must list what is there."""

    def both(path: str | bytes | os.PathLike[str]) -> None:
        assert tree.canonicalise_and_scan(path) == tree.scan(path)

    return tree.canonicalise if request.param == "canonicalise" else both


SAMPLE: dict[str, bytes | str | None] = {
    "bin/run*": b"#!/bin/sh\n",
    "lib/a.txt": b"a",
    "lib/b": "a.txt",
    "empty": None,
    "zero": b"",
}


def test_golden_digest(tmp_path: Path) -> None:
    """A change of the format would rename every object of every store."""
    manifest = tree.scan(make(tmp_path / "t", SAMPLE))
    assert manifest.content_hash == "jlmcwfgt63lv4eru7nvtlonlbx2mumxh5ku7vfyqcoice56cfgza"


def test_manifest_lists_kind_size_and_digest_sorted_by_bytes(tmp_path: Path) -> None:
    manifest = tree.scan(make(tmp_path / "t", SAMPLE))
    assert [(e.path, e.kind, e.size) for e in manifest.entries] == [
        (b"", "dir", 0),
        (b"bin", "dir", 0),
        (b"bin/run", "exec", 10),
        (b"empty", "dir", 0),
        (b"lib", "dir", 0),
        (b"lib/a.txt", "file", 1),
        (b"lib/b", "link", 5),
        (b"zero", "file", 0),
    ]
    assert manifest.entries[5].digest == blake3(b"a").hexdigest()
    assert manifest.entries[6].digest == blake3(b"a.txt").hexdigest()
    assert manifest.size == 16
    assert manifest.files == 4


def test_a_single_file_is_a_tree(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hello")
    (entry,) = tree.scan(tmp_path / "f").entries
    assert (entry.path, entry.kind, entry.digest) == (b"", "file", blake3(b"hello").hexdigest())


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3 << 20, (32 << 20) + 5])
def test_large_files_have_the_same_digest_as_b3sum(tmp_path: Path, size: int) -> None:
    data = os.urandom(1 << 16) * (size // (1 << 16) + 1)
    (tmp_path / "f").write_bytes(data[:size])
    assert tree.scan(tmp_path / "f").entries[0].digest == blake3(data[:size]).hexdigest()


def test_content_hash_ignores_times_owners_and_modes_other_than_executable(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", SAMPLE), make(tmp_path / "b", SAMPLE)
    (b / "lib/a.txt").chmod(0o400)
    (b / "bin/run").chmod(0o777)
    os.utime(b / "lib/a.txt", (5, 5))
    if os.geteuid() == 0:
        os.chown(b / "lib/a.txt", 5, 5)
    assert tree.scan(a) == tree.scan(b)


@pytest.mark.parametrize(
    "change",
    [
        {"lib/a.txt": b"b"},
        {"lib/new": b""},
        {"new": None},
        {"zero*": b""},
        {"lib/c": "a.txt"},
    ],
)
def test_content_hash_depends_on_whatever_counts(
    tmp_path: Path, change: dict[str, bytes | str | None]
) -> None:
    before = tree.scan(make(tmp_path / "a", SAMPLE))
    after = tree.scan(make(tmp_path / "a", change))
    assert before.content_hash != after.content_hash
    assert list(tree.compare(before, after))


def test_order_of_creation_does_not_matter(tmp_path: Path) -> None:
    names = [f"{i:03}" for i in range(200)]
    hashes = set()
    for trial in range(3):
        random.Random(trial).shuffle(names)
        hashes.add(tree.scan(make(tmp_path / str(trial), {n: n.encode() for n in names})).content_hash)
    assert len(hashes) == 1


def test_names_that_are_not_utf8_are_kept_exactly(tmp_path: Path, settle: Settle) -> None:
    root = os.fsencode(make(tmp_path / "t", {}))
    odd = b"\xff\xfe new\nline \xc3"
    Path(os.fsdecode(root + b"/" + odd)).write_bytes(b"x")
    os.symlink(b"\x80to", root + b"/\x81")  # noqa: PTH211 - bytes
    settle(root)
    manifest = tree.scan(root)
    assert [e.path for e in manifest.entries] == [b"", b"\x81", odd]
    assert Manifest.decode(manifest.encode()) == manifest
    tree.copy(root, tmp_path / "copy")
    assert tree.scan(tmp_path / "copy") == manifest
    tree.remove(root)
    assert not os.path.lexists(root)


def test_canonical_form(tmp_path: Path, settle: Settle) -> None:
    root = make(tmp_path / "t", SAMPLE)
    (root / "lib/a.txt").chmod(0o4666)
    (root / "bin/run").chmod(0o6711)
    (root / "empty").chmod(0o3777)
    (root / "lib").chmod(0o500)
    before = tree.scan(root)
    settle(root)
    assert tree.scan(root) == before
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        assert status.st_mtime_ns == 0
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.name == "run"
        assert stat.S_IMODE(status.st_mode) == (0o555 if executable else 0o444), path


def test_only_what_its_owner_may_execute_is_executable(tmp_path: Path) -> None:
    root = make(tmp_path / "t", {"for-others": b"x", "for-the-owner": b"x"})
    (root / "for-others").chmod(0o655)
    (root / "for-the-owner").chmod(0o744)
    before = tree.scan(root)
    assert [e.kind for e in before.entries] == ["dir", "file", "exec"]
    tree.canonicalise(root)
    assert tree.scan(root) == before


def test_unreadable_files_become_readable(tmp_path: Path, settle: Settle) -> None:
    root = make(tmp_path / "t", {"d/f": b"x"})
    (root / "d/f").chmod(0)
    (root / "d").chmod(0)
    settle(root)
    assert (root / "d/f").read_bytes() == b"x"


def test_extended_attributes_go(tmp_path: Path, settle: Settle) -> None:
    root = make(tmp_path / "t", {"f": b"x", "d": None})
    try:
        for path in (root, root / "f", root / "d"):
            os.setxattr(path, "user.test", b"1")
    except OSError:
        pytest.skip("no user extended attributes on this file system")
    (root / "f").chmod(0o444)
    settle(root)
    assert not any(os.listxattr(path) for path in (root, root / "f", root / "d"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_becomes_the_caller_and_set_id_bits_go(tmp_path: Path, settle: Settle) -> None:
    root = make(tmp_path / "t", {"f*": b"x", "l": "f"})
    os.lchown(root / "l", 1234, 1234)
    os.chown(root / "f", 1234, 1234)
    (root / "f").chmod(0o6755)
    settle(root)
    assert (root / "l").lstat().st_uid == 0
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o555
    assert (root / "f").stat().st_uid == 0


def test_hard_links_are_broken(tmp_path: Path, settle: Settle) -> None:
    """Whoever changes the other name, inside or outside of the tree, must not change the object."""
    root = make(tmp_path / "t", {"a*": b"x" * 100_000})
    os.link(root / "a", root / "b")
    os.link(root / "a", tmp_path / "outside")
    before = tree.scan(root)
    settle(root)
    assert tree.scan(root) == before
    assert {path.stat().st_nlink for path in (root / "a", root / "b")} == {1}
    (tmp_path / "outside").chmod(0o600)
    (tmp_path / "outside").write_bytes(b"changed")
    assert tree.scan(root) == before
    assert sorted(p.name for p in root.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("kind", ["socket", "fifo", "device"])
def test_special_files_are_refused_by_name(tmp_path: Path, settle: Settle, kind: str) -> None:
    root = make(tmp_path / "t", {"d": None})
    odd = root / "d" / "odd"
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "socket":
        folder = os.open(root / "d", os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/odd")
        os.close(folder)
    else:
        try:
            os.mknod(odd, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root can make devices")
    for act in (settle, tree.scan):
        with pytest.raises(StoreError, match=rf"{odd} is a .*{kind}"):
            act(root)


def test_a_link_cannot_be_the_root(tmp_path: Path, settle: Settle) -> None:
    (tmp_path / "l").symlink_to("/etc")
    for act in (settle, tree.scan):
        with pytest.raises(StoreError, match="symbolic link as the root"):
            act(tmp_path / "l")


def test_links_are_never_followed(tmp_path: Path, settle: Settle) -> None:
    outside = make(tmp_path / "outside", {"f": b"x"})
    root = make(tmp_path / "t", {"out": "../outside", "file": "../outside/f"})
    before = outside.stat().st_mtime_ns
    settle(root)
    assert len(tree.scan(root).entries) == 3
    tree.remove(root)
    assert (outside / "f").read_bytes() == b"x"
    assert stat.S_IMODE((outside / "f").stat().st_mode) == 0o644
    assert outside.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b + b"x",
        lambda b: b.replace(b"file 1 ", b"file 01 "),
        lambda b: b.replace(b"file 1 ", b"fifo 1 "),
        lambda b: b"",
        lambda b: b"\0",
        lambda b: b.replace(b" ", b"", 2),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    data = tree.scan(make(tmp_path / "t", SAMPLE)).encode()
    with pytest.raises(StoreError, match="manifest is damaged"):
        Manifest.decode(damage(data))


@given(
    st.dictionaries(
        st.binary(min_size=1).filter(lambda p: b"\0" not in p),
        st.tuples(st.sampled_from(["file", "exec", "link"]), st.binary()),
    )
)
def test_manifests_survive_encoding(content: dict[bytes, tuple[str, bytes]]) -> None:
    entries = [
        Entry(path, kind, len(data), blake3(data).hexdigest())  # type: ignore[arg-type]
        for path, (kind, data) in sorted(content.items())
    ]
    manifest = Manifest((Entry(b"", "dir", 0, ""), *entries))
    assert Manifest.decode(manifest.encode()) == manifest


def test_compare_names_every_difference(tmp_path: Path) -> None:
    a = tree.scan(make(tmp_path / "a", {"gone": b"", "text": b"1", "kind": b"", "same": b"s"}))
    b = tree.scan(make(tmp_path / "b", {"new": b"", "text": b"22", "kind*": b"", "same": b"s"}))
    assert list(tree.compare(a, b)) == [
        "missing: gone",
        "altered: kind (was file, is exec)",
        "added: new",
        "altered: text (was 1 bytes, is 2)",
    ]


def test_copy_is_the_same_tree_writable_or_not(tmp_path: Path) -> None:
    root = make(tmp_path / "t", {**SAMPLE, "big": os.urandom(3 << 20)})
    os.truncate(root / "big", 5 << 20)  # with a hole
    tree.canonicalise(root)
    tree.copy(root, tmp_path / "w", writable=True, mtime=315532800)
    tree.copy(root, tmp_path / "r")
    assert tree.scan(root) == tree.scan(tmp_path / "w") == tree.scan(tmp_path / "r")
    for path in [tmp_path / "w", *(tmp_path / "w").rglob("*")]:
        status = path.lstat()
        assert status.st_mtime == 315532800
        if not path.is_symlink():
            assert status.st_mode & 0o200
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o555
    (tmp_path / "w" / "lib" / "a.txt").write_bytes(b"changed")
    assert (root / "lib/a.txt").read_bytes() == b"a"
    tree.copy(root / "lib/a.txt", tmp_path / "file", writable=True)
    assert (tmp_path / "file").read_bytes() == b"a"


def test_copy_refuses_an_existing_target(tmp_path: Path) -> None:
    make(tmp_path / "t", SAMPLE)
    with pytest.raises(StoreError, match="exists"):
        tree.copy(tmp_path / "t", tmp_path / "t")


def test_remove_takes_read_only_trees(tmp_path: Path) -> None:
    root = make(tmp_path / "t", SAMPLE)
    tree.canonicalise(root)
    (root / "lib").chmod(0)
    tree.remove(root)
    assert list(tmp_path.iterdir()) == []
    tree.remove(root)


def test_remove_takes_trees_deeper_than_any_path_name(tmp_path: Path) -> None:
    """A killed configure script leaves such a thing: it tests getcwd with it."""
    root = tmp_path / "t"
    root.mkdir()
    folder = os.open(root, os.O_RDONLY)
    for _ in range(600):  # of nine characters; a path name holds 4,096
        os.mkdir("confdir3", dir_fd=folder)
        below = os.open("confdir3", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    with pytest.raises(StoreError, match="too long"):
        tree.scan(root)
    tree.remove(root)
    assert not root.exists()


def test_two_can_remove_the_same_tree_at_once(tmp_path: Path) -> None:
    root = make(tmp_path / "t", {f"{i % 20}/{i}": b"" for i in range(2000)})
    errors: list[BaseException] = []

    def work() -> None:
        try:
            tree.remove(root)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not root.exists()


def test_a_file_that_grows_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 1000)
    from hermetic.tree.scanning import hash_file, read_small

    with path.open("rb") as file, pytest.raises(StoreError, match="changed while it was read"):
        read_small(file.fileno(), os.fsencode(path), 999)
    with pytest.raises(StoreError, match="changed while it was read"):
        hash_file(os.fsencode(path), 1001)


@examples(15)
@given(
    st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "c-d", "a.x"]), min_size=1, max_size=3).map("/".join),
        st.one_of(st.binary(max_size=50), st.none()),
        max_size=8,
    )
)
def test_copies_have_the_same_hash(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]
) -> None:
    tmp = tmp_path_factory.mktemp("p")
    root = tmp / "t"
    root.mkdir()
    for name, data in content.items():
        try:
            make(root, {name: data})
        except OSError:
            continue  # one name is a folder of another
    tree.canonicalise(root)
    tree.copy(root, tmp / "c", writable=True)
    tree.canonicalise(tmp / "c")
    assert tree.scan(tmp / "c") == tree.scan(root)
    tree.remove(tmp)


def is_canonical(root: Path) -> bool:
    """Whether every entry has the mode, times, owner and attributes of the canonical form."""
    for path in [root, *root.rglob("*")]:
        status, executable = path.lstat(), path.is_dir() or path.name == "run"
        ours = (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
        mode = path.is_symlink() or stat.S_IMODE(status.st_mode) == (0o555 if executable else 0o444)
        if not (ours and mode and status.st_mtime_ns == 0 and not os.listxattr(path, follow_symlinks=False)):
            return False
    return True


# What may be handed on to new files: the owner may do everything, and user 1234 read.
ACL = struct.pack(
    "<I" + "HHI" * 5, 2, 1, 7, 2**32 - 1, 2, 4, 1234, 4, 5, 2**32 - 1, 16, 5, 2**32 - 1, 32, 5, 2**32 - 1
)


@pytest.mark.parametrize("place", ["plain", "umask", "group", "acl"])
def test_a_copy_that_is_listed_is_canonical_wherever_it_is_made(tmp_path: Path, place: str) -> None:
    source = make(tmp_path / "t", {**SAMPLE, "large": b"x" * 300_000})
    parent = make(tmp_path / "p", {})
    umask = os.umask(0o077 if place == "umask" else 0o022)
    try:
        if place == "group":
            if os.geteuid() == 0:
                os.chown(parent, 0, 1234)
            parent.chmod(0o2755)
        if place == "acl":
            try:
                os.setxattr(parent, "system.posix_acl_default", ACL)
            except OSError:
                pytest.skip("no ACLs on this file system")
        manifest = tree.copy_and_scan(source, parent / "copy")
        tree.copy_and_scan(source / "zero", parent / "file")
    finally:
        os.umask(umask)
    assert manifest == tree.scan(source) == tree.scan(parent / "copy")
    assert is_canonical(parent / "copy")
    assert is_canonical(parent / "file")
    assert not is_canonical(source)


def test_a_copy_that_is_listed_refuses_special_files(tmp_path: Path) -> None:
    root = make(tmp_path / "t", {"d/f": b"x"})
    os.mkfifo(root / "d" / "odd")
    with pytest.raises(StoreError, match=rf"{root}/d/odd is a fifo"):
        tree.copy_and_scan(root, tmp_path / "copy")


def test_a_copy_that_is_listed_shares_nothing_and_keeps_only_what_the_manifest_lists(tmp_path: Path) -> None:
    content: dict[str, bytes | str | None] = {"d/a": b"a"}
    content |= {"owner": b"o", "group": b"g", "large": b"x" * 300_000, "empty": b"", "x": b"x"}
    root = make(tmp_path / "t", content)
    for name in ("d/a", "large"):
        os.link(root / name, root / f"{name}-again")
    (root / "owner").chmod(0o4700)
    (root / "group").chmod(0o654)
    (root / "link").symlink_to("/nowhere")
    (root / "d/up").symlink_to("..")
    manifest = tree.copy_and_scan(root, tmp_path / "copy")
    assert manifest == tree.scan(root) == tree.scan(tmp_path / "copy")
    kinds = {os.fsdecode(entry.path): entry.kind for entry in manifest.entries}
    assert [kinds[name] for name in ("owner", "group", "link", "d/up", "d")] == [
        "exec",
        "file",
        "link",
        "link",
        "dir",
    ]
    for path in (tmp_path / "copy").rglob("*"):
        assert path.is_dir() or path.lstat().st_nlink == 1
        assert path.lstat().st_mtime_ns == 0
    assert stat.S_IMODE((tmp_path / "copy/owner").stat().st_mode) == 0o555
    assert stat.S_IMODE((tmp_path / "copy/group").stat().st_mode) == 0o444
    assert (tmp_path / "copy/link").readlink() == Path("/nowhere")
    for path in root.rglob("*"):  # nor is a later change of the original seen
        if path.is_file() and not path.is_symlink():
            path.write_bytes(b"changed")
    assert tree.scan(tmp_path / "copy") == manifest


CHANGES = [lambda size: size + 1, lambda size: size // 2]


def change_when_opened(root: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[int], int]) -> None:
    """From now on a file below `root` gets another size each time that its status has been read."""
    fstat = os.fstat

    def changing(file: int) -> os.stat_result:
        status = fstat(file)
        path = Path(f"/proc/self/fd/{file}").readlink()
        if path.is_relative_to(root):
            os.truncate(path, change(status.st_size))
        return status

    monkeypatch.setattr(os, "fstat", changing)


@pytest.mark.parametrize("change", CHANGES)
def test_a_small_file_that_changes_while_it_is_copied_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[int], int]
) -> None:
    root = make(tmp_path / "t", {"d/f": b"text", "d/g": b"text"})
    change_when_opened(root, monkeypatch, change)

    def refuse(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "as where files cannot share blocks")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(tree.Unreadable, match=rf"{root}/d/[fg] changed while it was read: it had \d bytes"):
        tree.copy_and_scan(root, tmp_path / "copy")


@pytest.mark.parametrize("change", CHANGES)
def test_the_manifest_of_a_large_file_is_of_its_copy_whatever_becomes_of_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[int], int]
) -> None:
    root = make(tmp_path / "t", {"large": b"x" * 300_000})
    change_when_opened(root, monkeypatch, change)
    manifest = tree.copy_and_scan(root, tmp_path / "copy")
    assert manifest == tree.scan(tmp_path / "copy")


def test_a_link_that_cannot_be_made_is_named_and_not_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    with pytest.raises(FileExistsError) as error:
        make_link(b"/bin/sh", os.fsencode(tmp_path / "there"), (0, 0))
    assert error.value.filename == os.fsencode(tmp_path / "there")
