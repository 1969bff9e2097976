"""Pytest fixtures for the tests of applications that use redstate.

They are asked for in the topmost ``conftest.py``, or by ``pytest -p redstate.testing.fixtures``:

    pytest_plugins = ["redstate.testing.fixtures"]

They are not registered for every pytest run of the environment, as that would import redstate into runs that have
nothing to do with it, and before tools such as coverage look.

``redstate_store`` is a real server, so it is the one to trust; ``redstate_fake_store`` needs no server binary.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from redstate import AsyncStore, Store
from redstate.embedded import EmbeddedServer
from redstate.testing.fake import fake_store


@pytest.fixture(scope="session")
def redstate_url() -> Iterator[str]:
    """The server of this test session: an embedded one, whatever REDSTATE_URL and REDIS_URL say.

    A fixture of the same name in your conftest.py takes its place, for tests on a server of your own.
    """
    with EmbeddedServer.start() as server:
        yield server.url


@pytest.fixture
def redstate_key_prefix() -> str:
    """What every key of this test begins with; no other test has it, so tests do not see each other's data."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def redstate_store(redstate_url: str, redstate_key_prefix: str) -> Iterator[Store]:
    """A ``Store`` on the session's server that holds nothing but what this test puts there."""
    with Store.from_url(redstate_url, key_prefix=redstate_key_prefix) as store:
        yield store


@pytest.fixture
def redstate_async_store(redstate_url: str, redstate_key_prefix: str) -> AsyncStore:
    """As ``redstate_store``, for asyncio; both see the same data within a test.

    It has not connected yet. The test opens and closes it in its own event loop, with any asyncio plugin or none:
    ``async with redstate_async_store as store: ...``.
    """
    return AsyncStore.from_url(redstate_url, key_prefix=redstate_key_prefix)


@pytest.fixture
def redstate_fake_store() -> Iterator[Store]:
    """A ``Store`` on an empty imitation of Redis inside the process; see ``redstate.testing.fake_store``."""
    with fake_store() as store:
        yield store
