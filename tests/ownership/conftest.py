"""Ownership is tried on every kind of server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
import servers

from redstate import Store


@pytest.fixture(scope="session", params=servers.server_kinds())
def owned_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of each kind. The usual kind is the one that all tests share."""
    if request.param == servers.VALKEY:
        yield request.getfixturevalue("server").url
        return
    with servers.server(request.param) as running:
        yield running.url


@pytest.fixture
def store(owned_url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(owned_url, key_prefix=prefix, timeout=20.0) as store:
        yield store


@pytest.fixture
def raw(owned_url: str) -> Iterator[Any]:
    """The server past redstate."""
    with redis.Redis.from_url(owned_url, decode_responses=True) as client:
        yield client
