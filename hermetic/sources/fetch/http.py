"""HTTP for fetching: clients, what an error means, hosts that are known to be down."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from hermetic.errors import FetchError
from hermetic.sources.fetch.mirror import Location, redacted

if TYPE_CHECKING:
    import ssl

    import httpx

USER_AGENT: Final = "hermetic"
_MAX_PAGE: Final = 64 << 20


class Limits(msgspec.Struct, frozen=True):
    """How long to wait for whom. All in seconds but where it says otherwise.

    Attributes:
        connect: until a connection stands. stall: without a single byte.
        min_rate: bytes a second that a download must make, over `rate_window`.
        tries: how often an address is tried when the failure may pass. backoff: before the second; doubles.
        redirects: how many are followed.
        down: how long a host that could not be reached is left alone.
    """

    connect: float = 10.0
    stall: float = 30.0
    min_rate: int = 1024
    rate_window: float = 30.0
    tries: int = 4
    backoff: float = 0.5
    redirects: int = 10
    down: float = 300.0


class Failure(Exception):
    """A request that failed.

    Attributes:
        reason: one line, for the report. passing: whether the same request may succeed a moment later.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing


class Http:
    """Clients of one process; safe to use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._mutex = threading.Lock()
        self._clients: dict[Location, httpx.Client] = {}
        self._down: dict[str, tuple[float, str]] = {}

    def close(self) -> None:
        """Close all connections."""
        with self._mutex:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def client(self, location: Location) -> httpx.Client:
        """The client for everything that is reached as `location` is."""
        import httpx

        key = location.at("")
        with self._mutex:
            if key not in self._clients:
                limits = self.limits
                self._clients[key] = httpx.Client(
                    verify=_tls(location),
                    proxy=location.proxy or None,
                    trust_env=location.proxy is None,
                    timeout=httpx.Timeout(limits.stall, connect=limits.connect, pool=None),
                    follow_redirects=True,
                    max_redirects=limits.redirects,
                    # An archive must arrive as it is, not compressed once more on the way.
                    headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                )
            return self._clients[key]

    def check_host(self, location: Location) -> None:
        """Fail at once where a connection has just failed.

        Raises:
            Failure: with what went wrong then.
        """
        until, reason = self._down.get(_host(location.url), (0.0, ""))
        if time.monotonic() < until:
            raise Failure(f"{reason} (seen before, not tried again)")

    def explain(self, problem: Exception, location: Location) -> Failure:
        """What an error of httpx means for the mirror. Remembers hosts that cannot be reached."""
        import httpx

        limits = self.limits
        if isinstance(problem, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
            late = isinstance(problem, httpx.ConnectTimeout)
            reason = f"no connection within {limits.connect:g} s" if late else f"no connection: {problem}"
            where = str(problem.request.url) if problem._request is not None else location.url
            self._down[_host(where)] = (time.monotonic() + limits.down, reason)
            if _host(where) != _host(location.url):
                reason += f" (redirected to {_host(where)})"
            return Failure(reason)
        if isinstance(problem, httpx.ReadTimeout):
            return Failure(f"no data for {limits.stall:g} s", passing=True)
        if isinstance(problem, httpx.TooManyRedirects):
            return Failure(f"more than {limits.redirects} redirects")
        passing = isinstance(problem, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException))
        return Failure(str(problem) or type(problem).__name__, passing=passing)

    def get(self, location: Location, accept: str) -> tuple[bytes, str, str]:
        """A page: its body, its media type, and the address it finally came from.

        Raises:
            FetchError: with the address and the reason.
        """
        for attempt in range(self.limits.tries):
            try:
                return self._get(location, accept)
            except Failure as failure:
                if not failure.passing or attempt + 1 == self.limits.tries:
                    raise FetchError(f"{redacted(location.url)}: {failure.reason}") from None
                time.sleep(self.limits.backoff * 2**attempt)
        raise AssertionError("unreachable")

    def _get(self, location: Location, accept: str) -> tuple[bytes, str, str]:
        import httpx

        self.check_host(location)
        body = bytearray()
        try:
            client = self.client(location)
            with client.stream("GET", location.url, headers={"Accept": accept}) as response:
                check_status(response.status_code)
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _MAX_PAGE:
                        raise Failure(f"a page of more than {_MAX_PAGE} bytes")
                kind = response.headers.get("Content-Type", "")
                url = str(response.url)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError) as problem:
            raise self.explain(problem, location) from problem
        return bytes(body), kind, url


def check_status(status: int) -> None:
    """Accept an HTTP status that means success.

    Raises:
        Failure: it means something else.
    """
    if status in (200, 206):
        return
    import http

    try:
        words = f" {http.HTTPStatus(status).phrase}"
    except ValueError:
        words = ""
    raise Failure(f"HTTP {status}{words}", passing=status in (408, 425, 429) or status >= 500)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return url


def _tls(location: Location) -> ssl.SSLContext:
    """Trusts what the system trusts (or SSL_CERT_FILE, SSL_CERT_DIR); httpx alone would ignore it."""
    import ssl

    context = ssl.create_default_context(cafile=location.ca_file)
    if not location.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not location.ca_file and not context.cert_store_stats()["x509_ca"]:
        import certifi

        context.load_verify_locations(certifi.where())
    return context
