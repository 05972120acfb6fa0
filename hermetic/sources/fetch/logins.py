"""Logins for servers from `~/.netrc`, the file that curl, pip and Bazel read."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path


class Logins:
    """Reads the file when a login is first asked for.

    Args:
        environ: `NETRC` names the file; else it is `.netrc` in `HOME`.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        named = environ.get("NETRC") or (f"{environ['HOME']}/.netrc" if environ.get("HOME") else "")
        self.path = Path(named) if named else None
        self.problem = ""
        self._mutex = threading.Lock()
        self._hosts: Mapping[str, tuple[str, str, str]] | None = None

    def of(self, host: str, *, default: bool) -> tuple[str, str] | None:
        """User and password for a host.

        Args:
            default: whether the entry `default`, which names no host, may be used.
        """
        with self._mutex:
            if self._hosts is None:
                self._hosts = self._read()
        entry = self._hosts.get(host.lower()) or (self._hosts.get("default") if default else None)
        return (entry[0], entry[2]) if entry else None

    def _read(self) -> Mapping[str, tuple[str, str, str]]:
        """The entries by host. A file that cannot be read gives none, and `problem` says why."""
        if self.path is None or not self.path.is_file():
            return {}
        import netrc

        try:
            found = netrc.netrc(str(self.path)).hosts
        except netrc.NetrcParseError as error:
            self.problem = f"{self.path}:{error.lineno}: {error.msg}"
        except (OSError, UnicodeDecodeError) as error:
            self.problem = f"{self.path}: {error}"
        else:
            return {name.lower(): (login, "", password or "") for name, (login, _, password) in found.items()}
        return {}
