"""CPython's test suite."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hermetic.check.room import WORK, Ran, Room
from hermetic.check.suite import JUNIT, unusable

# What needs neither a network, nor a display, nor gigabytes.
_RESOURCES: Final = "all,tzdata,-network,-urlfetch,-gui,-audio,-largefile"
_OPTIONS: Final = ("-u", "-W", "default", "-bb", "-E")  # of the interpreter, as `make test` has them
_DRIVER: Final = "driver.py"
_LISTING: Final = 120.0  # seconds to list the files


class Regrtest:
    """The files of `Lib/test`: `test_json`, and in packages `test_asyncio.test_events`. A `Suite`."""

    failed, empty = 2, 4

    def __init__(self) -> None:
        self._driver = Path(__file__).with_name(_DRIVER).read_text(encoding="utf-8")

    def files(self, room: Room) -> tuple[str, ...]:
        ran = room.run("list", *_OPTIONS, "-m", "test", "--list-tests", timeout=_LISTING)
        lines = (line.removeprefix("test.") for line in ran.output.splitlines())
        names = tuple(line for line in lines if line.startswith("test_"))
        if not ran.result.ok or not names:
            raise unusable(f"{room.interpreter.target} does not list its tests", ran)
        return names

    def start(self, room: Room, name: str, timeout: float) -> Ran:
        arguments = (*_OPTIONS, _DRIVER, "--junit-xml", f"{WORK}/{JUNIT}", "--use", _RESOURCES, name)
        return room.run(name, *arguments, timeout=timeout, files={_DRIVER: self._driver}, keep=JUNIT)
