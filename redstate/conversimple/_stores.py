"""The stores that an agent works with: its own, or the ones that its process shares."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from redstate import AsyncStore, Store, _keys
from redstate._call import Query
from redstate._discovery import Endpoint, open_server
from redstate._settings import Settings
from redstate.calls.record import KEPT, milliseconds
from redstate.conversimple._threads import Threads
from redstate.embedded import EmbeddedServer
from redstate.errors import ConfigurationError, InvalidId
from redstate.transport.base import forget_at_fork

T = TypeVar("T")


class RecordName(NamedTuple):
    """A record: its key, and how many milliseconds it lives after a change; ``KEPT`` until it is archived."""

    key: str
    ttl_ms: int


class Stores:
    """The stores of one agent.

    Args:
        store: what sync tools use; None for the process's store.
        async_store: what async tools use; None for the process's store.

    Attributes:
        threads: for the agent's own calls on a sync store.
    """

    def __init__(self, store: Store | None, async_store: AsyncStore | None) -> None:
        self._store = store
        self._async_store = async_store
        self.threads = Threads()

    @property
    def awaited(self) -> bool:
        """Whether there is, or can be, an async store."""
        return self._async_store is not None or self._store is None

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

    @property
    def identity(self) -> object:
        """Equal for agents that share their stores."""
        return self._async_store, self._store

    @property
    def prefix(self) -> str:
        """What the keys begin with."""
        return self._any()._settings.key_prefix

    def record(self, conversation_id: str) -> RecordName:
        """Where a conversation lies.

        Raises:
            InvalidId: the id cannot name a conversation.
        """
        store = self._any()
        key = _keys.conversation_key(store._settings.key_prefix, conversation_id)
        return RecordName(key, milliseconds(store._settings.ttl) if store._life is None else KEPT)

    async def begin(self, conversation_id: str) -> bool:
        """Begin a conversation that is kept until it is archived. Returns whether such are.

        Raises:
            ConversationEnded: it has ended, or lies in the archive.
            RedstateError: the store could not do it.
        """
        store = self._any()
        if isinstance(store, AsyncStore):
            await store.conversation(conversation_id).start()
        else:
            await self.threads.run(store.conversation(conversation_id).start)
        return store._life is not None

    async def end(self, conversation_id: str, customer_id: str = "") -> None:
        """End a conversation. Doing it again is harmless.

        Args:
            conversation_id: which.
            customer_id: whose it is, whatever its state says by now; "" where that is not known.

        Raises:
            RedstateError: the store could not do it.
        """
        store = self._any()
        if isinstance(store, AsyncStore):
            await store.conversation(conversation_id)._ending.end("ended", customer_id, lenient=True)
        else:
            ending = store.conversation(conversation_id)._ending
            await self.threads.run(functools.partial(ending.end, "ended", customer_id, lenient=True))

    async def merge(self, conversation_id: str) -> str:
        """Note a conversation that is about to end in its customer's profile, once however often it does.

        Returns:
            The customer's id; "" where it has none.

        Raises:
            RedstateError: the store could not do it.
        """
        store = self._any()
        if isinstance(store, AsyncStore):
            return await store.conversation(conversation_id)._ending.merge_early()
        return await self.threads.run(store.conversation(conversation_id)._ending.merge_early)

    async def ask(self, call: Query[T], timeout: float | None = None) -> T:
        """Perform a call on whichever store there is, and never in a thread that a tool may block.

        Args:
            call: what.
            timeout: seconds; the store's by default.

        Raises:
            RedstateError: the store could not do it.
        """
        store = self._any()
        seconds = store._settings.timeout if timeout is None else timeout
        if isinstance(store, AsyncStore):
            return await store._record("", ttl_ms=1, timeout=seconds).ask(call)
        return await self.threads.run(store._record("", ttl_ms=1, timeout=seconds).ask, call)

    def _any(self) -> Store | AsyncStore:
        return self.for_loop() if self.awaited else self.for_threads()

    def forget(self, conversation_id: str | None) -> None:
        """Read a conversation anew: what this agent is told of next may follow from what another process has done."""
        own = self._store is not None or self._async_store is not None
        for store in (self._store, self._async_store) if own else shared.opened():
            if store is not None and conversation_id:
                with contextlib.suppress(InvalidId):  # so there is no copy
                    store.nearcache.forget(conversation_id)


def _half_configured(given: str, missing: str) -> ConfigurationError:
    # Falling back on the environment here could split one conversation's state over two servers.
    return ConfigurationError(
        f"the agent was given {given}= and is asked for its {missing}",
        next_step=f"Pass {missing}= as well, for the same server",
    )


class SharedStores:
    """The stores that all agents of a process share, opened from the environment at first use.

    Sync and async tools must meet on one server, so the environment is read, and an embedded server started, once
    for both. They live as long as the process does.
    """

    def __init__(self) -> None:
        self.forget()
        forget_at_fork(self)
        self._origin: _Origin | None = None
        self._store: Store | None = None
        # An async store belongs to the event loop that it was opened in.
        self._loop_stores: dict[asyncio.AbstractEventLoop, AsyncStore] = {}

    def forget(self) -> None:
        """Have a free lock, in a forked process: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    def for_threads(self) -> Store:
        """Return the process's sync store."""
        with self._lock:
            if self._store is None:
                origin = self._opened()
                self._store = Store(origin.endpoint, origin.settings)
            return self._store

    def for_loop(self) -> AsyncStore:
        """Return the process's async store for the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            store = self._loop_stores.get(loop)
            if store is None:
                origin = self._opened()
                self._loop_stores = {one: store for one, store in self._loop_stores.items() if not one.is_closed()}
                store = self._loop_stores[loop] = AsyncStore(origin.endpoint, origin.settings)
            return store

    def opened(self) -> list[Store | AsyncStore | None]:
        """Those that there are by now."""
        with self._lock:
            return [self._store, *self._loop_stores.values()]

    def _opened(self) -> _Origin:
        if self._origin is None:
            settings = Settings.from_environment({})
            self._origin = _Origin(settings, *open_server())
        return self._origin


@dataclass(frozen=True, slots=True)
class _Origin:
    """What the environment said: the settings and the server, which is kept running by being kept."""

    settings: Settings
    endpoint: Endpoint
    server: EmbeddedServer | None


shared = SharedStores()
