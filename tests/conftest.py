"""What every test can ask for: one shared real server, and a key prefix of its own on it."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from agent_notes import Notes

from redstate.embedded import EmbeddedServer

_numbers = itertools.count(1)


@dataclass(frozen=True)
class SharedServer:
    """The server that most tests share. ``url`` is the fastest way to it, ``tcp_url`` always goes through TCP."""

    url: str
    tcp_url: str


@pytest.fixture(scope="session", autouse=True)
def _no_server_from_the_environment() -> Iterator[None]:
    """A developer's own server and archive must never be found, let alone written to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REDSTATE_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        patch.delenv("REDSTATE_ARCHIVE", raising=False)
        # Tests keep all processors busy, and would leave nothing to a sweeper that takes only that.
        patch.setenv("REDSTATE_SWEEP_NICE", "0")
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[SharedServer]:
    """The server of REDSTATE_TEST_URL, else an embedded one for this process."""
    given = os.environ.get("REDSTATE_TEST_URL")
    if given:
        yield SharedServer(given, given)
        return
    with EmbeddedServer.start(tcp=True) as embedded:
        assert embedded.tcp_url is not None
        yield SharedServer(embedded.url, embedded.tcp_url)


@pytest.fixture
def url(server: SharedServer) -> str:
    return server.url


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test uses, so that tests do not see each other's keys."""
    return f"t{next(_numbers)}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def notes(url: str, prefix: str) -> Iterator[Notes]:
    notes = Notes(url, prefix)
    yield notes
    notes.close()
