"""Lock files, damaged."""

from __future__ import annotations

import tomllib
from random import Random
from typing import Any

from tests.bad_input import mutate
from tests.bad_input.case import Case, on
from tests.bad_input.world import NOWHERE, Place, World

_COMMANDS = (
    *(
        ("realize", "app"),
        ("realize", "--offline", "app", "parcel"),
        ("show", "parcel"),
        ("tree", "app"),
        ("lock",),
    ),
    *(("seeds",), ("lock", "parcel"), ("realize", "-n", "parcel"), ("store", "export-list", "app")),
    *(
        ("lock", "--check", "lib"),
        ("lock", "--update", "lib", "--to", "2", "--mirror", f"{NOWHERE}/lib-2.tar"),
    ),
    *(("realize", "lib-1.0"), ("diff", "app@HEAD", "app"), ("verify", "--accept", "lib")),
)


def damage(chance: Random, world: World, place: Place) -> Case:
    """Damage `flake-like.lock`."""
    path = place.project / "flake-like.lock"
    data = path.read_bytes()
    match chance.randrange(10):
        case 0:
            what = f"the lock is {mutate.node(chance, path, place.canary)}"
        case 1 | 2:
            path.write_bytes(mutate.bytes_(chance, data))
            what = "other bytes"
        case 3 | 4 | 5:
            path.write_bytes(mutate.toml(mutate.document(chance, _document(chance, data))))
            what = "other keys and values"
        case 6:
            what = _misled(chance, place, data)
        case _:
            path.write_bytes(mutate.text(chance, data))
            what = "other lines"
    lines = {chance.choice(_COMMANDS): None, chance.choice(_COMMANDS): None}
    named = ("flake-like.lock", "lib", "data", "parcel", "busybox", "app")
    return Case(
        what,
        tuple(on(place, *line) for line in lines),
        named,
        writes=("project/flake-like.lock", "project/.flake-like.lock-*"),
    )


def _document(chance: Random, data: bytes) -> dict[str, Any]:
    document = tomllib.loads(data.decode())
    if chance.random() < 0.3:
        document["default"] = {"lib": "1.0"}
    if chance.random() < 0.3:
        document["expect"] = {"x86_64-linux-musl": {"lib-1.0": "a" * 52}}
    return document


def _misled(chance: Random, place: Place, data: bytes) -> str:
    """One value that leads elsewhere, in an otherwise valid lock."""
    document = tomllib.loads(data.decode())
    ((_, entry),) = document["source"]["parcel"].items()
    field = chance.choice(("file", "mirrors", "sha256", "blake3", "size"))
    entry[field] = {
        "file": chance.choice(
            ("../../canary/secret", "/etc/hostname", "a/b", "..", "", "x" * 300, ".", "a\0b", "\n")
        ),
        "mirrors": [chance.choice(_MIRRORS)],
        "sha256": chance.choice(("0" * 64, "G" * 64, "0" * 63)),
        "blake3": chance.choice(("0" * 64, "\u0660" * 64, "0" * 65)),
        "size": chance.choice((0, 1, -1, 10**12, 2**63, 10241)),
    }[field]
    (place.project / "flake-like.lock").write_bytes(mutate.toml(document))
    return f"{field} of parcel: {entry[field]!r:.80}"


_MIRRORS = (
    *(
        "file:///etc/hostname",
        f"{NOWHERE}/../../x",
        "http://[",
        "http://127.0.0.1:99999/x",
        "https://",
        "pypi:",
        "x:",
    ),
    *(
        "debian:../../x",
        "pypi:a/b/c",
        "http://\u0660/",
        "http://a b/",
        "ftp://127.0.0.1/x",
        "HTTP://127.0.0.1:9/x",
    ),
    *(
        "http://user:secret@127.0.0.1:9/x",
        "//127.0.0.1/x",
        "http:x",
        "pypi:\x00",
        "https://127.0.0.1:9/" + "a" * 5000,
    ),
)
