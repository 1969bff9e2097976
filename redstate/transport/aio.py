"""The asyncio transport: one connection for all tasks, one write for all calls of a loop tick.

A pool of connections would cost a checkout, a write and a wake-up for each call; here the calls of a tick leave in one
``send``, their replies come back in one ``recv``, and pair with their futures by order alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from redstate._discovery import Endpoint
from redstate._replies import ReplyError
from redstate._scripts import Script
from redstate.errors import (
    ConfigurationError,
    Overloaded,
    RedstateError,
    ServerLoading,
    ServerUnavailable,
    StoreClosed,
    StoreError,
)
from redstate.transport import base
from redstate.transport.base import Attempts, ConnectionBroken, ReplyLost


class Multiplexer(asyncio.Protocol):
    """One connection. Calls go out in the order of ``submit``, and replies are paired in that order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_pending: int) -> None:
        self.broken = False
        # Whether a further call must wait: too many without a reply, or the server does not read. Plain attributes,
        # as every call looks at them.
        self.full = False
        self._loop = loop
        self._max_pending = max_pending
        self._transport: asyncio.Transport | None = None
        self._reader = base.parser()
        # (future, when submitted, deadline), oldest first. An entry stays until its reply comes, also when nobody
        # waits for it any more: taking it out would hand its reply to the next.
        self._pending: deque[tuple[asyncio.Future[Any], float, float]] = deque()
        self._buffer: list[bytes] = []
        self._flush_due = False
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self._quiet_since = 0.0
        self._soonest = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, packed: bytes, now: float, deadline: float) -> asyncio.Future[Any]:
        """Queue a command for this tick's write. The future yields the reply, error replies included, as a value.

        Args:
            packed: the command in wire form.
            now, deadline: times of the loop's clock, in seconds.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.broken:
            future.set_exception(ConnectionBroken())
            return future
        if not self._pending:
            self._quiet_since = now
        self._pending.append((future, now, deadline))
        if len(self._pending) >= self._max_pending:
            self.full = True
        self._buffer.append(packed)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        # One timer for all: it is set anew only for a call that must end before those already waiting.
        if deadline < self._soonest:
            self._watch(deadline)
        return future

    def room(self) -> asyncio.Future[None]:
        """Done once a further call may be submitted."""
        if self._room is None or self._room.done():
            self._room = self._loop.create_future()
            self._make_room()
        return self._room

    def abort(self) -> None:
        """Give the connection up; everything that waits on it breaks."""
        if self._transport is not None:
            self._transport.abort()
        self._break()

    def close(self) -> None:
        """Write what is queued, then close."""
        if self._transport is not None and not self.broken:
            self._flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection makes nothing but a Transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._break()

    def data_received(self, data: bytes) -> None:
        self._quiet_since = self._loop.time()
        reader, pending = self._reader, self._pending
        try:
            reader.feed(data)
            # gets() answers False for an incomplete reply; RESP2 has no booleans.
            while (reply := reader.gets()) is not False:
                future = pending.popleft()[0]
                if not future.done():
                    future.set_result(reply)
        except (ConnectionBroken, IndexError):
            # Not RESP, or more replies than calls: nothing on this connection can be trusted any more.
            self.abort()
            return
        if self.full:
            self._make_room()

    def pause_writing(self) -> None:
        self._paused = self.full = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()
        self._make_room()

    def _flush(self) -> None:
        self._flush_due = False
        if self._buffer and not self._paused and not self.broken and self._transport is not None:
            self._transport.write(b"".join(self._buffer))
            self._buffer.clear()

    def _make_room(self) -> None:
        # Half empty before anyone is let in again: waking a crowd for one place each time would be a stampede.
        if not self.broken and (self._paused or len(self._pending) > self._max_pending // 2):
            return
        self.full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _watch(self, when: float) -> None:
        self._soonest = when
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        """Fail what is past its deadline. Where nothing at all came since it was sent, the link is taken for dead."""
        self._timer, self._soonest = None, float("inf")
        now = self._loop.time()
        soonest, dead = float("inf"), False
        for future, submitted, deadline in self._pending:
            if future.done():
                continue
            if deadline <= now:
                future.set_exception(ReplyLost())
                dead = dead or self._quiet_since <= submitted
            else:
                soonest = min(soonest, deadline)
        if dead:
            self.abort()
        elif soonest < float("inf"):
            self._watch(soonest)

    def _break(self) -> None:
        self.broken = True
        if self._timer is not None:
            self._timer.cancel()
        for future, _, _ in self._pending:
            if not future.done():
                future.set_exception(ConnectionBroken())
        self._pending.clear()
        self._buffer.clear()
        self._make_room()


class AsyncTransport:
    """Keeps one :class:`Multiplexer` alive, and owns every retry.

    Args:
        endpoint: how to reach the server.
        max_in_flight: how many calls may wait for replies before further ones wait for room; 4,096 by default.
    """

    def __init__(self, endpoint: Endpoint, max_in_flight: int | None = None) -> None:
        self._endpoint = endpoint
        self._max_pending = max_in_flight or 4096
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Multiplexer | None = None
        self._attempt: asyncio.Task[Multiplexer] | None = None
        self._was_connected = False
        # Whether the attempt under way got through to something that listens.
        self._accepted = False
        self._closed = False
        base.forget_at_fork(self)

    async def call(self, packed: bytes, timeout: float, script: Script | None = None) -> Any:
        """Send a command until it is answered.

        Args:
            packed: the command in wire form; it must be safe to send twice.
            timeout: seconds until the caller is told.
            script: what an EVALSHA runs, to load it where the server lacks it.

        Returns:
            The reply; an error reply comes as a value.

        Raises:
            ReplyLost: it was sent, and whether it ran is unknown.
            ServerUnavailable, CallTimeout, Overloaded, AuthenticationFailed, StoreClosed: it was not sent.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        now = loop.time()
        deadline = now + timeout
        attempts: Attempts | None = None
        while True:
            connection = self._connection
            if connection is None or connection.broken or connection.full:
                connection = await self._ready(deadline, attempts is not None and attempts.sent)
                now = loop.time()
            try:
                reply = await connection.submit(packed, now, deadline)
                if type(reply) is not ReplyError:
                    return reply
                attempts = attempts or self._attempts(deadline)
                if script is not None and base.is_missing_script(reply):
                    reply = await connection.submit(base.load_command(script), now, deadline)
            except ConnectionBroken:
                attempts = attempts or self._attempts(deadline)
                await asyncio.sleep(attempts.after_break(loop.time()))
            else:
                if type(reply) is not ReplyError:
                    attempts.after_loading(loop.time())
                elif not await self._another(reply, attempts, connection):
                    return reply
            now = loop.time()

    async def call_all(self, packed: list[bytes], timeout: float, script: Script | None = None) -> list[Any]:
        """Send commands in one go, and wait for all replies: a third of the work that so many calls are.

        Args:
            packed, timeout, script: as of ``call``; the script is that of all.

        Returns:
            The replies in their order, error replies as values.

        Raises:
            what ``call`` raises.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        now = loop.time()
        connection = self._connection
        if connection is None or connection.broken or connection.full:
            connection = await self._ready(now + timeout, sent=False)
        futures = [connection.submit(one, now, now + timeout) for one in packed]
        replies = []
        try:
            for one, future in zip(packed, futures, strict=True):
                try:
                    reply = await future
                except ConnectionBroken:
                    reply = None
                # What did not go well goes the long way. (No command that comes here is answered with nil.)
                if reply is None or type(reply) is ReplyError:
                    reply = await self.call(one, timeout, script)
                replies.append(reply)
        finally:
            for future in futures[len(replies) :]:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # nobody else asks for it
        return replies

    async def close(self) -> None:
        """Close the connection. Calls that still wait are told as if it had broken."""
        self._closed = True
        if self._attempt is not None and self._loop is asyncio.get_running_loop():
            self._attempt.cancel()
        if self._connection is not None and not (self._loop is None or self._loop.is_closed()):
            self._connection.close()
        self._connection = None

    def forget(self) -> None:
        """In a forked child: the parent's connection must not be touched, not even closed through its loop."""
        _forsaken.append((self._connection, self._attempt, self._loop))
        self._loop = self._connection = self._attempt = None

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed:
            raise StoreClosed("The store is closed")
        if self._loop is not None and not self._loop.is_closed():
            raise ConfigurationError(
                "This AsyncStore belongs to another event loop", next_step="Open one AsyncStore in each event loop"
            )
        self._loop, self._connection, self._attempt = loop, None, None

    def _attempts(self, deadline: float) -> Attempts:
        return Attempts(deadline, sentinel=self._endpoint.sentinel_pool is not None)

    async def _another(self, reply: ReplyError, attempts: Attempts, connection: Multiplexer) -> bool:
        """Wait for the next attempt after a refusal; False where that was the last word."""
        assert self._loop is not None
        pause = attempts.after_refusal(reply, self._loop.time())
        if pause is None:
            return False
        await asyncio.sleep(pause)
        if "READONLY" in str(reply):
            connection.abort()  # the primary is elsewhere now: ask the Sentinels again
        return True

    async def _ready(self, deadline: float, sent: bool) -> Multiplexer:
        """A connection with room for a call."""
        assert self._loop is not None
        while True:
            if self._closed:
                raise ReplyLost if sent else StoreClosed("The store is closed")
            connection = self._connection
            if connection is None or connection.broken:
                await self._reconnect(deadline, sent)
            elif connection.full:
                await asyncio.wait([connection.room()], timeout=max(0.0, deadline - self._loop.time()))
                if self._loop.time() >= deadline:
                    if sent:
                        raise ReplyLost
                    raise Overloaded(
                        f"{self._max_pending:,} calls wait for the server already", limit=self._max_pending
                    )
            else:
                return connection

    async def _reconnect(self, deadline: float, sent: bool) -> None:
        """Take part in the attempt under way, or begin one; every caller keeps its own deadline."""
        assert self._loop is not None
        backoff = base.backoffs()
        address = self._endpoint.address
        seconds = deadline - self._loop.time()
        # What the last finished attempt met says more than that the next one came to no end in time.
        error: BaseException = ServerUnavailable(f"No connection to {address} in time", address=address)
        while not self._closed:
            if self._attempt is None or self._attempt.done():
                self._attempt = self._loop.create_task(self._connect())
                self._attempt.add_done_callback(_retrieve)
            attempt = self._attempt
            await asyncio.wait([attempt], timeout=max(0.0, deadline - self._loop.time()))
            if attempt.cancelled():
                continue
            worthwhile = False
            if attempt.done():
                found = attempt.exception()
                if found is None:
                    return
                error = found
                worthwhile = base.worth_another_attempt(error, was_connected=self._was_connected)
            elif self._accepted and not isinstance(error, ServerLoading):
                # (That it was loading says more than that this attempt came to no end in time.)
                error = base.silent(address, seconds)
            pause = next(backoff)
            if not worthwhile or self._loop.time() + pause >= deadline:
                if sent:
                    raise ReplyLost
                raise _fresh(error)
            await asyncio.sleep(pause)

    async def _connect(self) -> Multiplexer:
        endpoint, loop = self._endpoint, self._loop
        assert loop is not None

        def protocol() -> Multiplexer:
            return Multiplexer(loop, self._max_pending)

        timeout = endpoint.connect_timeout or 10.0
        self._accepted = False
        try:
            async with asyncio.timeout(timeout):
                username, password = await endpoint.credentials_async()
                if endpoint.path is not None:
                    _, connection = await loop.create_unix_connection(
                        protocol, endpoint.path, ssl=endpoint.ssl_context, server_hostname=endpoint.server_hostname
                    )
                else:
                    host, port = await endpoint.resolve_async()
                    name = (endpoint.server_hostname or host) if endpoint.ssl_context else None
                    _, connection = await loop.create_connection(
                        protocol, host, port, ssl=endpoint.ssl_context, server_hostname=name
                    )
        except (OSError, TimeoutError, UnicodeError) as error:
            raise base.no_connection(endpoint.address, error) from None
        self._accepted = True
        await self._shake_hands(connection, base.handshake(username, password, endpoint.db), timeout)
        self._connection = connection
        self._was_connected = True
        return connection

    async def _shake_hands(self, connection: Multiplexer, commands: list[bytes], timeout: float) -> None:
        assert self._loop is not None
        now = self._loop.time()
        try:
            for command in commands:
                error = base.handshake_error(await connection.submit(command, now, now + timeout))
                if error is not None:
                    raise error
        except BaseException as failure:
            connection.abort()  # also where the store is closed meanwhile: nobody else knows of this connection
            if not isinstance(failure, (ConnectionBroken, ReplyLost)):
                raise
            raise base.no_handshake(
                self._endpoint.address, failure, timeout, was_connected=self._was_connected
            ) from None


# A parent's connections, kept in a forked child so that no destructor closes them through the shared event queue.
_forsaken: list[Any] = []


def _retrieve(task: asyncio.Task[Multiplexer]) -> None:
    if not task.cancelled():
        task.exception()


def _fresh(error: BaseException) -> BaseException:
    """The attempt's error for one caller: a shared exception would gather every caller's traceback."""
    if isinstance(error, RedstateError):
        return type(error)(error.message, next_step=error.next_step, **error.data)
    return StoreError(f"Connecting failed with {type(error).__name__}")


async def pause(seconds: float) -> None:
    """Let other work go on for a while."""
    await asyncio.sleep(seconds)
