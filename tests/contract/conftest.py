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

from redstate.nearcache.copies import Copies
from redstate.nearcache.holding import Fill
from redstate.testing.fake import FakeServer

WITHOUT_COPIES = f"{servers.VALKEY}-without-copies"


@pytest.fixture(scope="session", params=[*servers.server_kinds(), servers.FAKE, WITHOUT_COPIES])
def contract_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server, and the usual one once more for stores that keep no copies in local memory."""
    return str(request.param)


@pytest.fixture(scope="session")
def contract_url(contract_kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of each kind. The usual kind is the one that all tests share."""
    if contract_kind in (servers.VALKEY, WITHOUT_COPIES):
        yield request.getfixturevalue("server").url
        return
    if contract_kind == servers.FAKE:
        with FakeServer() as fake:
            yield fake.url
        return
    with servers.server(contract_kind) as running:
        yield running.url


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store_options() -> dict[str, Any]:
    """Options of every store; a module that runs tests of others once more, for other stores, has its own."""
    return {}


@pytest.fixture
def open_store(
    colour: str, contract_kind: str, contract_url: str, prefix: str, store_options: dict[str, Any]
) -> Iterator[Callable[..., Any]]:
    """Opens stores of the colour under test, all with the test's own key prefix unless told otherwise."""
    stores = Stores(colour)
    options = {"key_prefix": prefix, "timeout": 20.0, **store_options}
    if contract_kind in (servers.FAKE, WITHOUT_COPIES):
        options["max_staleness"] = 0.0
    yield lambda **given: stores.open(contract_url, **{**options, **given})
    stores.close()


@pytest.fixture(autouse=True)
def eager_copies(contract_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every read that may be kept is kept, from the first on, and the next is served from memory.

    By itself the first reads of a record go past the memory while its subscription is under way, and most tests would
    be over by then.
    """
    if contract_kind in (servers.FAKE, WITHOUT_COPIES):
        return
    begin = Copies.begin

    def eager(copies: Copies, key: str, longest: float) -> Fill | None:
        fill = begin(copies, key, longest)
        if fill is None:
            servers.wait_until(lambda: copies.connected, "the listener is connected")
            begin(copies, key, longest)
            servers.wait_until(lambda: copies.stands(key), f"{key} is subscribed to")
            fill = begin(copies, key, longest)
        return fill

    monkeypatch.setattr(Copies, "begin", eager)


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
def record(raw: redis.Redis, conversation: Any, store: Any) -> Record:
    """The record of ``conversation``."""
    return Record(raw, conversation.key, store.nearcache)
