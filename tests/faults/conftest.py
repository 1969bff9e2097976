"""Faults are injected into real parts: a proxy before a real server, signals to a server of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import servers
from archive.conftest import postgres  # noqa: F401 - a fixture
from contract.facade import COLOURS, Stores
from nearcache_reads import Truth

from redstate import Store
from redstate.testing.proxy import FaultProxy


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_store(colour: str, prefix: str) -> Iterator[Callable[..., Any]]:
    """Opens stores of the colour under test on any URL."""
    stores = Stores(colour)
    yield lambda url, **options: stores.open(url, **{"key_prefix": prefix, **options})
    stores.close()


@pytest.fixture
def proxy(server: Any) -> Iterator[FaultProxy]:
    """A fault proxy before the shared server."""
    with FaultProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
def own_server() -> Iterator[servers.RunningServer]:
    """A server that the test may harm."""
    with servers.server() as running:
        yield running


@pytest.fixture
def elsewhere(server: Any, prefix: str) -> Iterator[Store]:
    """Another process, whose reads are the server's."""
    with Store.from_url(server.url, key_prefix=prefix, timeout=20.0, max_staleness=0) as store:
        yield store


@pytest.fixture
def truth(elsewhere: Store) -> Truth:
    """How far a read of its one conversation is behind the server."""
    return Truth(elsewhere.conversation("c"))
