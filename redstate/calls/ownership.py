"""Calls about who owns a conversation, and whether the owner is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

from redstate import _keys, _scripts
from redstate._call import Query
from redstate.calls.record import ttl_word

_CLAIM = _scripts.load("conversation_claim")
_RELEASE = _scripts.load("conversation_release")
_BEAT = _scripts.load("owner_beat")
_LEAVE = _scripts.load("owner_leave")
_ALIVE = _scripts.load("owner_alive")
_HOLD = _scripts.load("owner_hold")

# How long a word to an owner is kept, in milliseconds; longer than any call may run.
_MAIL_MS = 600_000
# How long it is noted that an owner holds a conversation which itself has no expiry; later notes prolong it.
_NOTED_MS = 604_800_000

Verdict = Literal["new", "taken", "mine", "owned", "ended", "absent"]


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """What became of a claim.

    Attributes:
        verdict: "new": nobody had it; "taken": the owner that is gone had it; "mine": it was this owner's before;
            "owned": another has it; "ended": the conversation is over; "absent": there is no such record.
        token: this owner's fencing token; 0 where it is not the owner.
        owner: the other one; "" where there is none.
    """

    verdict: Verdict
    token: int
    owner: str

    @property
    def won(self) -> bool:
        """Whether the conversation is the claimant's now."""
        return self.token != 0


def claim(
    key: str,
    ttl_ms: int,
    owner: str,
    *,
    gone: str = "",
    comes_back: bool = False,
    ended_field: str = "",
    must_exist: bool = False,
) -> Query[ClaimAnswer]:
    """Claim a conversation. Asking again changes nothing.

    Args:
        key: its record.
        ttl_ms: how long that lives from now on, in milliseconds.
        owner: who claims.
        gone: an owner from whom it may be taken.
        comes_back: whether ``gone`` is who claims, under an earlier name: the token stays.
        ended_field: the hash field that says "done" when the conversation is over.
        must_exist: whether a record that is absent stays so.
    """

    def parse(reply: bytes) -> ClaimAnswer:
        word, _, rest = reply.decode().partition(" ")
        verdict = cast(Verdict, word)
        won = verdict in ("new", "taken", "mine")
        return ClaimAnswer(verdict, int(rest) if won else 0, "" if won else rest)

    words = (
        *_CLAIM.evalsha,
        key,
        ttl_word(ttl_ms),
        owner,
        gone,
        str(int(comes_back)),
        ended_field,
        str(int(must_exist)),
    )
    return Query(key, words, parse, _keys.FENCE, _CLAIM)


def owner_of(key: str) -> Query[str | None]:
    """Who owns a conversation; None where nobody does."""
    return Query(key, ("HGET", key, _keys.OWNER), lambda reply: None if reply is None else reply.decode())


