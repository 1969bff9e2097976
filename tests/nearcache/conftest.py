"""The near cache runs over both colours and every kind of real server, with the fixtures of the contract."""

from __future__ import annotations

import pytest
import redis
import servers
from contract.conftest import (  # noqa: F401 - fixtures
    colour,
    contract_url,
    conversation,
    eager_copies,
    open_store,
    raw,
    record,
    store,
)


@pytest.fixture(scope="session", params=servers.server_kinds())
def contract_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server that has what a listener needs."""
    return str(request.param)


@pytest.fixture
def other_url(raw: redis.Redis) -> str:  # noqa: F811 - the fixture
    """The same server by another address: a store that is opened on it shares no memory with those under test."""
    return f"redis://127.0.0.1:{raw.config_get('port')['port']}"
