"""The near cache runs over both colours and every kind of real server, with the fixtures of the contract."""

from __future__ import annotations

import pytest
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
    store_options,
)


@pytest.fixture(scope="session", params=servers.server_kinds())
def contract_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server that has what a listener needs."""
    return str(request.param)
