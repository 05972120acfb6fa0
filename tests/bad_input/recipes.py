"""Recipes, build scripts and patches, damaged."""

from __future__ import annotations

import os
import tomllib
from random import Random

from tests.bad_input import mutate
from tests.bad_input.case import Case, on
from tests.bad_input.world import FILES, Place, World

_COMMANDS = (
    *(
        ("realize", "app"),
        ("realize", "-k", "app", "app-aarch64", "data"),
        ("realize", "-n", "lib", "parcel"),
    ),
    *(
        ("show", "-r", "app"),
        ("tree", "app"),
        ("seeds",),
        ("targets", "app", "data"),
        ("diff", "app@HEAD", "app"),
        ("why-depends", "app", "lib"),
    ),
    *(("store", "export-list", "app"), ("lock",), ("log", "lib"), ("store", "verify")),
)


def damage(chance: Random, world: World, place: Place) -> Case:
    """Damage one file of `derivations/` or `patches/`; sometimes what lies about there."""
    name = chance.choice(sorted(FILES))
    path = place.project / name
    data = path.read_bytes()
    match chance.randrange(10):
        case 0:
            what = f"{name} is {mutate.node(chance, path, place.canary)}"
        case 1:
            folder = path.parent
            what = f"{folder.name}/ is {mutate.node(chance, folder, place.canary)}"
        case 2:
            what = _odd_neighbour(chance, place)
        case 3 | 4 | 5 if name.endswith(".toml"):
            path.write_bytes(mutate.toml(mutate.document(chance, tomllib.loads(data.decode()))))
            what = f"{name}: other keys and values"
        case 6:
            path.write_bytes(mutate.bytes_(chance, data))
            what = f"{name}: other bytes"
        case _:
            path.write_bytes(mutate.text(chance, data))
            what = f"{name}: other lines"
    main = ("realize", "app") if chance.random() < 0.5 else chance.choice(_COMMANDS)
    lines = {main: None, chance.choice(_COMMANDS): None}
    named = ("derivations", "patches", "recipe", "lib", "app", "data", "parcel", "app")
    return Case(what, tuple(on(place, *line) for line in lines), named)


def _odd_neighbour(chance: Random, place: Place) -> str:
    """One more file or folder with an odd name, that nothing asked for."""
    parent = place.project / chance.choice(("derivations", "derivations/lib", "patches", "patches/lib", "."))
    name = (
        chance.choice(mutate.ODD_TEXTS)
        .encode("utf-8", "surrogatepass")
        .replace(b"/", b"")
        .replace(b"\0", b"")
    )
    name = chance.choice((name, b"\xff" + name, b"lib"))[:200] or b"x"
    target = os.path.join(os.fsencode(parent), name)  # noqa: PTH118
    if not os.path.lexists(target):
        os.mkdir(target)  # noqa: PTH102
        with open(os.path.join(target, b"recipe.toml"), "wb") as file:  # noqa: PTH118, PTH123
            file.write(mutate.text(chance, FILES["derivations/lib/recipe.toml"].encode()))
    return f"{target!r} is there too"
