"""Where pip looks for packages on this machine: its environment variables and configuration files.

They are read as pip documents them, without running pip, which takes half a second; pip is asked only for its
built-in default index, when nothing else is configured. Not supported: keyrings and client certificates.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from hermetic.errors import FetchError
from hermetic.sources.fetch.mirror import Location

SETTING = "HERMETIC_PYPI_INDEX"
_TRUE = ("y", "yes", "t", "true", "on", "1")  # as pip reads them


class PipSettings(msgspec.Struct, frozen=True):
    """What pip's configuration says, as far as fetching needs it.

    Attributes:
        index_url: the index; None: pip's default.
        extra_index_urls: further ones. find_links: directories and pages that list files.
        no_index: use `find_links` only.
        proxy, cert: as pip's options. trusted_hosts: whose certificates are not checked.
    """

    index_url: str | None
    extra_index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    no_index: bool
    proxy: str | None
    cert: str | None
    trusted_hosts: tuple[str, ...]

    def location(self, url: str) -> Location:
        """An address, reached as pip would."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        trusted = parts.hostname in self.trusted_hosts or host in self.trusted_hosts
        return Location(url, proxy=self.proxy, ca_file=self.cert, verify=not trusted)

    def pages(self) -> Iterator[Location]:
        """The pages and directories of `find_links`."""
        for place in self.find_links:
            yield self.location(place if re.match(r"[a-z+]+:", place) else Path(place).absolute().as_uri())

    def indexes(self) -> Iterator[Location]:
        """The indexes to ask: what is on this machine before what is in the network.

        Raises:
            FetchError: none is configured, and there is no pip to ask for its default.
        """
        if self.no_index:
            return
        urls = [*self.extra_index_urls]
        if self.index_url is not None:
            urls.insert(0, self.index_url)
        yield from (self.location(url) for url in urls if url.startswith("file:"))
        if self.index_url is None:
            yield self.location(default_index())
        yield from (self.location(url) for url in urls if not url.startswith("file:"))


def read(environ: Mapping[str, str], root: Path = Path("/")) -> PipSettings:
    """Read pip's settings; `HERMETIC_PYPI_INDEX`, one address or several, replaces all its indexes."""
    values = _merged(environ, root)
    own = environ.get(SETTING, "").split()
    index_url: str | None = values.get("index-url", "").strip() or None
    extra = tuple(values.get("extra-index-url", "").split())
    if own:
        index_url, extra = own[0], tuple(own[1:])
    proxy = values.get("proxy", "").strip() or None
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    cert = values.get("cert", "").strip() or None
    return PipSettings(
        index_url=index_url,
        extra_index_urls=extra,
        find_links=tuple(values.get("find-links", "").split()),
        no_index=not own and values.get("no-index", "").strip().lower() in _TRUE,
        proxy=proxy,
        cert=cert if cert and Path(cert).exists() else None,
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
    )


def _merged(environ: Mapping[str, str], root: Path) -> dict[str, str]:
    """All settings by option, in the order of precedence that pip documents."""
    layers: dict[str, dict[str, str]] = {"global": {}, "download": {}, "install": {}}
    for path in _files(environ, root):
        for section, values in _read_file(path).items():
            if section in layers:
                layers[section].update(values)
    env = {
        name[len("PIP_") :].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    return {**layers["global"], **layers["download"], **layers["install"], **env}


def _files(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    """Configuration files, the more important ones last."""
    own_file = environ.get("PIP_CONFIG_FILE", "")
    if own_file == "/dev/null":
        return
    directories = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    for directory in directories.split(":"):
        if directory:
            yield root / directory.lstrip("/") / "pip" / "pip.conf"
    yield root / "etc" / "pip.conf"
    home = environ.get("HOME")
    if home:
        yield Path(home) / ".pip" / "pip.conf"
        yield Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config") / "pip" / "pip.conf"
    if root == Path("/"):
        yield Path(sys.prefix) / "pip.conf"
    if own_file:
        yield Path(own_file)


def _read_file(path: Path) -> dict[str, dict[str, str]]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
    except OSError:
        return {}
    except (configparser.Error, UnicodeDecodeError) as problem:
        raise FetchError(f"{path}: pip's configuration cannot be read: {problem}") from None
    return {
        section: {key.lower().replace("_", "-"): value for key, value in parser.items(section)}
        for section in parser.sections()
    }


@functools.cache
def default_index() -> str:
    """The index that pip uses when it is not told of one: taken from its help text.

    Raises:
        FetchError: there is no pip.
    """
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        try:
            result = subprocess.run(
                [*command, "install", "--help"], capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        match = re.search(r"--index-url <url>.*?\(default\s+(https?://\S+?)\)", result.stdout, re.S)
        if match:
            return match[1]
    raise FetchError(
        "no package index is configured, and there is no pip to ask for its own",
        hint=f"set {SETTING} to the address of a package index",
    )
