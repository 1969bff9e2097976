"""Stores with various keys on one prefix, and the server's bytes past them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

import redstate

OLD, NEW = bytes(range(7, 39)), bytes(range(50, 66))


def encryption(*ids: str, fields: set[str] | None = None) -> redstate.Encryption:
    """Keys by their ids, the first one current; one id is one key."""
    return redstate.Encryption({one: {"old": OLD, "new": NEW}[one] for one in ids}, fields=fields)


@pytest.fixture
def open_store(url: str, prefix: str) -> Iterator[Callable[..., redstate.Store]]:
    """Opens stores with the keys of the given ids, or with none; every read asks the server unless told otherwise."""
    stores: list[redstate.Store] = []

    def opened(*ids: str, fields: set[str] | None = None, **options: Any) -> redstate.Store:
        how = encryption(*ids, fields=fields) if ids else None
        given = {"key_prefix": prefix, "timeout": 20.0, "max_staleness": 0.0, "encryption": how, **options}
        stores.append(redstate.Store.from_url(url, **given))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., redstate.Store]) -> redstate.Store:
    return open_store("old")


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(url)
    yield client
    client.close()
