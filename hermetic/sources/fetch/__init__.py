"""Gets pinned sources from their mirrors.

A source is its bytes; where they come from is no part of any hash. So mirrors need not be trusted, plain
`http` is as good as `https`, and settings of the machine (pip's, apt's, proxies) may decide where to look.

Each kind of mirror is one module with one class behind the interface `mirror.Mirror`:
`web` (`https://...`), `pypi` (`pypi:NAME==VERSION#FILE`), `debian` (`debian:pool/...`).
"""

from hermetic.sources.fetch.fetcher import Cancelled, Fetcher, missing
from hermetic.sources.fetch.http import Limits

__all__ = ["Cancelled", "Fetcher", "Limits", "missing"]
