"""What the two transports share: the handshake, backoff, and the judgement of a reply."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from os import register_at_fork
from typing import Protocol

import hiredis

from redstate._jitter import between
from redstate._replies import ReplyError, server_error
from redstate._scripts import Script
from redstate.errors import CallTimeout, ServerLoading, ServerUnavailable, StoreError

# A chunk that holds the replies of a loop tick; larger ones take several reads.
READ_BYTES = 65_536
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.02, 1.0

# Replies of a script that has looked into the journal.
_JUDGED = ("RS", "OOM", "READONLY", "MISCONF", "NOREPLICAS", "WRONGTYPE")


class ReplyLost(Exception):
    """Sent at least once, and no reply before the deadline. It never leaves the package."""


class ConnectionBroken(Exception):
    """The connection went away. It never leaves the package."""


# A command as the wire wants it; bound once, as every call goes through it.
# (Its stub takes tuples of one word only.)
pack_words: Callable[[tuple[str | bytes, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


def parser() -> hiredis.Reader:
    """A parser that yields bytes, and error replies as values of ReplyError."""
    return hiredis.Reader(replyError=ReplyError, protocolError=ConnectionBroken)


def handshake(username: str | None, password: str | None, db: int) -> list[bytes]:
    """The commands that open a connection, in order."""
    commands = []
    if password is not None:
        commands.append(pack_words(("AUTH", username, password) if username else ("AUTH", password)))
    if db:
        commands.append(pack_words(("SELECT", str(db))))
    # Last, a sign that it is a server of the right kind, before any call is entrusted to it.
    commands.append(pack_words(("PING",)))
    return commands


def worth_another_attempt(error: BaseException, *, was_connected: bool) -> bool:
    """Whether connecting again within the deadline can help.

    A server that never answered is more likely a wrong address than one that restarts, and wrong credentials stay
    wrong: those are said at once.
    """
    return isinstance(error, ServerLoading) or (was_connected and isinstance(error, ServerUnavailable))


def handshake_error(reply: object) -> StoreError | None:
    """What a reply of the handshake means; None where it is fine."""
    # A server that cannot persist refuses PING, of all things, and goes on serving reads.
    if not isinstance(reply, ReplyError) or str(reply).startswith("MISCONF"):
        return None
    return server_error(reply)


def no_handshake(address: str, failure: BaseException, seconds: float, *, was_connected: bool) -> ServerUnavailable:
    """What a handshake that came to no end means.

    Args:
        address: of the server.
        failure: how it ended.
        seconds: how long the answer was waited for.
        was_connected: whether it has answered before, so that its address is right.
    """
    if isinstance(failure, ReplyLost):
        return silent(address, seconds)
    if was_connected:
        return ServerUnavailable(
            f"{address} accepts connections and closes them", next_step="See the server's log", address=address
        )
    return ServerUnavailable(f"What listens at {address} does not answer as Redis does", address=address)


def no_connection(address: str, failure: BaseException) -> ServerUnavailable:
    """What a connection that could not be made, or broke, means."""
    reason = getattr(failure, "strerror", None) or str(failure) or "no answer in time"
    return ServerUnavailable(f"Cannot connect to {address}: {reason}", address=address)


def silent(address: str, seconds: float) -> ServerUnavailable:
    """A server that was connected to and says nothing at all: it is stopped, or has too much to do."""
    return ServerUnavailable(
        f"{address} accepts connections but gives no answer within {seconds:.2g} s",
        next_step="Check whether the server hangs or is overloaded, and that the URL is right",
        address=address,
    )


def load_command(script: Script) -> bytes:
    """Loads one script into the server's cache."""
    return pack_words(("SCRIPT", "LOAD", script.source))


def backoffs() -> Iterator[float]:
    """Seconds to wait before each further attempt: doubling, capped, with full jitter so that a fleet spreads out.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling = _FIRST_BACKOFF
    while True:
        yield between(ceiling / 2, ceiling)
        ceiling = min(ceiling * 2, _LONGEST_BACKOFF)


def is_missing_script(reply: ReplyError) -> bool:
    """The server does not have the script (flushed, restarted, failed over)."""
    return str(reply).startswith("NOSCRIPT")


class Attempts:
    """What the attempts of one call have shown, and whether another is worth making. Decides; the transports perform.

    Args:
        deadline: when the caller is told, on the transport's clock.
        sentinel: whether a demoted primary is worth waiting for.

    Attributes:
        sent: whether an attempt may have reached the server without an answer.
    """

    __slots__ = ("_backoffs", "_deadline", "_sentinel", "sent")

    def __init__(self, deadline: float, *, sentinel: bool) -> None:
        self.sent = False
        self._deadline = deadline
        self._sentinel = sentinel
        self._backoffs = backoffs()

    def after_break(self, now: float) -> float:
        """The connection broke with the call on it. Returns the seconds to wait before the next attempt.

        Raises:
            ReplyLost: there is no time for one.
        """
        # The first break is most often a server that restarted a while ago: try again at once. A server that takes
        # connections and drops them must not be hammered.
        pause = next(self._backoffs) if self.sent else 0.0
        self.sent = True
        if now + pause >= self._deadline:
            raise ReplyLost
        return pause

    def after_refusal(self, reply: ReplyError, now: float) -> float | None:
        """The server answered with an error. Returns the seconds to wait; None where that is the last word.

        Raises:
            ReplyLost: it is no word on the attempts before, and there is no time for another.
        """
        if self._passes(reply):
            pause = next(self._backoffs)
            if now + pause < self._deadline:
                return pause
        # A script that has run has looked into the journal; any other refusal says nothing about an earlier attempt.
        if self.sent and not str(reply).startswith(_JUDGED):
            raise ReplyLost
        return None

    def after_loading(self, now: float) -> None:
        """The script was loaded; the call can go again unless its time is up."""
        if now >= self._deadline:
            raise self.out_of_time()

    def out_of_time(self) -> Exception:
        """What to raise at the deadline."""
        return ReplyLost() if self.sent else CallTimeout("The call could not be completed in time")

    def _passes(self, reply: ReplyError) -> bool:
        text = str(reply)
        return text.startswith("LOADING") or (self._sentinel and "READONLY" in text)


class Forkable(Protocol):
    """Something that must let go of its connections in a forked child."""

    def forget(self) -> None: ...


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def forget_at_fork(item: Forkable) -> None:
    """Has ``item.forget()`` called in every child that is forked while it lives."""
    _forkables.add(item)


def _forget_all() -> None:
    for item in list(_forkables):
        item.forget()


register_at_fork(after_in_child=_forget_all)
