"""`hermetic lock --check`: what mirrors serve, and what is newer."""

from __future__ import annotations

import pytest

from tests.support.project import Project
from tests.support.servers import whole

NEWER = "app 1.0: 1.1 is offered by "


@pytest.fixture
def behind(project: Project) -> Project:
    """A source of which the server lists a newer version; of the seed it lists none."""
    project.source("app", {"text": "one\n"})
    project.server.routes["/"] = whole(b'<a href="app-1.0.tar"><a href="app-1.1.tar">', "text/html")
    return project


def test_newer_versions_are_reported_and_are_no_failure(behind: Project) -> None:
    lines = behind.ok("lock", "--check").out.splitlines()
    address = behind.server.url("/app-1.1.tar")
    assert f"app 1.0  {behind.server.url('/app-1.0.tar')}: ok" in lines
    assert NEWER + address in lines
    place = lines.index("busybox 1.35.0: no mirror lists versions")
    assert "nothing there is called like busybox-static_" in lines[place + 1]
    assert behind.ok("lock", "--check", "app").out.splitlines()[1:] == [NEWER + address]


def test_newer_versions_are_reported_beside_a_failure_too(behind: Project) -> None:
    behind.server.routes["/app-1.0.tar"] = whole(b"other")
    ran = behind.run("lock", "--check", "app")
    assert ran.code == 102
    assert NEWER in ran.out


def test_what_is_up_to_date_is_not_mentioned(behind: Project) -> None:
    behind.server.routes["/"] = whole(b'<a href="app-1.0.tar"><a href="app-2.0rc1.tar">', "text/html")
    assert behind.ok("lock", "--check", "app").out.count("\n") == 1


def test_offline_no_mirror_is_asked_and_that_is_said(behind: Project) -> None:
    ran = behind.ok("lock", "--check", "--offline")
    assert ran.out == ""
    assert ran.err == (
        "flake-like.lock is valid; offline: mirrors are neither compared nor asked for newer versions\n"
    )
    assert behind.server.requests == []
    assert 'pins no source "ap"' in behind.run("lock", "--check", "--offline", "ap").err
    assert behind.run("lock", "--offline").err == "hermetic: error: --offline needs --check\n"
