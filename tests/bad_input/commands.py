"""Command lines: every command with its options, and values of every kind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click

from hermetic.cli.main import cli
from tests.bad_input import mutate
from tests.bad_input.case import Arguments, Case
from tests.bad_input.world import NOWHERE, TARGETS, Place, World

_PATHS = (
    *(
        "../project",
        "../store",
        "../store/.hermetic",
        "link",
        "new",
        "new/er",
        "a b",
        ".",
        "..",
        "../store/x",
        "./-x",
    ),
    *(
        "/dev/null",
        "/dev/null/x",
        "/proc/self/x",
        "/proc/1/x",
        "../project/flake-like.lock",
        "é",
        "x" * 300,
    ),
)
_WORDS = (
    *TARGETS,
    *(
        "ap",
        "app-",
        "app-x86_64",
        "app-riscv64",
        "lib-1.0",
        "lib-9",
        "lib-1.0-aarch64",
        "app@HEAD",
        "app@HEAD~9",
        "app@",
    ),
    *(
        "@",
        "app@--all",
        "app@-h",
        "app@HEAD:x",
        "lib@" + "a" * 40,
        "kept",
        "more",
        "0",
        "1",
        "2",
        "-1",
        "1001",
        "1e3",
    ),
    *(
        "2G",
        "1.5 KiB",
        "1e999",
        "9" * 400 + "T",
        "nan",
        "inf",
        "-0",
        "hostname",
        "time",
        "all",
        "true",
        "bin/app",
    ),
)
_DANGEROUS = re.compile(rb"(?:^|=|^-[A-Za-z])/")


def damage(chance: Random, world: World, place: Place) -> Case:
    """Say something to the program that may or may not make sense."""
    args = [*_where(chance), *_line(chance)]
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        if args:
            _edit(chance, args)
    safe = tuple(_contained(chance, arg) for arg in args)
    writes = [os.path.relpath(p, place.folder) for p in _named_paths(safe, place)]
    if {b"--accept", b"--update"} & set(safe):
        writes.append("project")
    words = [word for arg in safe for word in re.split("[@=,]", os.fsdecode(arg)) if word]
    named = ("usage:", "unknown target", *TARGETS, *words, "project", "hermetic ")
    return Case(_shown(safe), (safe,), named, writes=("project/store", *writes))


def _where(chance: Random) -> list[bytes]:
    if chance.random() < 0.9:
        return [b"--project", b"../project", b"--store", b"../store"]
    return [
        b"--project",
        _value(chance, "DIR"),
        chance.choice((b"--store", b"--debug")),
        _value(chance, "DIR"),
    ]


def _commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, from click's own tree."""

    def walk(
        path: tuple[str, ...], command: click.Command
    ) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from walk((*path, name), found)
        else:
            yield path, command

    yield from walk((), cli)


def _line(chance: Random) -> list[bytes]:
    path, command = chance.choice(list(_commands()))
    args = [part.encode() for part in path]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for _ in range(chance.choice((0, 0, 0, 1, 1, 2) if parameter.multiple else (0, 0, 0, 1))):
                name = chance.choice((*parameter.opts, *parameter.secondary_opts))
                args.append(name.encode())
                if not parameter.is_flag:
                    args.append(_value(chance, parameter.metavar or parameter.name or ""))
        elif isinstance(parameter, click.Argument):
            for _ in range(chance.choice((0, 1, 1, 3)) if parameter.nargs == -1 else 1):
                args.append(_value(chance, "TARGET"))
    return args


def _value(chance: Random, meaning: str) -> bytes:
    if chance.random() < 0.1:
        return chance.choice(mutate.ODD_TEXTS).encode("utf-8", "surrogatepass").replace(b"\0", b"")
    if any(word in meaning for word in ("DIR", "FILE", "LINK", "PATH")) and chance.random() < 0.9:
        return chance.choice((*_PATHS, f"{NOWHERE}/x") if "URL" in meaning else _PATHS).encode()
    if meaning == "script":
        return chance.choice((b"true", b"exit 3", b"echo hello", b"kill -9 $$", b"\xff", b""))
    return chance.choice(TARGETS if meaning == "TARGET" and chance.random() < 0.7 else _WORDS).encode()


def _edit(chance: Random, args: list[bytes]) -> None:
    at, other = chance.randrange(len(args)), chance.randrange(len(args))
    match chance.randrange(6):
        case 0:
            del args[at]
        case 1:
            args.insert(at, args[other])
        case 2:
            args[at], args[other] = args[other], args[at]
        case 3:
            args[at] = mutate.bytes_(chance, args[at]).replace(b"\0", b"")[:LONGEST]
        case 4:
            args.insert(at, _value(chance, "DIR"))
        case _:
            args[at] = _value(chance, "")


LONGEST = 100_000  # bytes; the kernel takes no longer argument than 128 KiB


def _contained(chance: Random, arg: bytes) -> bytes:
    """Nothing is asked for that would rightly write elsewhere, or do a thousand rebuilds."""
    arg = arg[:LONGEST]
    plain = arg.decode("utf-8", "replace")
    if plain in _PATHS or plain in mutate.ODD_TEXTS or plain.startswith(NOWHERE):
        return arg if not plain.startswith("//") and plain != "/" else b"x"
    if _DANGEROUS.search(arg) or arg.count(b"..") > 1 or b":/" in arg:
        return chance.choice(_PATHS).encode()
    if (
        re.fullmatch(rb"\D*[1-9]\d{0,3}\D*", arg)
        and not re.search(rb"[A-Za-z]{3}", arg)
        and b"1001" not in arg
    ):
        return b"2"
    return arg


def _named_paths(args: Arguments, place: Place) -> list[Path]:
    """What the command line itself names, in the case's own folder: to write there is what was asked for."""
    found = []
    for arg in args:
        for text in {os.fsdecode(arg), os.fsdecode(arg).partition("=")[2], os.fsdecode(arg)[2:]}:
            if text.strip("/") and len(text) < 1000:
                path = Path(os.path.realpath(place.work / text))
                if path.is_relative_to(place.folder.parent) and not path.is_relative_to(place.canary):
                    found += [path, path.with_name(path.name + "-2"), path.with_name(path.name + "-3")]
    return [p / ".hermetic" if p in (place.folder, place.folder.parent) else p for p in found]


def _shown(args: Arguments) -> str:
    return " ".join(repr(os.fsdecode(a))[:60] for a in args)
