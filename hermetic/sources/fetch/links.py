"""Pages that list files: index pages of web servers, package indexes, directories."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import msgspec

from hermetic.errors import FetchError
from hermetic.sources.fetch.http import Http
from hermetic.sources.fetch.mirror import Location, local_path, redacted

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{SIMPLE_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


class Link(msgspec.Struct, frozen=True):
    """A file or directory that a page offers: its name and its address. `yanked`: it was taken back."""

    name: str
    url: str
    yanked: bool = False


class _File(msgspec.Struct):
    filename: str
    url: str
    yanked: bool | str = False


class _Project(msgspec.Struct):
    """What we use of a project page of a package index (PEP 691)."""

    files: list[_File]


def page(http: Http, location: Location) -> list[Link]:
    """What the page at `location` offers: HTML, the JSON of PEP 691, or a directory for `file:`.

    Raises:
        FetchError: it cannot be read; with the reason.
    """
    if location.url.startswith("file:"):
        return _local(location.url)
    body, kind, url = http.get(location, _ACCEPT)
    if kind.startswith(SIMPLE_JSON):
        return _from_json(body, url)
    return _from_html(body, url)


def _from_json(body: bytes, base: str) -> list[Link]:
    try:
        project = msgspec.json.decode(body, type=_Project)
        return [_link(file, base) for file in project.files]
    except (msgspec.MsgspecError, ValueError) as problem:
        raise FetchError(f"{redacted(base)}: not a valid index page: {problem}") from None


def _from_html(body: bytes, base: str) -> list[Link]:
    parser = _Anchors()
    out = []
    try:
        parser.feed(body.decode("utf-8", "replace"))
        start = urljoin(base, parser.base or "")
        for href, yanked in parser.hrefs:
            url = urldefrag(urljoin(start, href)).url
            name = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
            if name:
                out.append(Link(name, _with_login(url, base), yanked))
    except (ValueError, AssertionError) as problem:  # both are html.parser's and urllib's for broken pages
        raise FetchError(f"{redacted(base)}: not a valid index page: {problem}") from None
    return out


def _link(file: _File, base: str) -> Link:
    url = _with_login(urldefrag(urljoin(base, file.url)).url, base)
    return Link(file.filename, url, file.yanked is not False)


def _with_login(url: str, base: str) -> str:
    """An absolute address on the server of `base` takes the login over that `base` has."""
    login, at, host = urlsplit(base).netloc.rpartition("@")
    parts = urlsplit(url)
    if at and parts.netloc == host and parts.scheme == urlsplit(base).scheme:
        return parts._replace(netloc=f"{login}@{host}").geturl()
    return url


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[tuple[str, bool]] = []  # with whether it was taken back
        self.base: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        href = values.get("href")
        if href and tag == "a":
            self.hrefs.append((href, "data-yanked" in values))
        elif href and tag == "base" and self.base is None:
            self.base = href


def _local(url: str) -> list[Link]:
    path = local_path(url)
    try:
        if path.is_file():
            return _from_html(path.read_bytes(), url)
        index = path / "index.html"
        if index.is_file():
            return _from_html(index.read_bytes(), url.rstrip("/") + "/")
        return [Link(child.name, child.absolute().as_uri()) for child in sorted(path.iterdir())]
    except OSError as problem:
        raise FetchError(f"{url}: {problem.strerror}") from None
