"""The stores that an agent works with: its own, or the ones that its process shares."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from redstate.errors import ConfigurationError

if TYPE_CHECKING:
    from redstate import AsyncStore, Store
    from redstate.embedded import EmbeddedServer

_URL_VARIABLES = ("REDSTATE_URL", "REDIS_URL")


class Stores:
    """The stores of one agent.

    Args:
        store: what sync tools use; None for the process's store.
        async_store: what async tools use; None for the process's store.
    """

    def __init__(self, store: Store | None, async_store: AsyncStore | None) -> None:
        self._store = store
        self._async_store = async_store

    def for_threads(self) -> Store:
        """Return the sync store, opened if need be.

        Raises:
            ConfigurationError: the agent was given an async store only.
        """
        if self._store is not None:
            return self._store
        if self._async_store is not None:
            raise _half_configured("async_store", "store")
        return shared.for_threads()

    def for_loop(self) -> AsyncStore:
        """Return the async store of the running event loop, opened if need be.

        Raises:
            ConfigurationError: the agent was given a sync store only.
        """
        if self._async_store is not None:
            return self._async_store
        if self._store is not None:
            raise _half_configured("store", "async_store")
        return shared.for_loop()


def _half_configured(given: str, missing: str) -> ConfigurationError:
    # Falling back on the environment here could split one conversation's state over two servers.
    return ConfigurationError(
        f"the agent was given {given}= and is asked for its {missing}",
        next_step=f"Pass {missing}= as well, for the same server",
    )


class SharedStores:
    """The stores that all agents of a process share, opened from the environment at first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._store: Store | None = None
        # An async store belongs to the event loop that it was opened in.
        self._loop_stores: dict[asyncio.AbstractEventLoop, AsyncStore] = {}
        self._server: EmbeddedServer | None = None

    def for_threads(self) -> Store:
        """Return the process's sync store."""
        from redstate import Store

        with self._lock:
            if self._store is None:
                url = self._embedded_url()
                self._store = Store.from_env() if url is None else Store.from_url(url)
            return self._store

    def for_loop(self) -> AsyncStore:
        """Return the process's async store for the running event loop."""
        from redstate import AsyncStore

        loop = asyncio.get_running_loop()
        with self._lock:
            store = self._loop_stores.get(loop)
            if store is None:
                self._loop_stores = {one: store for one, store in self._loop_stores.items() if not one.is_closed()}
                url = self._embedded_url()
                store = AsyncStore.from_env() if url is None else AsyncStore.from_url(url)
                self._loop_stores[loop] = store
            return store

    def _embedded_url(self) -> str | None:
        # Sync and async tools must meet on one server, so the embedded one is started once for both.
        if any(os.environ.get(name) for name in _URL_VARIABLES):
            return None
        if self._server is None:
            from redstate.embedded import EmbeddedServer

            self._server = EmbeddedServer.start()
        return self._server.url


shared = SharedStores()
