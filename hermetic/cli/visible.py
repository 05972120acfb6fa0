"""Text of other origin, such as a build's log, made safe for a terminal.

Control characters could clear the screen, set the window's title, write the clipboard, or make the terminal
type.
"""

from __future__ import annotations

import unicodedata
from typing import BinaryIO, Final, TextIO

LINE: Final = 2000  # characters of one line that are shown
_CHUNK: Final = 1 << 16


def visible(text: str, *, colours: bool = False) -> str:
    """The text with control characters escaped, except for tabs and line feeds.

    Args:
        colours: escape the codes of colours as well: where a file is quoted, they may be the mistake. By
            default they are dropped: in a log they only decorate.
    """
    if text.isprintable():
        return text
    if "\x1b[" in text and not colours:
        import re

        text = re.sub(r"\x1b\[[0-9;:]*m", "", text)
    return "".join(c if c.isprintable() or c in "\n\t" or _is_space(c) else ascii(c)[1:-1] for c in text)


def cut(text: str, most: int = LINE) -> str:
    """A line that is not endless: of a longer one, its beginning and its end."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {text[-most // 2 :]}"


def copy(log: BinaryIO, out: TextIO) -> None:
    """Print a log on a terminal, piece by piece: a line may be longer than fits into memory."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held = ""  # a carriage return at the end of a piece: the line feed may follow
    while piece := log.readline(_CHUNK):
        text = held + decoder.decode(piece)
        held = text[-1:] if text.endswith("\r") else ""
        text = text[: len(text) - len(held)]
        out.write(visible(text.replace("\r\n", "\n")))
    out.write(visible(held + decoder.decode(b"", True)))


def _is_space(c: str) -> bool:
    return unicodedata.category(c) == "Zs"
