"""HTTP for fetching: clients, what an error means, hosts that are known to be down."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hermetic.errors import FetchError
from hermetic.sources.fetch import answers, proxies
from hermetic.sources.fetch.failure import Failure, pause
from hermetic.sources.fetch.logins import Logins
from hermetic.sources.fetch.mirror import Location, redacted

if TYPE_CHECKING:
    import ssl

    import httpx

USER_AGENT: Final = "hermetic"
_MAX_PAGE: Final = 64 << 20
_PAGE_PATIENCE: Final = 60.0  # seconds
_BUNDLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Limits(msgspec.Struct, frozen=True):
    """How long to wait for whom. All in seconds but where it says otherwise.

    Attributes:
        connect: until a connection stands. stall: without a single byte.
        min_rate: bytes a second that a download must make, over `rate_window`.
        tries: how often an address is tried when the failure may pass. backoff: before the second; doubles.
        redirects: how many are followed.
        patience: how long an address is waited for altogether because its server asks for it (Retry-After).
        down: how long a host that could not be reached is left alone.
    """

    connect: float = 10.0
    stall: float = 30.0
    min_rate: int = 1024
    rate_window: float = 30.0
    tries: int = 4
    backoff: float = 0.5
    redirects: int = 10
    patience: float = 300.0
    down: float = 300.0


class Http:
    """Clients of one process; safe to use from several threads.

    Args:
        environ: for proxies, logins and certificates; that of the process unless given.
    """

    def __init__(self, limits: Limits, environ: Mapping[str, str] | None = None) -> None:
        self.limits = limits
        self.environ = os.environ if environ is None else environ
        self._logins = Logins(self.environ)
        self._mutex = threading.Lock()
        self._clients: dict[Location, httpx.Client] = {}
        self._down: dict[str, tuple[float, str]] = {}

    def close(self) -> None:
        """Close all connections."""
        with self._mutex:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def proxy(self, location: Location) -> proxies.Proxy | None:
        """The proxy through which `location` is reached."""
        if location.proxy is None:
            return proxies.choose(location.url, self.environ)
        if not location.proxy:
            return None
        return proxies.Proxy(proxies.complete(location.proxy), "the proxy setting of pip or apt")

    def client(self, location: Location) -> httpx.Client:
        """The client for everything that is reached as `location` is.

        Raises:
            Failure: a setting of this machine cannot be used; the reason names it.
        """
        proxy = self.proxy(location)
        key = msgspec.structs.replace(location, url="", proxy=proxy.url if proxy else "")
        with self._mutex:
            if key not in self._clients:
                self._clients[key] = _client(self.limits, proxy, _tls(location, self.environ))
            return self._clients[key]

    @contextmanager
    def stream(self, location: Location, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The answer to a GET, with its redirects followed and its status checked, but not its body.

        A login belongs to one server: a redirect to another one takes along none but that server's own. A
        redirect from `https` to `http` is followed, for the hash decides what is taken.

        Raises:
            Failure: too many redirects, or one that cannot be followed. Errors of httpx; see `explain`.
        """
        import httpx

        url = httpx.URL(location.url)
        login = None if url.userinfo else self._logins.of(url.host, default=True)
        for _ in range(self.limits.redirects + 1):
            with self.client(location.at(str(url))).stream(
                "GET", url, headers=dict(headers), auth=login
            ) as response:
                if not response.has_redirect_location:
                    yield response
                    return
                target = _target(response)
            if _origin(target) == _origin(url):
                if not target.userinfo and url.userinfo:
                    login = (url.username, url.password)
            elif target.host == url.host or target.scheme == "http" != url.scheme:
                login = None
            else:
                login = self._logins.of(target.host, default=False)
            url = target
        raise Failure(f"more than {self.limits.redirects} redirects, the last to {redacted(str(url))}")

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
        if isinstance(problem, OSError) and problem.errno in (errno.EMFILE, errno.ENFILE):
            return Failure(f"{problem.strerror} (ulimit -n)")
        if isinstance(problem, httpx.ProxyError):
            return self._refused_by_proxy(problem, location)
        if isinstance(problem, (httpx.ConnectError, httpx.ConnectTimeout)):
            late = isinstance(problem, httpx.ConnectTimeout)
            where = str(problem.request.url) if problem._request is not None else location.url
            proxy = self.proxy(location.at(where))
            through = f" to the proxy {redacted(proxy.url)} ({proxy.setting})" if proxy else ""
            reason = f"no connection{through} within {limits.connect:g} s"
            if not late:
                reason = f"no connection{through}: {_certificate(str(problem))}"
            self._down[_host(where)] = (time.monotonic() + limits.down, reason)
            if _host(where) != _host(location.url):
                reason += f" (redirected to {_host(where)})"
            return Failure(reason)
        if isinstance(problem, httpx.ReadTimeout):
            return Failure(f"no data for {limits.stall:g} s", passing=True)
        if isinstance(problem, httpx.RemoteProtocolError) and "location header" in str(problem):
            return Failure(f"redirected to an invalid address: {problem}")
        if isinstance(problem, httpx.UnsupportedProtocol):
            return Failure("neither http nor https")
        passing = isinstance(problem, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException))
        return Failure(str(problem) or type(problem).__name__, passing=passing)

    def _refused_by_proxy(self, problem: httpx.ProxyError, location: Location) -> Failure:
        where = str(problem.request.url) if problem._request is not None else location.url
        proxy = self.proxy(location.at(where))
        named = f"the proxy {redacted(proxy.url)} ({proxy.setting})" if proxy else "the proxy"
        reason = f"{named} refused the connection: {problem}"
        if str(problem).startswith("407"):
            reason += "; it demands a login: http://USER:PASSWORD@HOST:PORT"
        return Failure(reason, passing=str(problem)[:3] in ("502", "503", "504"))

    def refuse(self, response: httpx.Response) -> None:
        """Accept an answer whose status means success.

        Raises:
            Failure: it means something else.
        """
        try:
            answers.check(response)
        except Failure as failure:
            if response.status_code in (401, 403) and self._logins.problem:
                failure.reason += f"; no login was sent, because {self._logins.problem}"
            raise

    def get(self, location: Location, accept: str, most: int = _MAX_PAGE) -> tuple[bytes, str, str]:
        """A page: its body, its media type, and the address it finally came from.

        Args:
            most: largest size in bytes.

        Raises:
            FetchError: with the address and the reason.
        """
        left = min(_PAGE_PATIENCE, self.limits.patience)
        tries = 0
        while True:
            tries += 1
            try:
                try:
                    return self._get(location, accept, most)
                except Failure as failure:
                    if not failure.passing or tries >= self.limits.tries:
                        raise
                    seconds = pause(failure, tries, self.limits.backoff, left)
            except Failure as failure:
                raise FetchError(f"{redacted(location.url)}: {failure.reason}") from None
            left -= seconds
            time.sleep(seconds)

    def _get(self, location: Location, accept: str, most: int) -> tuple[bytes, str, str]:
        import httpx

        self.check_host(location)
        body = bytearray()
        try:
            with self.stream(location, {"Accept": accept}) as response:
                self.refuse(response)
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > most:
                        raise Failure(f"larger than {most:,} bytes")
                kind = response.headers.get("Content-Type", "")
                url = str(response.url)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError) as problem:
            raise self.explain(problem, location) from problem
        return bytes(body), kind, url


