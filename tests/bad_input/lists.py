"""Lists of realisations, as `store export-list` prints and `verify --against` reads them, damaged."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.bad_input import mutate
from tests.bad_input.case import Case, on
from tests.bad_input.world import Place, World


def damage(chance: Random, world: World, place: Place) -> Case:
    """Damage the list of another publisher."""
    folder = place.work / "theirs"
    folder.mkdir()
    path = folder / "realisations.jsonl"
    path.write_bytes(world.list)
    match chance.randrange(10):
        case 0:
            what = f"the list is {mutate.node(chance, path, place.canary)}"
        case 1 | 2:
            path.write_bytes(mutate.bytes_(chance, world.list))
            what = "other bytes"
        case 3 | 4 | 5 | 6:
            entries = [json.loads(line) for line in world.list.splitlines()]
            path.write_bytes(b"".join(_json(e) for e in mutate.document(chance, entries)))
            what = "other keys and values"
        case 7:
            path.write_bytes(_repeated(chance, world.list))
            what = "a line again, with other fields"
        case _:
            path.write_bytes(mutate.text(chance, world.list))
            what = "other lines"
    asked = chance.choice((str(path), "theirs", "theirs/realisations.jsonl"))
    options = chance.choice(((), ("--json",)))
    line = (
        "verify",
        "--against",
        asked,
        *options,
        *chance.choice((("app",), ("app", "app-aarch64"), ("lib",))),
    )
    return Case(what, (on(place, *line),), ("theirs",))


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value).encode() + b"\n"
    except ValueError:  # a number of more digits than Python writes
        return b'{"drv_id": ' + b"9" * 5000 + b"}\n"


def _repeated(chance: Random, data: bytes) -> bytes:
    lines = data.splitlines()
    again = json.loads(chance.choice(lines))
    key = chance.choice(sorted(again))
    again[key] = json.loads(chance.choice(lines))[key] if chance.random() < 0.5 else mutate.odd_value(chance)
    return b"\n".join([*lines, _json(again)])
