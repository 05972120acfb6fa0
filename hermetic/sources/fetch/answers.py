"""What a server sent instead of the file, in words: status, type, size, first characters."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hermetic.sources.fetch.failure import Failure

if TYPE_CHECKING:
    import httpx

BEGINNING: Final = 2048  # bytes of an answer that are looked at
_SHOWN: Final = 100  # characters of it in a report
_PAGE: Final = re.compile(rb"\s*(<!doctype\s+html|<html|<head|<body|<script|<meta|<title)", re.IGNORECASE)
_SILENT: Final = (404, 410)  # the status says it all
_AGAIN: Final = (408, 425, 429)


def check(response: httpx.Response) -> None:
    """Accept an answer whose status means success.

    Raises:
        Failure: it means something else.
    """
    status = response.status_code
    if status in (200, 206):
        return
    reason = status_words(status)
    if status == 407:
        reason += "; the proxy demands a login: http://USER:PASSWORD@HOST:PORT in its setting"
    if status not in _SILENT:
        came = described(response.headers, _beginning(response))
        reason += f" ({came})" if came else ""
    wait = None
    if status in (429, 503):
        wait = retry_after(response.headers.get("Retry-After", ""), time.time())
    raise Failure(reason, passing=status in _AGAIN or status >= 500, wait=wait)


def status_words(status: int) -> str:
    """`HTTP 404 Not Found`."""
    import http

    try:
        return f"HTTP {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def retry_after(value: str, now: float) -> float | None:
    """The seconds that `Retry-After` asks to wait: a number of seconds or a date (RFC 9110, 10.2.3)."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def is_page(headers: Mapping[str, str], beginning: bytes) -> bool:
    """Whether an answer is an HTML page, as it calls itself and as it begins."""
    kind = headers.get("Content-Type", "").lower()
    return kind.startswith(("text/html", "application/xhtml")) and _PAGE.match(beginning) is not None


def described(headers: Mapping[str, str], beginning: bytes, size: int | None = None) -> str:
    """Media type, encoding, size and first characters of an answer; empty if nothing is known of it.

    Args:
        size: in bytes, where it is known better than from the headers.
    """
    said = headers.get("Content-Length", "")
    words = [_printable(headers.get("Content-Type", "")[:60])]
    if headers.get("Content-Encoding", ""):
        words.append(f"encoded with {_printable(headers['Content-Encoding'][:20])}")
    if size is not None or said.isdigit():
        words.append(f"{size if size is not None else int(said)} bytes")
    text = excerpt(beginning)
    if text:
        words.append(f"which begins: {text}" if any(words) else f"begins: {text}")
    return ", ".join(word for word in words if word)


def excerpt(data: bytes) -> str:
    """The first printable characters; of binary data, its first bytes in hexadecimal."""
    head = data[:BEGINNING]
    text = _printable(head.decode("utf-8", "replace"))
    if head and sum(byte >= 128 or (byte < 32 and byte not in b"\t\n\r\f") for byte in head[:64]) > 8:
        return head[:16].hex(" ")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _beginning(response: httpx.Response) -> bytes:
    """The first bytes of an answer, as far as they come without trouble."""
    import httpx

    data = b""
    try:
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) >= BEGINNING:
                break
    except (httpx.HTTPError, httpx.StreamError, OSError):
        pass
    return data
