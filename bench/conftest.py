"""Fixtures of the single-thread benchmarks: a private server and a store, all on one core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import redstate
from bench.servers import BUNDLED, SERVER_CORE, pinned, running, url_of


@pytest.fixture(scope="session")
def store() -> Iterator[redstate.Store]:
    with (
        running(BUNDLED) as server,
        pinned(SERVER_CORE),
        redstate.Store.from_url(url_of(server)) as opened,
    ):
        yield opened


@pytest.fixture
def conversation(store: redstate.Store, request: pytest.FixtureRequest) -> redstate.Conversation:
    return store.conversation(request.node.name)
