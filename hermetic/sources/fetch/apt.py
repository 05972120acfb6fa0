"""Where apt looks for packages on this machine: its lists of sources and its proxies.

Not supported: passwords in apt's `auth.conf`, and sources on media (`cdrom:`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from hermetic.errors import FetchError
from hermetic.sources.fetch.mirror import Location

SETTING = "HERMETIC_DEBIAN_MIRROR"


class AptSettings(msgspec.Struct, frozen=True):
    """What apt's configuration says, as far as fetching needs it.

    Attributes:
        uris: the roots of archives (where `pool/` is), in order, each once.
        options: `Acquire::...` settings by their lower-case name.
    """

    uris: tuple[str, ...]
    options: Mapping[str, str]

    def location(self, url: str) -> Location:
        """An address, reached as apt would."""
        parts = urlsplit(url)
        proxy: str | None = None
        for key in (f"acquire::{parts.scheme}::proxy::{parts.hostname}", f"acquire::{parts.scheme}::proxy"):
            if key in self.options:
                proxy = self.options[key]
                break
        if proxy is not None and proxy.upper() in ("DIRECT", "FALSE"):
            proxy = ""
        ca_file = self.options.get("acquire::https::cainfo")
        return Location(url, proxy=proxy, ca_file=ca_file if ca_file and Path(ca_file).exists() else None)


def read(environ: Mapping[str, str], root: Path = Path("/")) -> AptSettings:
    """Read apt's settings; `HERMETIC_DEBIAN_MIRROR`, one address or several, replaces its sources."""
    options = _options() if root == Path("/") else {}
    own = environ.get(SETTING, "").split()
    if own:
        return AptSettings(tuple(own), options)
    uris: list[str] = []
    for path in _source_files(root, options):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = deb822_uris(text) if path.suffix == ".sources" else one_line_uris(text)
        for uri in found:
            uris += [plain for plain in _plain(uri) if plain not in uris]
    return AptSettings(tuple(uris), options)


def _options() -> dict[str, str]:
    """`apt-config dump`, where there is apt."""
    command = shutil.which("apt-config")
    if command is None:
        return {}
    try:
        result = subprocess.run([command, "dump"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found = re.findall(r'^([^\s"]+) "(.*)";$', result.stdout, re.M)
    return {key.lower(): value for key, value in found if value}


def _source_files(root: Path, options: Mapping[str, str]) -> Iterator[Path]:
    top = root / options.get("dir", "/").lstrip("/") / options.get("dir::etc", "etc/apt").lstrip("/")
    yield top / options.get("dir::etc::sourcelist", "sources.list")
    parts = top / options.get("dir::etc::sourceparts", "sources.list.d")
    if parts.is_dir():
        yield from sorted(path for path in parts.iterdir() if path.suffix in (".list", ".sources"))


def one_line_uris(text: str) -> Iterator[str]:
    """Addresses in the format `deb [OPTIONS] URI SUITE COMPONENT...`."""
    for line in text.splitlines():
        match = re.match(r"\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)\s+\S", line)
        if match:
            yield match[1]


def deb822_uris(text: str) -> Iterator[str]:
    """Addresses in the format of stanzas (`URIs: ...`)."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in " \t" and key:
                fields[key] += " " + line.strip()
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() not in ("no", "false", "without", "off", "disable"):
            yield from fields.get("uris", "").split()


def _plain(uri: str) -> Iterator[str]:
    """Addresses of a kind that can be fetched; a list of mirrors gives what it lists."""
    if uri.startswith(("mirror+file:", "mirror+copy:")):
        path = Path("/" + uri.partition(":")[2].lstrip("/"))
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            if line.strip() and not line.startswith("#"):
                yield from _plain(line.split()[0])
    elif uri.startswith(("file:", "copy:")):
        yield "file:///" + uri.partition(":")[2].lstrip("/")
    elif uri.startswith(("http://", "https://")):
        yield uri


def require(settings: AptSettings) -> None:
    """Make sure that there is any archive to ask.

    Raises:
        FetchError: nothing is configured.
    """
    if not settings.uris:
        raise FetchError(
            "apt is not configured on this machine",
            hint=f"set {SETTING} to the address of a Debian archive (the directory that holds pool/)",
        )
