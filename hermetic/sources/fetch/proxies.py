"""Which proxy an address is reached through: the environment's variables, as curl and pip read them.

`http_proxy`, `https_proxy` and `all_proxy` name proxies; `no_proxy` lists hosts that are reached directly.
The lower-case names win over the upper-case ones. An entry of `no_proxy` that is not valid matches nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_PORTS: Final = {"http": 80, "https": 443}

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxy(msgspec.Struct, frozen=True):
    """A proxy, and the setting that names it.

    Attributes:
        url: `http://host:port` and the like. setting: `https_proxy`, or another name of a setting.
    """

    url: str
    setting: str


def choose(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy of the environment for `url`; None: reached directly."""
    parts = urlsplit(url)
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        setting, value = _variable(name, environ)
        if value:
            break
    else:
        return None
    port = parts.port or _PORTS.get(parts.scheme, 0)
    if bypassed(parts.hostname or "", port, _variable("no_proxy", environ)[1]):
        return None
    return Proxy(complete(value), setting)


def complete(value: str) -> str:
    """A proxy's address; without a scheme it is an HTTP proxy."""
    return value if "://" in value else f"http://{value}"


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Whether `no_proxy` says that a host is reached directly."""
    return any(_matches(host.lower().rstrip("."), port, entry) for entry in re.split(r"[,\s]+", no_proxy))


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Name and value of a variable. A web server gives its CGI programs a client's header as HTTP_PROXY."""
    for spelling in (name, name.upper()):
        if spelling == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            continue
        if spelling in environ:
            return spelling, environ[spelling].strip()
    return name, ""


def _matches(host: str, port: int, entry: str) -> bool:
    entry = entry.strip().lower()
    if entry == "*":
        return True
    _, _, entry = entry.rpartition("://")
    name, wanted = _split(entry)
    if not name or (wanted and wanted != str(port)):
        return False
    address = _address(host)
    network = _network(name)
    if address is not None:
        # Of an IPv6 address with a zone, the address counts.
        return network is not None and address.version == network.version and address in network
    if network is not None:
        return False
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split(entry: str) -> tuple[str, str]:
    """Host or range of an entry, and its port: `host:8080`, `[::1]:8080`, `[fd00::]/8`, `::1`."""
    match = re.fullmatch(r"\[([^\]]*)\](/[0-9]+)?(?::([0-9]+))?", entry)
    if match:
        return match[1] + (match[2] or ""), match[3] or ""
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