def release(key: str, owner: str) -> Query[bool]:
    """Let go of a conversation. Returns whether it was the owner's."""
    return Query(key, (*_RELEASE.evalsha, key, owner), lambda reply: reply == b"1", script=_RELEASE)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a renewal of leases said.

    Attributes:
        next_end: seconds until the next lease of any owner ends, unless it is renewed; None where there is none.
        lapsed: those of one's own whose lease had ended.
        gone: all owners that are gone, of the last day.
        there: those whose lease runs; empty where they are very many.
    """

    next_end: float | None
    lapsed: tuple[str, ...]
    gone: tuple[str, ...]
    there: tuple[str, ...]


def beat(prefix: str, lease: float, renewed: Iterable[str], joining: Iterable[str]) -> Query[Beat]:
    """Renew leases, and begin those of owners that are new.

    Args:
        prefix: the store's key prefix.
        lease: seconds.
        renewed, joining: the owners.
    """
    key = _keys.owners_key(prefix)
    owners = [f"={one}" for one in renewed] + [f"+{one}" for one in joining]

    def parse(reply: list[bytes]) -> Beat:
        now, end, lapsed, gone, *names = (word.decode() for word in reply)
        next_end = (int(float(end)) - int(now)) / 1_000_000 if end != "0" else None
        first, second = int(lapsed), int(lapsed) + int(gone)
        return Beat(next_end, tuple(names[:first]), tuple(names[first:second]), tuple(names[second:]))

    return Query(key, (*_BEAT.evalsha, key, str(round(lease * 1_000_000)), *owners), parse, script=_BEAT)


def leave(prefix: str, owner: str) -> Query[None]:
    """Say that an owner goes: what it holds is for others from now on."""
    key = _keys.owners_key(prefix)
    return Query(key, (*_LEAVE.evalsha, key, owner), lambda reply: None, script=_LEAVE)


def forget(prefix: str, owner: str) -> Query[None]:
    """Forget an owner that is gone and holds nothing any more."""
    key = _keys.owners_key(prefix)
    return Query(key, ("ZREM", key, owner), lambda reply: None)


def alive(prefix: str, owner: str) -> Query[bool]:
    """Whether the owner's lease runs; once it does not, it never will again."""
    key = _keys.owners_key(prefix)
    return Query(key, (*_ALIVE.evalsha, key, owner), lambda reply: reply == b"1", script=_ALIVE)


def hold(prefix: str, owner: str, ttl_ms: int, conversation_id: str, agent: str) -> Query[None]:
    """Note what an owner is about to claim, for those who come after it.

    Args:
        prefix: the store's key prefix.
        owner: who.
        ttl_ms: how long the note is kept at least, in milliseconds; a week for a record that is kept until archived.
        conversation_id: what.
        agent: the name of the kind of agent that serves it.
    """
    key = _keys.holdings_key(prefix, owner)
    words = (*_HOLD.evalsha, key, str(ttl_ms or _NOTED_MS), conversation_id, agent)
    return Query(key, words, lambda reply: None, script=_HOLD)


def notify(prefix: str, owner: str, conversation_id: str) -> Query[None]:
    """Tell an owner that a tool call of a conversation was left for it in the record."""
    key = _keys.mail_key(prefix, owner)
    words = (*_HOLD.evalsha, key, str(_MAIL_MS), conversation_id, "")
    return Query(key, words, lambda reply: None, script=_HOLD)


def mail(prefix: str, owner: str) -> Query[list[str]]:
    """The conversations that the owner was told of."""
    key = _keys.mail_key(prefix, owner)
    return Query(key, ("HKEYS", key), lambda reply: [one.decode() for one in reply])


def read_mail(prefix: str, owner: str, conversations: Iterable[str]) -> Query[None]:
    """Forget that it was told of them; before it looks, as more may come meanwhile."""
    key = _keys.mail_key(prefix, owner)
    return Query(key, ("HDEL", key, *conversations), lambda reply: None)


def drop(prefix: str, owner: str, conversation_id: str) -> Query[None]:
    """Take back such a note."""
    key = _keys.holdings_key(prefix, owner)
    return Query(key, ("HDEL", key, conversation_id), lambda reply: None)


def drop_all(prefix: str, owner: str) -> Query[None]:
    """Take back all notes of an owner."""
    key = _keys.holdings_key(prefix, owner)
    return Query(key, ("PEXPIRE", key, "0"), lambda reply: None)


def holds(prefix: str, owner: str) -> Query[bool]:
    """Whether there is any such note."""
    key = _keys.holdings_key(prefix, owner)
    return Query(key, ("HLEN", key), lambda reply: int(reply) > 0)


def holdings(prefix: str, owner: str) -> Query[dict[str, str]]:
    """What an owner holds: conversations, each with the kind of agent that serves it."""
    key = _keys.holdings_key(prefix, owner)

    def parse(reply: list[bytes]) -> dict[str, str]:
        words = [word.decode() for word in reply]
        return dict(zip(words[::2], words[1::2], strict=True))

    return Query(key, ("HGETALL", key), parse)
