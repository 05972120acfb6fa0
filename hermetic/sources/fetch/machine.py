"""What fetching knows of the machine: its environment, its settings of pip and apt, its connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.sources.fetch.http import Http, Limits

if TYPE_CHECKING:
    from hermetic.sources.fetch.apt import AptSettings
    from hermetic.sources.fetch.pip import PipSettings


class Machine:
    """Reads each setting once, when it is first needed.

    Args:
        environ: environment variables; those of the process unless given.
        root: where `etc/apt` and `etc/pip.conf` are looked for; another than `/` is for tests.
    """

    def __init__(
        self, limits: Limits | None = None, environ: Mapping[str, str] | None = None, root: Path = Path("/")
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self.root = root
        self.http = Http(limits or Limits(), self.environ)
        self.indexes: dict[str, bytes] = {}  # those of Debian that were needed, by address
        self._mutex = threading.Lock()
        self._pip: PipSettings | None = None
        self._apt: AptSettings | None = None

    @property
    def pip(self) -> PipSettings:
        from hermetic.sources.fetch import pip

        with self._mutex:
            if self._pip is None:
                self._pip = pip.read(self.environ, self.root)
            return self._pip

    @property
    def apt(self) -> AptSettings:
        from hermetic.sources.fetch import apt

        with self._mutex:
            if self._apt is None:
                self._apt = apt.read(self.environ, self.root)
            return self._apt
