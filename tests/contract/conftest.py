"""The contract runs over both colours and over every kind of server: each test sees one ``store`` after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import servers
from contract.facade import COLOURS, Stores


@pytest.fixture(scope="session", params=servers.server_kinds())
def contract_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of each kind. The usual kind is the one that all tests share."""
    if request.param == servers.VALKEY:
        yield request.getfixturevalue("server").url
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


class Record:
    """A record's bytes as they lie in the server."""

    def __init__(self, raw: redis.Redis, key: str) -> None:
        self.raw = raw
        self.key = key

    def poke(self, field: str, value: bytes | str) -> None:
        self.raw.hset(self.key, field, value)

    def fields(self, kind: str = "") -> dict[bytes, bytes]:
        """Its fields, or those of one kind: "s" state, "c" cart lines, "j" journals."""
        found: dict[bytes, bytes] = self.raw.hgetall(self.key)
        return {name: value for name, value in found.items() if name.startswith(kind.encode())}

    def image(self) -> tuple[object, bool]:
        """Everything that a refused change must leave alone. The expiry only runs down, so whether there is one."""
        is_hash = self.raw.type(self.key) == b"hash"
        content: object = self.raw.hgetall(self.key) if is_hash else self.raw.dump(self.key)
        return content, self.raw.pttl(self.key) > 0


@pytest.fixture
def record(raw: redis.Redis, conversation: Any) -> Record:
    """The record of ``conversation``."""
    return Record(raw, conversation.key)