def _client(limits: Limits, proxy: proxies.Proxy | None, tls: ssl.SSLContext) -> httpx.Client:
    import httpx

    from hermetic.sources.fetch.racing import Racing

    named = f"{proxy.setting}={redacted(proxy.url)}" if proxy else ""
    if proxy and proxy.url.partition("://")[0].lower() not in proxies.SCHEMES:
        raise Failure(f"{named}: not a proxy of a kind that is supported ({', '.join(proxies.SCHEMES)})")
    try:
        transport = httpx.HTTPTransport(verify=tls, proxy=proxy.url if proxy else None, trust_env=False)
    except ImportError:
        raise Failure(
            f"{named}: SOCKS needs the Python package socksio: pip install 'httpx[socks]'"
        ) from None
    except (httpx.InvalidURL, ValueError) as error:
        raise Failure(f"{named}: not the address of a proxy: {error}") from None
    transport._pool._network_backend = Racing()  # httpx passes no backend on
    return httpx.Client(
        transport=transport,
        trust_env=False,
        timeout=httpx.Timeout(limits.stall, connect=limits.connect, pool=None),
        # An archive must arrive as it is, not compressed once more on the way.
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


def _target(response: httpx.Response) -> httpx.URL:
    """The address that a redirect names."""
    import httpx

    said = response.headers["Location"]
    try:
        target = response.request.url.join(said).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError):
        raise Failure(
            f"{answers.status_words(response.status_code)} to an invalid address: {said[:200]!r}"
        ) from None
    if target.scheme not in ("http", "https") or not target.host:
        raise Failure(
            f"{answers.status_words(response.status_code)} to {said[:200]!r}, which is not followed"
        )
    return target


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _certificate(reason: str) -> str:
    """An error of TLS with what helps against it."""
    if "CERTIFICATE_VERIFY_FAILED" not in reason:
        return reason
    what = reason.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or reason
    remedy = "if something on the way replaces certificates, SSL_CERT_FILE names the file with its authority"
    if "expired" in what or "not yet valid" in what:
        remedy = "or this machine's clock is wrong"
    return f"the server's certificate is not trusted: {what}; {remedy}"


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return url


def _tls(location: Location, environ: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts what the system trusts, or what a variable names that curl, pip or OpenSSL read.

    Raises:
        Failure: the variable names no file with certificates.
    """
    import ssl

    named = next((name for name in _BUNDLES if environ.get(name)), "")
    bundle = location.ca_file or (environ[named] if named else None)
    try:
        if bundle and Path(bundle).is_dir():
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except OSError as error:  # SSLError is one
        setting = "the certificate setting of pip or apt" if location.ca_file else named
        reason = "holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        where = f"{setting}={bundle}" if bundle else "the system's certificates"
        raise Failure(f"{where}: {reason}") from None
    if not location.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not bundle and not context.cert_store_stats()["x509_ca"]:
        import certifi

        context.load_verify_locations(certifi.where())
    return context
