# Generated from redstate/_async/store.py by tools/generate_sync.py. Do not edit: edit that file.
"""The store: where conversations are obtained, and what owns the connection."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Unpack

from redstate import _keys
from redstate._call import Query
from redstate._codec import Codec
from redstate._discovery import Endpoint, endpoint_from_client, endpoint_from_url, open_server
from redstate._settings import Settings, StoreOptions, check_timeout
from redstate._sync.conversation import Conversation
from redstate._sync.record import Record
from redstate.calls.record import milliseconds
from redstate.embedded import EmbeddedServer
from redstate.transport.base import forget_at_fork
from redstate.transport.sync import SyncTransport
from redstate.transport.turns import ThreadWriters


class Store:
    """Conversations in one Redis or Valkey server.

    Open one with ``from_url``, ``embedded``, ``from_env`` or ``from_client``. A ``Store`` serves all threads of a
    process, an ``AsyncStore`` all tasks of one event loop. Opening does no I/O to the server: the first call connects.

    The constructors share the keyword arguments of :class:`redstate.StoreOptions`: ``key_prefix`` ("rs"), ``ttl``
    (seconds that a conversation lives after its last change, a day), ``timeout`` (seconds that a call may take, retries
    included, 5), ``limits`` (caps on values and records) and ``max_in_flight`` (calls under way at once before further
    ones wait).
    """

    def __init__(self, endpoint: Endpoint, settings: Settings, server: EmbeddedServer | None = None) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._server = server
        self._codec = Codec(settings.limits)
        self._writers = ThreadWriters()
        self._transport = SyncTransport(endpoint, settings.max_in_flight)
        forget_at_fork(self._writers)

    @classmethod
    def from_url(cls, url: str, **options: Unpack[StoreOptions]) -> Store:
        """A store on the server at ``url``: ``redis://``, ``rediss://`` (TLS) or ``unix://``.

        Raises:
            ConfigurationError: the URL or a setting cannot work.
        """
        return cls(endpoint_from_url(url), Settings(**options))

    @classmethod
    def from_client(cls, client: Any, **options: Unpack[StoreOptions]) -> Store:
        """A store on the server of a redis-py client, plain or Sentinel; the client is neither used nor closed.

        Its address, credentials, TLS and database are taken over; connections are the store's own.

        Raises:
            ConfigurationError: the client or a setting cannot work.
        """
        return cls(endpoint_from_client(client), Settings(**options))

    @classmethod
    def embedded(cls, **options: Unpack[StoreOptions]) -> Store:
        """A store on a private server that is started now, and ends with the store or with this process.

        Raises:
            NoServer: there is no server binary to start.
            ConfigurationError: the server did not start, or a setting cannot work.
        """
        settings = Settings(**options)
        server = EmbeddedServer.start()
        return cls(endpoint_from_url(server.url), settings, server)

    @classmethod
    def from_env(cls, **options: Unpack[StoreOptions]) -> Store:
        """A store on the server of REDSTATE_URL, else of REDIS_URL, else on an embedded one.

        REDSTATE_KEY_PREFIX, REDSTATE_TTL and REDSTATE_TIMEOUT (seconds) serve where an argument is not given.

        Raises:
            NoServer: nothing was named and there is no server binary to start.
            ConfigurationError: a variable or a setting cannot work.
        """
        settings = Settings.from_environment(options)
        endpoint, server = open_server()
        return cls(endpoint, settings, server)

    @property
    def address(self) -> str:
        """Where the server is, without credentials."""
        return self._endpoint.address

    def conversation(
        self, conversation_id: str, *, ttl: float | None = None, timeout: float | None = None
    ) -> Conversation:
        """A handle of a conversation; the same id is the same conversation in every process. No I/O.

        Args:
            conversation_id: any text of 1 to 512 UTF-8 bytes.
            ttl: seconds that it lives after each change made through this handle; the store's by default.
            timeout: seconds that a call through this handle may take; the store's by default.

        Raises:
            InvalidId, InvalidTTL: the id or the expiry cannot be used.
            ConfigurationError: the timeout cannot be used.
        """
        settings = self._settings
        record = Record(
            _keys.conversation_key(settings.key_prefix, conversation_id),
            self._codec,
            self._transport,
            self._writers,
            milliseconds(settings.ttl if ttl is None else ttl),
            settings.timeout if timeout is None else check_timeout(timeout),
        )
        return Conversation(conversation_id, record)

    def ping(self) -> float:
        """Ask the server for a sign of life. Returns the seconds that it took.

        Raises:
            StoreError: it cannot be reached or refuses, and why.
        """
        record = Record("", self._codec, self._transport, self._writers, 1, self._settings.timeout)
        began = time.perf_counter()
        record.ask(Query("the server", ("PING",), lambda reply: reply))
        return time.perf_counter() - began

    def close(self) -> None:
        """Close the connection, and the embedded server if the store started one. Closing twice is harmless."""
        self._transport.close()
        if self._server is not None:
            self._server.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
