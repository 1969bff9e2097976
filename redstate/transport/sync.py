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
from typing import Any

from redstate._discovery import Endpoint
from redstate._replies import ReplyError
from redstate._scripts import Script
from redstate.errors import CallTimeout, Overloaded, ServerUnavailable, StoreClosed
from redstate.transport import base
from redstate.transport.base import ConnectionBroken, ReplyLost

# What a read raises when SO_RCVTIMEO ran out: plain sockets the first, TLS the second.
_TIMED_OUT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError)


class Connection:
    """One blocking socket. After any failure it is closed, never reused: a late reply would meet the wrong caller."""

    __slots__ = ("_reader", "_socket", "_timeout")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._reader = base.parser()
        self._timeout = 0.0

    def exchange(self, packed: bytes, timeout: float) -> Any:
        """Send one command and wait for its reply, at most ``timeout`` seconds.

        Raises:
            ConnectionBroken: the other side closed, or spoke something else than RESP.
            ReplyLost: no reply in time.
        """
        if timeout != self._timeout:
            self._set_timeout(timeout)
        try:
            self._socket.sendall(packed)
            reader, receive = self._reader, self._socket.recv
            data = receive(base.READ_BYTES)
            if not data:
                raise ConnectionBroken
            reader.feed(data)
            reply = reader.gets()
            if reply is not False:
                return reply
            return self._rest(time.monotonic() + timeout)
        except _TIMED_OUT:
            raise ReplyLost from None
        except OSError:
            raise ConnectionBroken from None

    def close(self) -> None:
        self._socket.close()

    def _rest(self, deadline: float) -> Any:
        """The rest of a reply that came in pieces."""
        while (reply := self._reader.gets()) is False:
            if time.monotonic() >= deadline:
                raise ReplyLost
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
        self._open = 0
        self._waiting = 0
        self._freed = threading.Condition(threading.Lock())

    def call(self, packed: bytes, timeout: float, script: Script | None = None) -> Any:
        """Send a command until it is answered; arguments, result and errors as in the asyncio transport."""
        deadline = time.monotonic() + timeout
        remaining = timeout
        sent = False
        backoff = None
        while True:
            connection = self._acquire(deadline, sent)
            healthy = False
            try:
                reply = connection.exchange(packed, remaining)
                if script is not None and type(reply) is ReplyError and base.is_missing_script(reply):
                    loaded = connection.exchange(base.load_command(script), remaining)
                    reply = loaded if type(loaded) is ReplyError else connection.exchange(packed, remaining)
                healthy = True
            except ConnectionBroken:
                sent = True
                self._drop_idle()  # its siblings went to the same server
                reply = None
            finally:
                # Also for a KeyboardInterrupt between sending and receiving: that socket's next reply is not ours.
                self._release(connection, healthy)
            if healthy and type(reply) is not ReplyError:
                return reply
            remaining = deadline - time.monotonic()
            if healthy and not self._again(reply):
                return _last_word(reply, sent)
            backoff = backoff or base.backoffs()
            pause = next(backoff) if healthy or self._open == 0 else 0.0
            if remaining <= pause:
                if healthy and not base.is_missing_script(reply):
                    return _last_word(reply, sent)
                raise ReplyLost if sent else CallTimeout("The call could not be completed in time")
            time.sleep(pause)
            remaining -= pause

    def close(self) -> None:
        """Close the idle connections; the others close when their calls end."""
        self._closed = True
        self._drop_idle()

    def _again(self, reply: ReplyError) -> bool:
        if base.is_missing_script(reply):
            return True
        if not base.is_passing(reply, sentinel=self._endpoint.sentinel_pool is not None):
            return False
        if "READONLY" in str(reply):
            self._drop_idle()  # the primary is elsewhere now: ask the Sentinels again
        return True

    def _acquire(self, deadline: float, sent: bool) -> Connection:
        if self._closed:
            raise ReplyLost if sent else StoreClosed("The store is closed")
        try:
            return self._idle.pop()
        except IndexError:
            return self._open_or_wait(deadline, sent)

    def _open_or_wait(self, deadline: float, sent: bool) -> Connection:
        with self._freed:
            self._waiting += 1
            try:
                while True:
                    if self._idle:
                        try:
                            return self._idle.pop()
                        except IndexError:
                            continue  # another thread was faster, without the lock
                    if self._open < self._max_connections:
                        self._open += 1
                        break
                    if not self._freed.wait(deadline - time.monotonic()):
                        if sent:
                            raise ReplyLost
                        limit = self._max_connections
                        raise Overloaded(
                            f"All {limit:,} connections are busy", next_step="Raise max_in_flight", limit=limit
                        )
            finally:
                self._waiting -= 1
        try:
            return self._connect(deadline, sent)
        except BaseException:
            self._closed_one()
            raise

    def _release(self, connection: Connection, healthy: bool) -> None:
        if healthy and not self._closed:
            self._idle.append(connection)
            if self._waiting:
                with self._freed:
                    self._freed.notify()
        else:
            connection.close()
            self._closed_one()

    def _closed_one(self) -> None:
        with self._freed:
            self._open -= 1
            self._freed.notify()

    def _drop_idle(self) -> None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            connection.close()
            self._closed_one()

    def _connect(self, deadline: float, sent: bool) -> Connection:
        """Connect; where the server was there before, try again until the deadline."""
        for pause in base.backoffs():
            remaining = deadline - time.monotonic()
            try:
                connection = self._connect_once(max(0.001, remaining))
            except ServerUnavailable:
                # A server that never answered is more likely a wrong address than one that restarts: say so at once.
                if not self._was_connected or remaining <= pause:
                    if sent:
                        raise ReplyLost from None
                    raise
                time.sleep(pause)
            else:
                self._was_connected = True
                return connection
        raise AssertionError("backoffs never end")

    def _connect_once(self, timeout: float) -> Connection:
        endpoint = self._endpoint
        timeout = min(timeout, endpoint.connect_timeout or timeout)
        try:
            username, password = endpoint.credentials()
            connection = Connection(self._open_socket(timeout))
        except (OSError, TimeoutError) as error:
            reason = error.strerror or str(error) or "no answer in time"
            raise ServerUnavailable(
                f"Cannot connect to {endpoint.address}: {reason}", address=endpoint.address
            ) from None
        try:
            for command in base.handshake(username, password, endpoint.db):
                error_reply = base.handshake_error(connection.exchange(command, timeout))
                if error_reply is not None:
                    raise error_reply
        except (ConnectionBroken, ReplyLost):
            connection.close()
            address = endpoint.address
            raise ServerUnavailable(f"{address} closed the connection at the handshake", address=address) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_socket(self, timeout: float) -> socket.socket:
        endpoint = self._endpoint
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


def _last_word(reply: ReplyError, sent: bool) -> ReplyError:
    if sent and not base.judges_earlier_attempts(reply):
        raise ReplyLost
    return reply
