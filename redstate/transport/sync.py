"""The blocking transport: a pool of sockets, one call at a time on each.

The sockets block in the kernel, with SO_RCVTIMEO for the deadline: Python's own socket timeouts would add a poll()
before every read.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
import weakref
from typing import Any

from redstate._discovery import Endpoint
from redstate._replies import ReplyError
from redstate._scripts import Script
from redstate.errors import Overloaded, ServerLoading, StoreClosed, StoreError
from redstate.transport import base
from redstate.transport.base import Attempts, ConnectionBroken, ReplyLost

# Stands for the socket that a connection does not have yet; closed, so that it holds nothing.
_UNCONNECTED = socket.socket(socket.AF_UNIX)
_UNCONNECTED.close()

# What a read raises when SO_RCVTIMEO ran out: plain sockets the first, TLS the second.
_TIMED_OUT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError)


class Connection:
    """One blocking socket. After any failure it is closed, never reused: a late reply would meet the wrong caller."""

    __slots__ = ("__weakref__", "_reader", "_socket", "_timeout")

    def __init__(self) -> None:
        self._socket = _UNCONNECTED
        self._reader = base.parser()
        self._timeout = 0.0

    def __del__(self) -> None:
        # One that an interrupt took from its caller's hands is collected, and must not stay open.
        self.close()

    @property
    def connected(self) -> bool:
        """Whether it was given a socket."""
        return self._socket is not _UNCONNECTED

    def attach(self, connected: socket.socket) -> None:
        """Use this socket from now on."""
        self.close()
        # Nothing of an earlier attempt: neither half a reply nor the timeout of another socket.
        self._socket, self._reader, self._timeout = connected, base.parser(), 0.0

    def exchange(self, packed: bytes, timeout: float, deadline: float) -> Any:
        """Send one command and wait for its reply.

        Args:
            packed: the command in wire form.
            timeout: seconds left until the deadline; given apart, so that a first attempt needs no look at the clock.
            deadline: when to give up, on the monotonic clock.

        Raises:
            ConnectionBroken: the other side closed, or spoke something else than RESP.
            ReplyLost: no reply in time.
        """
        if timeout != self._timeout:
            self._set_timeout(timeout)
        try:
            self._socket.sendall(packed)
            reader = self._reader
            data = self._socket.recv(base.READ_BYTES)
            if not data:
                raise ConnectionBroken
            reader.feed(data)
            reply = reader.gets()
            return reply if reply is not False else self._rest(deadline)
        except _TIMED_OUT:
            raise ReplyLost from None
        except OSError:
            raise ConnectionBroken from None

    def exchange_all(self, packed: list[bytes], timeout: float, deadline: float) -> list[Any]:
        """Send commands in one go and wait for all replies, in their order; otherwise as ``exchange``.

        They and their replies must fit into the buffers of a socket, as nothing is read while they are sent.
        """
        replies = [self.exchange(b"".join(packed), timeout, deadline)]
        try:
            while len(replies) < len(packed):
                replies.append(self._rest(deadline))
        except _TIMED_OUT:
            raise ReplyLost from None
        except OSError:
            raise ConnectionBroken from None
        return replies

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        if self._socket is not _UNCONNECTED:
            self._socket.close()

    def _rest(self, deadline: float) -> Any:
        """The rest of a reply that came in pieces."""
        while (reply := self._reader.gets()) is False:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise ReplyLost
            self._set_timeout(remaining)
            data = self._socket.recv(base.READ_BYTES)
            if not data:
                raise ConnectionBroken
            self._reader.feed(data)
        return reply

    def _set_timeout(self, timeout: float) -> None:
        # Never zero, which would mean for ever.
        value = struct.pack("@ll", int(timeout), max(1000, int(timeout % 1 * 1e6)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        self._timeout = timeout


class SyncTransport:
    """A pool of connections, and every retry.

    Args:
        endpoint: how to reach the server.
        max_in_flight: how many calls can be under way at once, each on its own connection; 64 by default.
    """

    def __init__(self, endpoint: Endpoint, max_in_flight: int | None = None) -> None:
        self._endpoint = endpoint
        self._max_connections = max_in_flight or 64
        self._was_connected = False
        self._closed = False
        self.forget()
        base.forget_at_fork(self)

    def forget(self) -> None:
        """An empty pool: at the start, and in a forked child, which must not share the parent's sockets."""
        # Last in, first out: a warm socket first. Appending to and popping from a list are atomic.
        self._idle: list[Connection] = []
        # Weak, so that the count stays right whatever an interrupt leaves half done: what nobody holds is not open.
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._waiting = 0
        # Entered by the bare lock everywhere: a Condition's own __enter__ is Python, and a signal handler that raises
        # at its end (Ctrl-C) would leave the lock held for ever.
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)

    def call(self, packed: bytes, timeout: float, script: Script | None = None) -> Any:
        """Send a command until it is answered; arguments, result and errors as in the asyncio transport."""
        deadline = time.monotonic() + timeout
        remaining = timeout
        attempts: Attempts | None = None
        while True:
            try:
                connection: Connection | None = self._idle.pop()
            except IndexError:
                connection = None
            if connection is None:  # outside the except block, whose error would be shown with any that follows
                connection = self._open_or_wait(deadline, attempts is not None and attempts.sent)
                remaining = max(0.0, deadline - time.monotonic())
            healthy = False
            try:
                reply = connection.exchange(packed, remaining, deadline)
                if script is not None and type(reply) is ReplyError and base.is_missing_script(reply):
                    attempts = attempts or self._attempts(deadline)
                    reply = self._load_and_repeat(connection, packed, script, deadline)
                healthy = True
            except ConnectionBroken:
                self._drop_idle()  # its siblings went to the same server
                attempts = attempts or self._attempts(deadline)
                pause = attempts.after_break(time.monotonic())
            finally:
                # Also for a KeyboardInterrupt between sending and receiving: that socket's next reply is not ours.
                self._release(connection, healthy)
            if healthy:
                if type(reply) is not ReplyError:
                    return reply
                attempts = attempts or self._attempts(deadline)
                verdict = self._another(reply, attempts)
                if verdict is None:
                    return reply
                pause = verdict
            time.sleep(pause)
            remaining = max(0.0, deadline - time.monotonic())

    def call_all(self, packed: list[bytes], timeout: float, script: Script | None = None) -> list[Any]:
        """Send commands in one go, and wait for all replies; arguments, result and errors as in the asyncio transport.

        Some hundreds of small commands with small replies at most.
        """
        deadline = time.monotonic() + timeout
        try:
            connection: Connection | None = self._idle.pop()
        except IndexError:
            connection = None
        if connection is None:
            connection = self._open_or_wait(deadline, sent=False)
        replies: list[Any] = [None] * len(packed)
        healthy = False
        try:
            replies = connection.exchange_all(packed, max(0.0, deadline - time.monotonic()), deadline)
            healthy = True
        except ConnectionBroken:
            self._drop_idle()  # its siblings went to the same server
        finally:
            self._release(connection, healthy)
        # What did not go well goes the long way. (No command that comes here is answered with nil.)
        for place, (one, reply) in enumerate(zip(packed, replies, strict=True)):
            if reply is None or type(reply) is ReplyError:
                replies[place] = self.call(one, max(0.0, deadline - time.monotonic()), script)
        return replies

    def close(self) -> None:
        """Close the idle connections; the others close when their calls end."""
        self._closed = True
        self._drop_idle()

    def _attempts(self, deadline: float) -> Attempts:
        return Attempts(deadline, sentinel=self._endpoint.sentinel_pool is not None)

    def _load_and_repeat(self, connection: Connection, packed: bytes, script: Script, deadline: float) -> Any:
        """Load the one script that is missing, and send the one call again."""
        now = time.monotonic()
        loaded = connection.exchange(base.load_command(script), max(0.0, deadline - now), deadline)
        if type(loaded) is ReplyError:
            return loaded
        return connection.exchange(packed, max(0.0, deadline - time.monotonic()), deadline)

    def _another(self, reply: ReplyError, attempts: Attempts) -> float | None:
        """Seconds to wait before another attempt; None where the reply is the last word."""
        now = time.monotonic()
        if base.is_missing_script(reply):  # flushed again between loading and repeating
            attempts.after_loading(now)
            return 0.0
        pause = attempts.after_refusal(reply, now)
        if pause is not None and "READONLY" in str(reply):
            self._drop_idle()  # the primary is elsewhere now: ask the Sentinels again
        return pause

    def _open_or_wait(self, deadline: float, sent: bool) -> Connection:
        if self._closed:
            raise ReplyLost if sent else StoreClosed("The store is closed")
        with self._lock:
            self._waiting += 1
            try:
                connection = self._idle_or_new(deadline, sent)
            finally:
                self._waiting -= 1
        if not connection.connected:
            try:
                self._connect(connection, deadline, sent)
            except BaseException:
                self._retire(connection)
                raise
        return connection

    def _idle_or_new(self, deadline: float, sent: bool) -> Connection:
        """An idle connection, or one that is yet to be connected; the lock is held."""
        while True:
            try:
                return self._idle.pop()
            except IndexError:
                pass
            if len(self._connections) < self._max_connections:
                connection = Connection()
                self._connections.add(connection)
                return connection
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                if sent:
                    raise ReplyLost
                limit = self._max_connections
                raise Overloaded(f"All {limit:,} connections are busy", next_step="Raise max_in_flight", limit=limit)
            # Looked at ten times a second besides: a connection lost to an interrupt wakes nobody.
            self._freed.wait(min(remaining, 0.1))

    def _release(self, connection: Connection, healthy: bool) -> None:
        if healthy and not self._closed:
            self._idle.append(connection)
            if self._waiting:
                with self._lock:
                    self._freed.notify()
        else:
            self._retire(connection)

    def _retire(self, connection: Connection) -> None:
        connection.close()
        with self._lock:
            self._connections.discard(connection)
            self._freed.notify()

    def _drop_idle(self) -> None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            self._retire(connection)

    def _connect(self, connection: Connection, deadline: float, sent: bool) -> None:
        """Connect; where the server was there before, try again until the deadline."""
        loading: ServerLoading | None = None
        for pause in base.backoffs():
            try:
                self._connect_once(connection, max(0.001, deadline - time.monotonic()))
            except StoreError as error:
                if isinstance(error, ServerLoading):
                    loading = error
                if deadline - time.monotonic() <= pause or not base.worth_another_attempt(
                    error, was_connected=self._was_connected
                ):
                    if sent:  # no word on the attempt before
                        raise ReplyLost from None
                    # That it was loading says more than that the last attempt came to no end in time.
                    raise (loading or error) from None
                time.sleep(pause)
            else:
                self._was_connected = True
                return

    def _connect_once(self, connection: Connection, timeout: float) -> None:
        endpoint = self._endpoint
        timeout = min(timeout, endpoint.connect_timeout or timeout)
        deadline = time.monotonic() + timeout
        try:
            username, password = endpoint.credentials()
            connection.attach(open_socket(endpoint, timeout))
        except (OSError, UnicodeError) as error:
            raise base.no_connection(endpoint.address, error) from None
        try:
            for command in base.handshake(username, password, endpoint.db):
                refusal = base.handshake_error(connection.exchange(command, timeout, deadline))
                if refusal is not None:
                    raise refusal
        except (ConnectionBroken, ReplyLost) as failure:
            raise base.no_handshake(endpoint.address, failure, timeout, was_connected=self._was_connected) from None


def open_socket(endpoint: Endpoint, timeout: float) -> socket.socket:
    """A connected socket without a timeout, wrapped where the endpoint has TLS.

    Args:
        endpoint: how to reach the server.
        timeout: seconds for connecting.

    Raises:
        OSError, UnicodeError: it cannot be reached.
    """
    if endpoint.path is not None:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(timeout)
        try:
            plain.connect(endpoint.path)
        except BaseException:
            plain.close()
            raise
        name = endpoint.server_hostname
    else:
        host, port = endpoint.resolve()
        plain = socket.create_connection((host, port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = endpoint.server_hostname or host
    if endpoint.ssl_context is not None:
        plain = endpoint.ssl_context.wrap_socket(plain, server_hostname=name)
    plain.settimeout(None)
    return plain


def pause(seconds: float) -> None:
    """Let other threads go on for a while."""
    time.sleep(seconds)
