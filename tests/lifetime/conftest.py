"""Stores of both colours with an archive in an SQLite file, and sweepers beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from contract.facade import COLOURS, Stores
from lifetime.lives import Lives


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The archive's file."""
    return str(tmp_path / "archive.db")


@pytest.fixture
def open_store(colour: str, url: str, prefix: str, path: str) -> Iterator[Callable[..., Any]]:
    """Opens stores of the colour under test; ``archive=None`` has one without, ``url=`` leads past a proxy."""
    stores = Stores(colour)
    options = {"key_prefix": prefix, "timeout": 20.0, "archive": path, "tombstone_ttl": 30.0}
    yield lambda url=url, **given: stores.open(url, **{**options, **given})
    stores.close()


@pytest.fixture
def store(open_store: Callable[..., Any]) -> Any:
    return open_store()


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    """The server's bytes, past redstate."""
    client = redis.Redis.from_url(url)
    yield client
    client.close()


@pytest.fixture
def lives(url: str, prefix: str, path: str, raw: redis.Redis) -> Lives:
    """What is in the server and in the archive, and a sweeper."""
    return Lives(url, prefix, path, raw)
