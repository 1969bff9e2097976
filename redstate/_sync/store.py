# Generated from redstate/_async/store.py by tools/generate_sync.py. Do not edit: edit that file.
"""The store: where conversations are obtained, and what owns the connection."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TypeVar, Unpack, overload

from redstate import _keys
from redstate._call import Query
from redstate._codec.sealing import codec_for
from redstate._discovery import Endpoint, endpoint_from_client, endpoint_from_url, open_server
from redstate._settings import DEFAULT_STALENESS, Settings, StoreOptions, check_cart_limits, check_timeout
from redstate._sync.archive import Archive
from redstate._sync.cache import Cache
from redstate._sync.conversation import Conversation
from redstate._sync.customer import Customer
from redstate._sync.dossier import Dossier
from redstate._sync.ending import Ending
from redstate._sync.kept import KeptRecord
from redstate._sync.lifetime import Lifetime
from redstate._sync.record import Record
from redstate._sync.replacing import replace_state
from redstate._sync.typed import TypedConversation
from redstate._sync.watches import Watches
from redstate.archive.threads import ThreadArchive, archive_thread
from redstate.calls.cart_limits import CartLimits
from redstate.calls.record import milliseconds
from redstate.embedded import EmbeddedServer
from redstate.errors import ConfigurationError
from redstate.nearcache.joining import ThreadJoins
from redstate.nearcache.shared import NearCache, attach
from redstate.schema.definition import Schema, as_schema
from redstate.transport.base import forget_at_fork
from redstate.transport.sync import SyncTransport
from redstate.transport.turns import ThreadWriters

S = TypeVar("S")


class OwnServer(Protocol):
    """A server that ends with the store."""

    def close(self) -> None: ...


class Store:
    """Conversations in one Redis or Valkey server.

    Open one with ``from_url``, ``embedded``, ``from_env`` or ``from_client``. A ``Store`` serves all threads of a
    process, an ``AsyncStore`` all tasks of one event loop. Opening does no I/O to the server: the first call connects.

    The constructors share the keyword arguments of :class:`redstate.StoreOptions`: ``key_prefix`` ("rs"), ``ttl``
    (seconds that a conversation lives after its last change, a day; with an archive it has no expiry),
    ``customer_ttl`` (likewise for a customer, 90 days), ``timeout`` (seconds that a call may take, retries included,
    5), ``limits`` (caps on values and records), ``cart_limits`` (what a cart may hold), ``max_in_flight`` (calls under
    way at once before further ones wait), ``max_staleness`` (seconds that a read from local memory may be behind the
    server, 3; 0 has every read ask it),
    ``near_cache_entries`` and ``near_cache_bytes`` (how much local memory holds), ``customer_sync`` (whether a
    customer in memory that another process changes is dropped, "invalidate", or fetched at once, "update"),
    ``archive`` (where conversations go when they have ended: a path, a database's URL, or a ``SqlArchive``), ``idle``
    (seconds without a sign of use after which one counts as abandoned, 1800), ``tombstone_ttl`` (seconds for which late
    changes of one that was archived are refused, 60), ``merge`` (what of it goes into its customer's profile) and
    ``encryption`` (what values are encrypted, and the keys: :class:`redstate.Encryption`).

    Attributes:
        cache: values that any process can load again.
        cached: ``cache.cached``, which decorates functions.
        nearcache: what local memory does; see :class:`redstate.NearCache`.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings, server: OwnServer | None = None) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._server = server
        self._codec = codec_for(settings.limits, settings.encryption)
        self._writers = ThreadWriters()
        self._transport = SyncTransport(endpoint, settings.max_in_flight)
        forget_at_fork(self._writers)
        self.nearcache = attach(endpoint, settings)
        self._local = self.nearcache.local
        # None of them knows the store, so that one that is just dropped goes at once.
        self._record = functools.partial(
            Record,
            codec=self._codec,
            transport=self._transport,
            writers=self._writers,
            local=self._local,
            joins=ThreadJoins(),
        )
        self._kept: Callable[..., KeptRecord] = functools.partial(KeptRecord, **self._record.keywords)
        self._watches = Watches(
            self._local.copies,
            functools.partial(self._record, ttl_ms=1, timeout=settings.timeout),
            settings.max_staleness or DEFAULT_STALENESS,
            updates=settings.customer_sync == "update",
        )
        # Also where the store is just dropped: the last one of a near cache ends its thread.
        self._abandon = weakref.finalize(self, _abandon, self.nearcache, self._watches)
        record = self._record("", ttl_ms=1, timeout=settings.timeout)
        self._ended = self._looks = self._life = None
        if settings.archive is not None:
            self._ended = ThreadArchive(archive_thread(settings))
            # A thread of its own: who begins a conversation shall not wait for somebody's long list.
            self._looks = ThreadArchive(self._ended.thread.another())
            self._life = Lifetime(
                settings.key_prefix, settings.longest_idle, settings.tombstone_ttl, record, self._looks
            )
        self.cache = Cache(settings.key_prefix, record)
        self.cached = self.cache.cached

    @classmethod
    def from_url(cls, url: str, **options: Unpack[StoreOptions]) -> Store:
        """A store on the server at ``url``: ``redis://``, ``rediss://`` (TLS) or ``unix://``.

        Raises:
            ConfigurationError: the URL or a setting cannot work.
        """
        return cls(endpoint_from_url(url), Settings.of(options))

    @classmethod
    def from_client(cls, client: Any, **options: Unpack[StoreOptions]) -> Store:
        """A store on the server of a redis-py client, plain or Sentinel; the client is neither used nor closed.

        Its address, credentials, TLS and database are taken over; connections are the store's own.

        Raises:
            ConfigurationError: the client or a setting cannot work.
        """
        return cls(endpoint_from_client(client), Settings.of(options))

    @classmethod
    def embedded(cls, **options: Unpack[StoreOptions]) -> Store:
        """A store on a private server that is started now, and ends with the store or with this process.

        Raises:
            NoServer: there is no server binary to start.
            ConfigurationError: the server did not start, or a setting cannot work.
        """
        settings = Settings.of(options)
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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.address}, prefix {self._settings.key_prefix}>"

    @property
    def address(self) -> str:
        """Where the server is, without credentials."""
        return self._endpoint.address

    @property
    def archive(self) -> Archive:
        """Conversations that have ended and left the store.

        Raises:
            ConfigurationError: the store was opened without ``archive=``.
        """
        if self._ended is None:
            raise ConfigurationError(
                "The store has no archive",
                next_step='Open it with archive="conversations.db", or set REDSTATE_ARCHIVE',
            )
        record = self._record("", ttl_ms=1, timeout=self._settings.timeout)
        return Archive(self._settings.key_prefix, record, self._ended)

    @overload
    def conversation(
        self,
        conversation_id: str,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        cart_limits: CartLimits | None = None,
        customer_id: str | None = None,
        schema: None = None,
    ) -> Conversation: ...

    @overload
    def conversation(
        self,
        conversation_id: str,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        cart_limits: CartLimits | None = None,
        customer_id: str | None = None,
        schema: type[S] | Schema[S],
    ) -> TypedConversation[S]: ...

    def conversation(
        self,
        conversation_id: str,
        *,
        ttl: float | None = None,
        timeout: float | None = None,
        cart_limits: CartLimits | None = None,
        customer_id: str | None = None,
        schema: type[S] | Schema[S] | None = None,
    ) -> Conversation | TypedConversation[S]:
        """A handle of a conversation; the same id is the same conversation in every process. No I/O.

        Args:
            conversation_id: any text of 1 to 512 UTF-8 bytes.
            ttl: seconds that it lives after each change made through this handle; the store's by default. With an
                archive it stays until it is archived, and this counts for nothing.
            timeout: seconds that a call through this handle may take; the store's by default. With an archive the
                first change in a process can be several calls, and takes four times that and half a second (three
                seconds for the process's first look into the archive) at most, where nothing stands still.
            cart_limits: what its cart may hold after a change through this handle; the store's by default.
            customer_id: whose it is; the handle then has the customer's as ``customer``. Nothing is stored for it.
            schema: what its state is held to: a dataclass, a TypedDict, a pydantic model, or a :class:`Schema` of one.

        Raises:
            InvalidId, InvalidTTL: the id or the expiry cannot be used.
            ConfigurationError: the timeout or the limits cannot be used.
            InvalidSchema: the schema cannot be used, and why.
            MissingExtra: there is a schema, and pydantic is not installed (``redstate[schema]``).
        """
        settings = self._settings
        record = self._conversation_record(conversation_id, ttl, timeout, customer_id)
        limits = settings.cart_limits if cart_limits is None else check_cart_limits(cart_limits)
        customers = functools.partial(self.customer, timeout=timeout)
        customer = None if customer_id is None else customers(customer_id)
        ending = Ending(conversation_id, record, customer_id, customers, settings.merge, self._ended)
        plain = Conversation(conversation_id, record, limits, customer, ending)
        return plain if schema is None else TypedConversation(plain, as_schema(schema))

    def _conversation_record(
        self, conversation_id: str, ttl: float | None, timeout: float | None, customer_id: str | None
    ) -> Record:
        settings = self._settings
        key = _keys.conversation_key(settings.key_prefix, conversation_id)
        ttl_ms = milliseconds(settings.ttl if ttl is None else ttl)
        timeout = settings.timeout if timeout is None else check_timeout(timeout)
        if self._life is None:
            return self._record(key, ttl_ms=ttl_ms, timeout=timeout)
        return self._kept(self._life, conversation_id, key, customer_id or "", timeout=timeout)

    def customer(self, customer_id: str, *, ttl: float | None = None, timeout: float | None = None) -> Customer:
        """A handle of a customer; the same id is the same customer in every process. No I/O.

        Args:
            customer_id: any text of 1 to 512 UTF-8 bytes.
            ttl: seconds that it lives after each change made through this handle; the store's ``customer_ttl`` by
                default.
            timeout: seconds that a call through this handle may take; the store's by default.

        Raises:
            InvalidId, InvalidTTL: the id or the expiry cannot be used.
            ConfigurationError: the timeout cannot be used.
        """
        settings = self._settings
        record = self._record(
            _keys.customer_key(settings.key_prefix, customer_id),
            ttl_ms=milliseconds(settings.customer_ttl if ttl is None else ttl),
            timeout=settings.timeout if timeout is None else check_timeout(timeout),
        )
        self._watches.keep(record.key)
        return Customer(customer_id, record, self._watches, Dossier(self, customer_id, record))

    def save_state(self, conversation_id: str, state: Mapping[str, Any], *, ttl: float = 86_400.0) -> int:
        """Replace the whole state of a conversation, in one change. Returns the conversation's new version.

        Fields that are not in ``state`` go; cart, session and workflows stay.

        Args:
            conversation_id: which; it is created if need be.
            state: its fields.
            ttl: seconds that it lives from now on; with an archive it counts for nothing.

        Raises:
            InvalidInput: the id, the expiry or a value cannot be used.
            ConflictError: others added and deleted fields for as long as a call may take.
            ConfigurationError: the running code is in a transaction of the conversation.
        """
        return replace_state(self.conversation(conversation_id, ttl=ttl)._record, state)

    def load_state(self, conversation_id: str, *, fresh: bool = False) -> dict[str, Any]:
        """The whole state of a conversation at one version, as plain data; {} where there is none.

        Where it has left the store, the archive's.

        Args:
            conversation_id: which.
            fresh: ask the server; otherwise local memory may answer, within the store's ``max_staleness``.
        """
        conversation = self.conversation(conversation_id)
        state = conversation.state.all(fresh=fresh)
        if state or self._ended is None or conversation.exists():
            return state
        archived = self.archive.get(conversation_id)
        return {} if archived is None else archived.state

    def ping(self) -> float:
        """Ask the server for a sign of life. Returns the seconds that it took.

        Raises:
            StoreError: it cannot be reached or refuses, and why.
        """
        record = self._record("", ttl_ms=1, timeout=self._settings.timeout)
        began = time.perf_counter()
        record.ask(Query("the server", ("PING",), lambda reply: reply))
        return time.perf_counter() - began

    def close(self) -> None:
        """Close the connection, and the embedded server if the store started one. Closing twice is harmless."""
        self._watches.close()
        self._abandon.detach()
        self.nearcache.detach()
        for archive in (self._looks, self._ended):
            if archive is not None:
                archive.close()
        self._transport.close()
        if self._server is not None:
            self._server.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _abandon(nearcache: NearCache, watches: Watches) -> None:
    """A store was collected without being closed."""
    watches.abandon()
    nearcache.abandon()
