"""The one thread of a process that listens: it subscribes, hears what was changed, and sends the heartbeat.

It is supervised by itself: whatever ends its connection, everything is dropped, and it connects again. While it has no
connection, or hears nothing, the copies are not served, which each reader sees by the age of the last echo.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from redstate import _keys
from redstate._discovery import Endpoint
from redstate._replies import ReplyError, server_error
from redstate.errors import AuthenticationFailed, PermissionDenied, RedstateError, ServerUnavailable
from redstate.nearcache.clock import clock
from redstate.nearcache.copies import Copies
from redstate.nearcache.holding import Copy
from redstate.nearcache.link import Link, is_push
from redstate.transport import base
from redstate.transport.base import ConnectionBroken

logger = logging.getLogger("redstate")

# Heartbeats in the time that an echo may be old: some may be late, and one may be lost.
BEATS = 5
# No shorter silence ends a connection: a server that thinks for so long is not gone.
_SHORTEST_SILENCE = 1.0
# A connection that ends sooner is followed by a longer pause than the one before.
_SETTLED = 2.0
# What a setting of the server forbids is not asked for again and again.
_REFUSED_PAUSE = 30.0


class Silent(ConnectionBroken):
    """No heartbeat came back in time: the connection is half open, or the server stands still."""


class Listener:
    """Keeps the copies of one server and prefix right.

    Args:
        endpoint: how to reach the server.
        prefix: what every key begins with.
        copies: what it keeps right.
        staleness: tells D, in seconds.
        unused: tells whether nobody needs it any more, and then sees to it that it is stopped.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        prefix: str,
        copies: Copies,
        staleness: Callable[[], float],
        unused: Callable[[], bool],
    ) -> None:
        self._endpoint = endpoint
        self._prefix = prefix
        self._copies = copies
        self._staleness = staleness
        self._unused = unused
        self._begin_idle()

    def _begin_idle(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wakers: tuple[socket.socket, socket.socket] | None = None
        self._link: Link | None = None
        self._signalled = False
        self._refusal: Exception | None = None

    def wake(self) -> None:
        """There is something to subscribe to. Starts the thread if need be; never blocks."""
        if self._thread is None or self._thread.ident is None:
            self._start()
        elif self._link is not None and not self._signalled:
            self._signalled = True
            self.ring()

    def stop(self) -> None:
        """End the thread soon, without waiting for it."""
        self._stop.set()
        self.ring()

    def forget(self) -> None:
        """In a forked child, which has no such thread: the parent's connection is the parent's."""
        link, wakers = self._link, self._wakers
        self._begin_idle()
        for one in (link, *(wakers or ())):
            if one is not None:
                one.close()

    def ring(self) -> None:
        """Have the thread look around, if there is one."""
        wakers = self._wakers
        if wakers is not None:
            with contextlib.suppress(OSError):  # full, so it is awake; or closed, so it has ended
                wakers[1].send(b"!")

    def _start(self) -> None:
        with self._lock:
            if self._stop.is_set() or (self._thread is not None and self._thread.ident is not None):
                return
            # Known before it starts: an interrupt in between must leave neither a thread that nobody knows of nor none.
            name = f"redstate-near-cache-{self._prefix}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            try:
                self._thread.start()
            except RuntimeError as failure:  # the process may have no more threads, or is about to end
                self._refused(failure)

    def _run(self) -> None:
        if self._thread is not threading.current_thread():
            return
        # Made in here, where no interrupt comes between making them and keeping them.
        wakers = self._wakers = socket.socketpair()
        for one in wakers:
            one.setblocking(False)
        pauses = base.backoffs()
        try:
            while not self._stop.is_set() and not self._unused():
                began = clock()
                pause = self._connected()
                if clock() - began > _SETTLED:
                    pauses = base.backoffs()
                self._stop.wait(next(pauses) if pause is None else pause)
        finally:
            for one in wakers:
                one.close()

    def _connected(self) -> float | None:
        """Connect, and serve until the connection ends. Returns the seconds until another attempt; None: a few."""
        pause = None
        try:
            self._link = link = Link(self._endpoint, max(self._staleness(), _SHORTEST_SILENCE))
            try:
                self._serve(link)
            finally:
                self._link = None
                self._copies.link_down()
                link.close()
        except (ConnectionBroken, OSError) as failure:
            self._refused(_broken(self._endpoint.address, failure))
        except RedstateError as failure:
            self._refused(failure)
            if isinstance(failure, (PermissionDenied, AuthenticationFailed)):
                pause = _REFUSED_PAUSE
        except Exception as failure:  # noqa: BLE001 - said in the log with its trace, and begun anew
            # None that is known of; but without this thread the process would have no copies any more.
            self._refused(failure)
        return pause

    def _refused(self, failure: Exception) -> None:
        if self._stop.is_set():
            return
        if type(failure) is not type(self._refusal):
            known = isinstance(failure, RedstateError)
            logger.warning(
                "The near cache is off, and every read asks the server: %s",
                failure,
                exc_info=None if known else failure,
            )
        self._refusal = failure

    def _serve(self, link: Link) -> None:
        assert self._wakers is not None
        link.wake_by(self._wakers[0].fileno())
        session = _Session(link, self._copies, _keys.beat_channel(self._prefix, secrets.token_urlsafe(9)))
        began = next_beat = clock()
        while not self._stop.is_set():
            now, staleness = clock(), self._staleness()
            due = now >= next_beat
            if due:
                session.beat(now, staleness)
                next_beat = now + staleness / BEATS
            if now - max(self._copies.echo, began) > max(staleness, _SHORTEST_SILENCE):
                raise Silent("no heartbeat came back")
            if self._signalled or due:
                self._signalled = False
                session.subscribe(self._copies.take_requests(shed=due))
            for descriptor in link.wait(next_beat - now):
                if descriptor == link.fileno():
                    if session.receive():
                        self._signalled = True  # there may be watched keys to subscribe to
                    if session.ready and self._refusal is not None:
                        logger.info("The near cache is on again")
                        self._refusal = None
                else:
                    self._hush()
                    if self._unused():
                        return

    def _hush(self) -> None:
        assert self._wakers is not None
        with contextlib.suppress(BlockingIOError):
            while self._wakers[0].recv(4096):
                pass


class _Session:
    """What is under way on one connection: heartbeats, subscriptions, audits.

    Attributes:
        ready: whether the first heartbeat came back; nothing is subscribed to before.
    """

    def __init__(self, link: Link, copies: Copies, channel: str) -> None:
        self.ready = False
        self._link = link
        self._copies = copies
        self._channel, self._channel_bytes = channel, channel.encode()
        self._numbers = itertools.count()
        self._beats: deque[tuple[bytes, float]] = deque()
        # What each reply that is no push belongs to, in order: an audit, or None where it does not matter.
        self._replies: deque[tuple[str, Copy] | None] = deque()
        link.send("SUBSCRIBE", channel)

    def beat(self, now: float, longest: float) -> None:
        """Send a heartbeat, and compare a copy that D lets be served with the server."""
        number = b"%d" % next(self._numbers)
        self._beats.append((number, now))
        self._replies.append(None)
        self._link.send("PUBLISH", self._channel, number)
        found = self._copies.next_to_audit(longest) if self.ready else None
        if found is not None:
            key, copy = found
            self._replies.append(found)
            self._link.send(*copy.audit(key))

    def subscribe(self, requests: list[tuple[bool, str]]) -> None:
        """Subscribe and unsubscribe, in this order."""
        for wanted, group in itertools.groupby(requests, key=lambda request: request[0]):
            self._link.send_to_channels("SUBSCRIBE" if wanted else "UNSUBSCRIBE", [key for _, key in group])

    def receive(self) -> bool:
        """Take in what has come, in order. It does nothing else: a subscriber that is slow is cut off.

        Returns whether that was the first echo.
        """
        was_ready = self.ready
        heard: list[tuple[str, int | None]] = []
        for item in self._link.receive():
            if not is_push(item):
                # What was published before the reply must have had its effect, or an audit would be deceived.
                self._copies.heard(heard)
                heard = []
                self._replied(item)
            elif item[0] == b"message":
                if item[1] == self._channel_bytes:
                    # Everything before it must have its effect before the echo says so.
                    self._copies.heard(heard)
                    heard = []
                    self._echoed(item[2])
                else:
                    heard.append((item[1].decode("utf-8", "replace"), _version(item[2])))
            elif item[0] == b"subscribe" and item[1] != self._channel_bytes:
                self._copies.confirm(item[1].decode("utf-8", "replace"))
        if heard:
            self._copies.heard(heard)
        return self.ready and not was_ready

    def _echoed(self, number: bytes) -> None:
        while self._beats:
            sent_number, sent = self._beats.popleft()
            if sent_number == number:
                self._copies.counters.lags.append(clock() - sent)
                self._copies.echo = sent
                if not self.ready:
                    self.ready = True
                    self._copies.link_up()
                return

    def _replied(self, reply: Any) -> None:
        failed = isinstance(reply, ReplyError)
        if failed and not str(reply).startswith("WRONGTYPE"):
            # A refused subscription has no place in the order of the replies.
            raise server_error(reply)
        audit = self._replies.popleft() if self._replies else None
        if audit is not None:
            self._copies.audited(*audit, None if failed else reply)


def _broken(address: str, failure: BaseException) -> ServerUnavailable:
    reason = getattr(failure, "strerror", None) or str(failure) or "the other side closed it"
    return ServerUnavailable(f"The connection to {address} broke: {reason}", next_step="", address=address)


def _version(payload: bytes) -> int | None:
    return int(payload) if len(payload) == 16 and payload.isdigit() else None
