"""What the two transports share: the handshake, backoff, and the judgement of a reply."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator
from os import register_at_fork
from typing import Any, Protocol

import hiredis

from redstate._replies import ReplyError, server_error
from redstate._scripts import Script
from redstate.errors import StoreError

# A chunk that holds the replies of a loop tick; larger ones take several reads.
READ_BYTES = 65_536
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.02, 1.0

# Refused before the script was even looked at, so such a reply says nothing about an earlier attempt.
_UNJUDGED = ("LOADING", "BUSY", "MASTERDOWN", "NOAUTH", "NOPERM")


class ReplyLost(Exception):
    """Sent at least once, and no reply before the deadline. It never leaves the package."""


class ConnectionBroken(Exception):
    """The connection went away. It never leaves the package."""


# A command as the wire wants it; bound once, as every call goes through it.
pack_words: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command


def parser() -> hiredis.Reader:
    """A parser that yields bytes, and error replies as values of ReplyError."""
    return hiredis.Reader(replyError=ReplyError, protocolError=ConnectionBroken)


def handshake(username: str | None, password: str | None, db: int) -> list[bytes]:
    """The commands that open a connection, in order."""
    commands = []
    if password is not None:
        commands.append(pack_words(("AUTH", username, password) if username else ("AUTH", password)))
    if db:
        commands.append(pack_words(("SELECT", db)))
    return commands


def handshake_error(reply: object) -> StoreError | None:
    """What a reply of the handshake means; None where it is fine."""
    return server_error(reply) if isinstance(reply, ReplyError) else None


def load_command(script: Script) -> bytes:
    """Loads one script into the server's cache."""
    return pack_words(("SCRIPT", "LOAD", script.source))


def backoffs() -> Iterator[float]:
    """Seconds to wait before each further attempt: doubling, capped, with full jitter so that a fleet spreads out.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling = _FIRST_BACKOFF
    while True:
        yield random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing
        ceiling = min(ceiling * 2, _LONGEST_BACKOFF)


def is_missing_script(reply: ReplyError) -> bool:
    """The server does not have the script (flushed, restarted, failed over)."""
    return str(reply).startswith("NOSCRIPT")


def is_passing(reply: ReplyError, *, sentinel: bool) -> bool:
    """Worth waiting for within the deadline: a server that loads; with a Sentinel, one that was just demoted."""
    text = str(reply)
    return text.startswith("LOADING") or (sentinel and "READONLY" in text)


def judges_earlier_attempts(reply: ReplyError) -> bool:
    """Whether the reply comes from the script, which looks into the journal before anything else."""
    return not str(reply).startswith(_UNJUDGED)


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
