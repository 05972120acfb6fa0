"""Archives, damaged, in every format: outside, and inside of what compresses them."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path
from random import Random

from hermetic.sources.fetch.fetcher import finished_path
from tests.bad_input import mutate
from tests.bad_input.case import Case, on
from tests.bad_input.world import COMPRESSORS, Place, World, lock_text, pin, tar, zipped

_DIALECTS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
_TRICKS = (
    # From where it is unpacked in the store, some of these lead to the canary.
    *(f"{'../' * ups}canary/folder/new" for ups in (4, 5, 6, 7)),
    *(f"p/{'../' * ups}canary/secret" for ups in (5, 6, 7, 8)),
    *(
        "../canary/secret",
        "../../canary/secret",
        "p/../../../canary/secret",
        "/etc/hermetic-was-here",
        "//etc/x",
    ),
    *(
        "p/link/x",
        "p/out/x",
        "p/a",
        "P/A",
        "p/./a",
        "p//a",
        "p/a/b",
        "",
        ".",
        "..",
        "p/\n",
        "p/a\0b",
        "p/\udcff",
    ),
    *("p/" + "d/" * 1000 + "x", "p/" + "n" * 300, "p/.hermetic", "./p/a", "p/e\u0301", "p/\u00e9"),
)
_LINKS = (
    *(f"{'../' * ups}canary/folder" for ups in (4, 5, 6, 7)),
    *(
        "a",
        "../../../canary/secret",
        "/etc/passwd",
        "..",
        "",
        "link",
        "out",
        "p/a",
        "x" * 5000,
        "../../p/a",
        "a/../..",
    ),
    *("../canary/folder", ".", "\0"),
)
_KINDS = (
    *(tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE),
    *(tarfile.BLKTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z", b"V"),
)


def damage(chance: Random, world: World, place: Place) -> Case:
    """Lay a damaged archive where a download would be, pinned as it is: only unpacking can refuse it."""
    file, data, what = _archive(chance)
    parcel = pin("parcel", "1", file, data)
    pins = {**world.pins, "parcel": parcel}
    (place.project / "flake-like.lock").write_text(lock_text(list(pins.values())))
    place.provide(parcel, data)
    if chance.random() < 0.04:
        waiting = finished_path(place.store / ".hermetic/download", parcel)
        what = f"the download is {mutate.node(chance, waiting, place.canary)}"
    line = chance.choice(
        (("realize", "parcel"), ("realize", "-k", "parcel", "lib"), ("realize", "-o", "link", "parcel"))
    )
    return Case(
        f"{file}: {what}",
        (on(place, *line), on(place, "store", "verify")),
        (file, "parcel", "flake-like.lock"),
        check=_harmless,
    )


def _archive(chance: Random) -> tuple[str, bytes, str]:
    """A file name, its bytes, and what was done to them."""
    kind = chance.choice(("tar", "tar", "tar", "zip", "deb"))
    compression = chance.choice(sorted(COMPRESSORS))
    compress = COMPRESSORS[compression]
    if kind == "zip":
        data, what = (_odd_zip(chance), "odd entries") if chance.random() < 0.4 else (zipped("p"), "whole")
    elif chance.random() < 0.5:
        data, what = _odd_tar(chance), "odd entries"
    else:
        data, what = tar("p", format=chance.choice(_DIALECTS)), "whole"
    if kind != "zip":
        if what == "whole" and chance.random() < 0.6:
            data, what = _checksums(chance, mutate.bytes_(chance, data)), "other bytes within"
        data = compress(data)
    if kind == "deb":
        data = _deb(chance, data, compression)
    if what == "whole" or chance.random() < 0.15:
        data, what = mutate.bytes_(chance, data), f"{what}, then other bytes"
    suffix = {"tar": f".tar{compression}", "zip": ".whl", "deb": ".deb"}[kind]
    return f"parcel-1{suffix}", data, what


def _checksums(chance: Random, data: bytes) -> bytes:
    """Half of the time with right checksums: so that what is odd is not refused for a wrong sum alone."""
    if chance.random() < 0.5:
        return data
    fixed = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        block = fixed[at : at + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(fixed)


def _odd_tar(chance: Random) -> bytes:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=chance.choice(_DIALECTS), errors="surrogateescape"
    ) as made:
        for name in ("p/a", chance.choice(_TRICKS), chance.choice(_TRICKS), "p/z")[: chance.randint(1, 4)]:
            member = tarfile.TarInfo(name)
            member.type = chance.choice(_KINDS) if chance.random() < 0.4 else tarfile.REGTYPE
            member.linkname = chance.choice(_LINKS)
            member.mode = chance.choice((0o644, 0o6755, 0, 0o7777))
            member.uid = chance.choice((0, 1000, 2**31, 2**40))
            member.mtime = chance.choice((0, -1, 2**40, 0.5))
            # Mostly one oddity in each: what is refused for its size alone shows nothing of its name.
            member.size = chance.choice((3,) * 12 + (0, 3 << 30, 2**62)) if member.isreg() else 0
            if chance.random() < 0.2:
                member.pax_headers = {
                    chance.choice(("path", "size", "linkpath", "GNU.sparse.map", "x")): chance.choice(
                        ("../x", "-1", "9" * 50, "1,2,3", "a\nb", "")
                    )
                }
            try:
                made.addfile(member)
            except (ValueError, UnicodeError, tarfile.TarError):
                continue  # this dialect cannot say it
            out.write(b"abc".ljust(512, b"\0") if member.size else b"")
            made.offset = out.tell()
    return out.getvalue()


def _odd_zip(chance: Random) -> bytes:
    warnings.simplefilter("ignore", UserWarning)  # of a name that stands there twice
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    ) as made:
        for name in ("p/a", chance.choice(_TRICKS), chance.choice(_TRICKS)):
            info = zipfile.ZipInfo("x")
            info.filename = name.encode("utf-8", "replace").decode()
            info.external_attr = chance.choice((0o100644, 0o120777, 0o060000, 0o010000, 0o106755, 0)) << 16
            info.flag_bits = chance.choice((0, 1, 0x800))
            made.writestr(info, chance.choice(_LINKS).encode("utf-8", "replace"))
    return out.getvalue()


def _deb(chance: Random, data: bytes, compression: str) -> bytes:
    names = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (f"data.tar{compression}", data)]
    if chance.random() < 0.2:
        chance.shuffle(names)
    if chance.random() < 0.2:
        del names[chance.randrange(3)]
    made = b"!<arch>\n"
    for name, content in names:
        size = len(content) if chance.random() < 0.9 else chance.choice((0, 2**33, len(content) + 7, -1))
        made += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}`\n".encode()
            + content
            + b"\n" * (len(content) % 2)
        )
    return made


def _harmless(place: Place) -> tuple[str, str] | None:
    """Whether nothing stands in the store's objects that may not."""
    for root in place.store.iterdir():
        if root.name == ".hermetic" or root.is_symlink():
            continue
        for path in (root, *root.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not _stays(path, root):
                    return "write outside", f"{path} leads out of its object"
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or stat.S_IMODE(mode) & 0o7022:
                return "write outside", f"{path} has the mode {mode:o}"
    return None


def _stays(link: Path, root: Path) -> bool:
    try:
        place = os.path.realpath(link, strict=False)
    except OSError:
        return True  # a ring leads nowhere
    return Path(place).is_relative_to(os.path.realpath(root))
