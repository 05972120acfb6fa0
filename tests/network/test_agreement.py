"""A list of realisations behind a URL."""

from __future__ import annotations

import pytest

from hermetic.errors import HermeticError
from hermetic.store import published
from hermetic.store.published import PublishedError
from hermetic.store.records import Published
from hermetic.verify.agreement import theirs
from tests.support.servers import serving, whole

ENTRY = Published(
    drv_id="a" * 52, object=f"{'a' * 52}-zlib-1", name="zlib", version="1", system="a-linux-musl"
)


def test_a_list_is_read_from_a_url_as_strictly_as_from_a_file() -> None:
    with serving() as server:
        server.routes["/list"] = whole(published.format([ENTRY]))
        server.routes["/bad"] = whole(b"{}\n")
        assert theirs(server.url("/list")) == [ENTRY]
        with pytest.raises(PublishedError, match=r'/bad:1: the field "drv_id" is missing'):
            theirs(server.url("/bad"))
        with pytest.raises(HermeticError, match="404"):
            theirs(server.url("/none"))
