"""Stores for unit tests that need no server: each has an imitation of Redis of its own, inside the process.

The imitation is fakeredis behind a port of 127.0.0.1, so the store's own transports and scripts run as they do in
earnest. It holds everything in memory, takes about a millisecond for a change, and ends with the store. It lacks what
administrators use (INFO, CONFIG, memory limits, persistence, replicas) and heeds no access list inside scripts. What a
store needs and it lacks ends as ``ServerRefused``, as with any other server.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import Any, Self, Unpack

from redstate._async.store import AsyncStore
from redstate._discovery import endpoint_from_url
from redstate._settings import Settings, StoreOptions
from redstate._sync.store import Store
from redstate.errors import MissingExtra
from redstate.testing._fake_wire import framed

__all__ = ["FakeServer", "fake_async_store", "fake_store"]

# The oldest server that redstate supports: what the imitation takes, every real one takes.
_VERSION = (7, 0)
_READ_BYTES = 65_536
_END = object()  # the last "reply" of a connection


def fake_store(**options: Unpack[StoreOptions]) -> Store:
    """A store on a private, empty imitation of Redis, which ends when the store is closed.

        with redstate.testing.fake_store() as store:
            store.conversation("c").state.set("step", "greeting")

    Further stores on the same imitation, such as the one for an agent's async tools, are opened by its address:
    ``AsyncStore.from_url(f"redis://{store.address}")``.

    Args:
        options: as for every store, see :class:`redstate.StoreOptions`.

    Raises:
        MissingExtra: fakeredis or lupa is not installed; the extra ``testing`` brings both.
        ConfigurationError: a setting cannot work.
    """
    settings = _settings(options)
    server = FakeServer()
    return Store(endpoint_from_url(server.url), settings, server)


def fake_async_store(**options: Unpack[StoreOptions]) -> AsyncStore:
    """As :func:`fake_store`, for asyncio: ``async with redstate.testing.fake_async_store() as store``.

    Raises:
        MissingExtra: fakeredis or lupa is not installed; the extra ``testing`` brings both.
        ConfigurationError: a setting cannot work.
    """
    settings = _settings(options)
    server = FakeServer()
    return AsyncStore(endpoint_from_url(server.url), settings, server)


def _settings(options: StoreOptions) -> Settings:
    # The imitation has no RESP3, which the listener of a near cache speaks: every read asks it.
    return Settings.of({"max_staleness": 0.0, **options})


class FakeServer:
    """An imitation of Redis that listens on a free port of 127.0.0.1 from its making until ``close()``.

    fakeredis has a TCP server too, but that hangs up after each error reply, so that no script could ever be loaded,
    and puts ERR before the codes that scripts answer with.

    Attributes:
        url: where clients reach it.

    Raises:
        MissingExtra: fakeredis or lupa is not installed.
    """

    def __init__(self) -> None:
        self._fakeredis = _installed()
        self._shared = self._fakeredis.FakeServer(server_type="redis", version=_VERSION)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pid = os.getpid()
        self._closed = False
        self._links: list[_Link] = []
        # Daemons, as a store that was never closed must not keep the process from ending.
        self._thread = threading.Thread(target=self._accept, name="redstate-fake-server", daemon=True)
        self._thread.start()
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """End its connections and threads. Does nothing the second time, and nothing in a forked child."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        # Closing a listener does not wake a thread that waits for connections on it; a connection does.
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()
        for link in self._links:
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closed:
                client.close()
                return
            self._links = [link for link in self._links if link.alive]
            self._links.append(_Link(client, self._fakeredis.FakeRedisConnection(server=self._shared, protocol=2)))


class _Link:
    """One client's connection: a thread that runs its commands, and one that sends what comes of them.

    Two, as published messages come without being asked for.
    """

    def __init__(self, client: socket.socket, connection: Any) -> None:
        self._client = client
        self._connection = connection
        self._fake = connection.get_socket()
        self._replies = self._fake.responses
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether the client is connected."""
        return self._threads[1].is_alive()

    def close(self) -> None:
        """Hang up, and wait for the threads."""
        with suppress(OSError):  # the client was quicker
            self._client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _receive(self) -> None:
        try:
            while data := self._client.recv(_READ_BYTES):
                self._fake.sendall(data)
        except OSError:
            pass  # the client reset the connection
        except Exception as error:  # noqa: BLE001 - a failure of the imitation is an answer, not silence
            self._replies.put(error)
        finally:
            self._replies.put(_END)

    def _send(self) -> None:
        with self._client, suppress(OSError):  # the client may have gone without waiting for its replies
            while (reply := self._replies.get()) is not _END:
                self._client.sendall(framed(reply))
        self._connection.disconnect()


def _installed() -> Any:
    try:
        import fakeredis
        import lupa  # noqa: F401 - without it fakeredis imports, but knows no scripts
    except ImportError as error:
        raise MissingExtra(
            f"A fake store needs {error.name}, which is not installed",
            next_step='Install it with: pip install "redstate[testing]"',
            extra="testing",
        ) from None
    return fakeredis
