"""Calls on the index of conversations that are kept until they are archived: when to look at each again.

A change of a conversation does not touch the index. What is due there is looked at, and where its record shows that it
was in use lately, it is put off by as much (see ``lifetime.collect``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redstate import _keys, _scripts
from redstate._call import Query

_REGISTER = _scripts.load("due_register")
_NOW = _scripts.load("due_now")
_CLAIM = _scripts.load("due_claim")
_SETTLE = _scripts.load("due_settle")

DONE = "-"
"""In place of a time: the index forgets the conversation."""

# What somebody else has put there need not be text; it has to be written back as it is.
_FOREIGN = "surrogateescape"

# In seconds.
_BEGIN_WITHIN, _SHORTEST = 30.0, 0.5


def begin_within(idle: float, tombstone_ttl: float) -> float:
    """For how many seconds a conversation may begin after it was registered.

    It stays in the index for twice as long. And where it has just left the store, its tombstone outlasts whatever was
    registered before: who meant to begin it anew then finds that, and not a record that nothing will ever look for.
    (Tombstones of less than a second, which only tests have, are no such protection.)
    """
    return min(_BEGIN_WITHIN, idle / 2, max(tombstone_ttl / 2, _SHORTEST))


def register(prefix: str, conversation_id: str, idle: float, within: float, *, anyhow: bool = False) -> Query[int]:
    """Have a conversation looked at after ``idle`` seconds, and not before twice ``within``.

    Args:
        prefix: the store's key prefix.
        conversation_id: which.
        idle, within: seconds.
        anyhow: also where the server is full.

    Returns:
        of the call: until when its record may begin, ``within`` seconds from now, in µs of the server's clock.
    """
    key = _keys.due_key(prefix, conversation_id)
    words = (*_REGISTER.evalsha, key, conversation_id.encode(), _us(idle), _us(2 * within), "01"[anyhow])
    return Query(key, words, lambda now: int(now) + int(_us(within)), script=_REGISTER)


def at_once(prefix: str, conversation_id: str, deadline_us: int) -> Query[None]:
    """Have a conversation that has ended looked at as soon as an archiver can.

    Args:
        prefix: the store's key prefix.
        conversation_id: which.
        deadline_us: after that time on the server's clock, in microseconds, nothing is done.
    """
    key = _keys.due_key(prefix, conversation_id)
    words = (*_NOW.evalsha, key, conversation_id.encode(), f"{deadline_us:016d}")
    return Query(key, words, lambda reply: None, script=_NOW)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Conversations that are due, and this process's to see to until the lease ends.

    Attributes:
        part: of the index.
        lease_end: in microseconds of the server's clock; it tells this claim from others.
        conversations: their ids, those that are due longest first; what is no text has lone surrogates in it.
    """

    part: int
    lease_end: int
    conversations: tuple[str, ...]


def claim(prefix: str, part: int, lease: float, most: int) -> Query[Claimed]:
    """Take conversations that are due.

    Args:
        prefix: the store's key prefix.
        part: of the index.
        lease: seconds until somebody else may take them.
        most: how many.
    """
    key = _keys.due_part_key(prefix, part)

    def parse(reply: list[bytes]) -> Claimed:
        return Claimed(part, int(reply[0]), tuple(name.decode("utf-8", _FOREIGN) for name in reply[1:]))

    return Query(key, (*_CLAIM.evalsha, key, _us(lease), str(most)), parse, script=_CLAIM)


def settle(prefix: str, claimed: Claimed, verdicts: Sequence[tuple[str, str]]) -> Query[int]:
    """Say when to look at conversations again that were taken.

    Args:
        prefix: the store's key prefix.
        claimed: what was taken.
        verdicts: when (microseconds of the server's clock, or ``DONE``), and which; at least one.

    Returns:
        of the call: for how many that counted, as nobody had touched them since.
    """
    key = _keys.due_part_key(prefix, claimed.part)
    words = [word for when, name in verdicts for word in (when, name.encode("utf-8", _FOREIGN))]
    return Query(key, (*_SETTLE.evalsha, key, str(claimed.lease_end), *words), int, script=_SETTLE)


def all_in(prefix: str, part: int) -> Query[list[str]]:
    """The conversations of a part of the index; without what can name none."""
    key = _keys.due_part_key(prefix, part)
    words = ("ZRANGEBYSCORE", key, "-inf", "+inf")

    def parse(reply: list[bytes]) -> list[str]:
        return [name for raw in reply if _keys.is_id(name := raw.decode("utf-8", _FOREIGN))]

    return Query(key, words, parse)


def count(prefix: str, part: int, until: str = "+inf") -> Query[int]:
    """How many conversations of a part of the index are due by a time."""
    key = _keys.due_part_key(prefix, part)
    return Query(key, ("ZCOUNT", key, "-inf", until), int)


def oldest(prefix: str, part: int) -> Query[int | None]:
    """When the first conversation of a part of the index is due, in microseconds; None where there is none."""
    key = _keys.due_part_key(prefix, part)
    words = ("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES", "LIMIT", "0", "1")
    return Query(key, words, lambda reply: int(float(reply[1])) if reply else None)


def _us(seconds: float) -> str:
    return str(round(seconds * 1_000_000))
