"""The contract runs over both colours and over every kind of server: each test sees one ``store`` after another.

The imitation of a server, for users' unit tests, counts as a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import servers
from contract.facade import COLOURS, Stores
from contract.records import Record

from redstate.testing.fake import FakeServer


@pytest.fixture(scope="session", params=[*servers.server_kinds(), servers.FAKE])
def contract_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of each kind. The usual kind is the one that all tests share."""
    if request.param == servers.VALKEY:
        yield request.getfixturevalue("server").url
        return
    if request.param == servers.FAKE:
        with FakeServer() as fake:
            yield fake.url
        return
    with servers.server(request.param) as running:
        yield running.url


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_store(colour: str, contract_url: str, prefix: str) -> Iterator[Callable[..., Any]]:
    """Opens stores of the colour under test, all with the test's own key prefix unless told otherwise."""
    stores = Stores(colour)
    yield lambda **options: stores.open(contract_url, **{"key_prefix": prefix, "timeout": 20.0, **options})
    stores.close()


@pytest.fixture
def store(open_store: Callable[..., Any]) -> Any:
    return open_store()


@pytest.fixture
def conversation(store: Any) -> Any:
    return store.conversation("conv_123")


@pytest.fixture
def raw(contract_url: str) -> Iterator[redis.Redis]:
    """The server's bytes, past redstate."""
    client = redis.Redis.from_url(contract_url)
    yield client
    client.close()


@pytest.fixture
def record(raw: redis.Redis, conversation: Any) -> Record:
    """The record of ``conversation``."""
    return Record(raw, conversation.key)
