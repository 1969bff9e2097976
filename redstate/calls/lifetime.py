"""Calls on the life of a conversation: how it begins, ends, leaves for the archive and comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from redstate import _keys, _scripts
from redstate._call import Mutation, Query, Word, version_of
from redstate.calls.customer import Span
from redstate.calls.record import DELETED_WINDOW_MS, corrupt_field, ttl_word
from redstate.errors import InvalidInput

_BEGIN = _scripts.load("conversation_begin")
_END = _scripts.load("conversation_end")
_MERGED = _scripts.load("conversation_merged")
_COLLECT = _scripts.load("conversation_collect")
_ARCHIVED = _scripts.load("conversation_archived")
_ERASE = _scripts.load("conversation_erase")
_FORGOTTEN = _scripts.load("conversation_forgotten")
_REOPEN = _scripts.load("conversation_reopen")
_RESTORE = _scripts.load("conversation_restore")

_LONGEST_REASON = 64


Begun = Literal["begun", "there", "ended", "absent", "unkept"]


def begin(key: str, deadline_us: int, customer_id: str = "") -> Query[Begun]:
    """Begin a conversation that is kept until it is archived.

    Args:
        key: its record.
        deadline_us: until when it may begin, in microseconds of the server's clock; 0 begins nothing, and tells only
            whether there is one.
        customer_id: whose it is; "" where that is not known.

    Returns:
        of the call: "begun"; "there" already; "ended"; where nothing may begin: "absent", or "unkept", which is there
        but has an expiry.
    """
    words = (*_BEGIN.evalsha, key, str(deadline_us), customer_id.encode())
    return Query(key, words, lambda reply: cast(Begun, reply.decode()), script=_BEGIN)


def end(key: str, reason: str, customer_id: str = "") -> Mutation[int]:
    """End a conversation. Returns its version then.

    Args:
        key: its record.
        reason: why, a word of 1 to 64 letters, digits, dashes and underscores.
        customer_id: whose it is; "" where that is not known.
    """
    plain = type(reason) is str and reason.isascii() and reason.replace("_", "").replace("-", "").isalnum()
    if not plain or len(reason) > _LONGEST_REASON:
        raise InvalidInput("The reason cannot be used", next_step="Pass a word of at most 64 letters, such as 'hangup'")
    return Mutation(_END, key, (reason, customer_id.encode()), version_of)


def ended(key: str) -> Query[bool]:
    """Whether a conversation has ended."""
    return Query(key, ("HEXISTS", key, _keys.ENDED), lambda reply: reply == 1)


def merged(key: str, ended_us: int) -> Query[None]:
    """Note that a conversation is in its customer's profile as it ended at that time."""
    return Query(key, (*_MERGED.evalsha, key, f"{ended_us:016d}"), lambda reply: None, script=_MERGED)


def customer_of(key: str) -> Query[tuple[bytes | None, bytes | None]]:
    """Whose a conversation is: the id that it was begun or ended for, and its state's ``customer_id``, encoded."""
    fields = _keys.CUSTOMER, _keys.state_field("customer_id")
    return Query(key, ("HMGET", key, *fields), lambda reply: (reply[0], reply[1]))


@dataclass(frozen=True, slots=True)
class Belonging:
    """Whose a conversation is, and which part of its life there is to merge into that customer's profile.

    Attributes:
        given: the id that it was begun or ended for.
        stated: its state's ``customer_id``, encoded.
        ended_us: when it ended, in microseconds of the server's clock; None while it has not.
        span: the part.
    """

    given: bytes | None
    stated: bytes | None
    ended_us: int | None
    span: Span


_BELONGING = tuple(
    name.encode()
    for name in (
        *(_keys.CUSTOMER, _keys.STATE + "customer_id", _keys.VERSION, _keys.DELETED),
        *(_keys.ENDED, _keys.BEGUN, _keys.RESUMED),
    )
)


def belonging(key: str) -> Query[Belonging | None]:
    """As ``belonging_of``, of what is in the store."""

    def parse(reply: list[bytes | None]) -> Belonging | None:
        found = zip(_BELONGING, reply, strict=True)
        return belonging_of(key, {name: value for name, value in found if value is not None})

    return Query(key, ("HMGET", key, *_BELONGING), parse, _keys.VERSION)


def belonging_of(key: str, fields: Mapping[bytes, bytes]) -> Belonging | None:
    """What there is to merge of a conversation, from its record; None where it is not here, or not any more.

    Raises:
        CorruptState: the record holds what redstate did not write.
    """
    if b"v" not in fields or fields[b"v"] == fields.get(b"d"):
        return None
    span = span_of(key, fields)
    return Belonging(fields.get(b"g"), fields.get(b"scustomer_id"), span.until if b"x" in fields else None, span)


def span_of(key: str, fields: Mapping[bytes, bytes]) -> Span:
    """The part of a conversation's life since it was begun or resumed last, or deleted, from its record.

    Raises:
        CorruptState: the record holds what redstate did not write.
    """
    until = _time(key, _keys.ENDED, fields[b"x"][:16] if b"x" in fields else fields[b"v"])
    starts = (_keys.BEGUN, _keys.RESUMED, _keys.DELETED)
    return Span(since=max(_time(key, name, fields.get(name.encode(), b"0")) for name in starts), until=until)


def present(key: str) -> Query[bool]:
    """Whether there is a conversation, if only one that has just begun; not what is left of one."""

    def parse(reply: list[bytes | None]) -> bool:
        version, deleted, begun = reply
        return version is not None and (version != deleted or version == begun)

    return Query(key, ("HMGET", key, _keys.VERSION, _keys.DELETED, _keys.BEGUN), parse, _keys.VERSION)


def remains(key: str) -> Query[bool]:
    """Whether there is anything of a conversation but the tombstone that archiving or erasing leaves."""

    def parse(reply: list[bytes | None]) -> bool:
        version, deleted, fence = reply
        return version is not None and not (version == deleted and (fence or b"").startswith(b"~"))

    return Query(key, ("HMGET", key, _keys.VERSION, _keys.DELETED, _keys.FENCE), parse, _keys.VERSION)


def ended_at(key: str) -> Query[int | None]:
    """When a conversation has ended, in microseconds; None where it has not, or has left for the archive."""

    def parse(reply: list[bytes | None]) -> int | None:
        ended, version, deleted = reply
        return None if ended is None or version == deleted else int(ended[:16])

    return Query(key, ("HMGET", key, _keys.ENDED, _keys.VERSION, _keys.DELETED), parse, _keys.ENDED)


def is_ended(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a record is an ended conversation's that has not left."""
    version, fence = fields.get(b"v"), fields.get(b"f", b"")
    closed = len(fence) == 17 and fence[:1] == b"~" and fence[1:].isdigit()
    return closed and b"x" in fields and version not in (None, fields.get(b"d"))


Verdict = Literal["take", "later", "gone", "erased", "deleted"]


@dataclass(frozen=True, slots=True)
class Look:
    """What is due of a conversation.

    Attributes:
        verdict: "take": its record is for the archive; "later": look again then; "gone": there is nothing of it;
            "erased", "deleted": nothing of it may be left in the archive.
        when: microseconds of the server's clock: of "later", when to look again; else, when it was looked at.
        fields: what ``purge_of`` needs.
    """

    verdict: Verdict
    when: int
    fields: dict[bytes, bytes]


def collect(key: str, idle: float) -> Query[Look]:
    """Look at a conversation; one that was silent for ``idle`` seconds is ended as "abandoned"."""

    def parse(reply: list[bytes]) -> Look:
        verdict = cast(Verdict, reply[0].decode())
        return Look(verdict, int(reply[1]), dict(zip(reply[2::2], reply[3::2], strict=True)))

    return Query(key, (*_COLLECT.evalsha, key, str(round(idle * 1_000_000))), parse, _keys.VERSION, _COLLECT)


@dataclass(frozen=True, slots=True)
class Purge:
    """What must not stay in the archive of a conversation that was erased or deleted.

    Attributes:
        version: of what was left of it in the store.
        at_us: when that was, in microseconds of the server's clock.
        deleted: whether it was deleted, and may have been begun anew in the same record since.
        customer_ids: whose lives must go, if not everybody's.
        created_us: when the life that was erased began, if that is known; it goes in any case.
    """

    version: int
    at_us: int
    deleted: bool = False
    customer_ids: tuple[str, ...] = ()
    created_us: int | None = None


def purge_of(key: str, look: Look) -> Purge | None:
    """What a look says must not stay in the archive; None where nothing was erased or deleted.

    Raises:
        CorruptState: the record holds what redstate did not write.
    """
    deleted = look.fields.get(b"D")
    if deleted is not None:
        version = _time(key, _keys.PURGED, deleted)
        return Purge(version, version, deleted=True)
    if look.verdict != "erased":
        return None
    begun = look.fields[b"b"]
    return Purge(
        version=_time(key, _keys.VERSION, look.fields[b"v"]),
        at_us=_time(key, _keys.ENDED, look.fields[b"x"][:16]),
        customer_ids=tuple(_customers(key, look.fields[b"G"])),
        created_us=_time(key, _keys.BEGUN, begun) if begun else None,
    )


def _customers(key: str, packed: bytes) -> Iterator[str]:
    """The ids in an erased conversation's tombstone, each behind its size."""
    while packed:
        size, _, rest = packed.partition(b":")
        length = _time(key, _keys.ERASED_FOR, size)
        if not 0 < length <= len(rest):
            raise corrupt_field(key, _keys.ERASED_FOR)
        yield rest[:length].decode("utf-8", "replace")
        packed = rest[length:]


def _time(key: str, field: str, text: bytes) -> int:
    if not text.isdigit() or len(text) > 16:
        raise corrupt_field(key, field)
    return int(text)


def archived(key: str, version: int, window: float) -> Query[bool]:
    """Take a conversation out of the store whose ``version`` is in the archive. Returns whether that was its last.

    Args:
        key: its record.
        version: what was archived.
        window: for how many seconds late changes are refused, instead of beginning it anew.
    """
    words = (*_ARCHIVED.evalsha, key, f"{version:016d}", str(round(window * 1000)))
    return Query(key, words, lambda reply: reply == b"1", script=_ARCHIVED)


def erase(key: str, deadline_us: int, customer_id: str = "", token: int | None = None) -> Query[int | bool]:
    """Take a conversation out of the store for good.

    Args:
        key: its record.
        deadline_us: until when that may be done, in microseconds of the server's clock; what is left of it then stays
            until an archiver has seen to the archive. 0 without an archive: it stays for ten minutes.
        customer_id: whose it is, if what is another's shall stay in the archive; "" for all that has its id.
        token: of the owner that wants it; None for whoever may.

    Returns:
        of the call: whether there was one; the token of a newer owner, where nothing was done.
    """
    may = "~" if token is None else f"{token:016d}"
    words = (*_ERASE.evalsha, key, str(DELETED_WINDOW_MS), str(deadline_us), customer_id.encode(), may)

    def parse(reply: bytes) -> int | bool:
        return int(reply[7:]) if reply.startswith(b"fenced ") else reply == b"erased"

    return Query(key, words, parse, script=_ERASE)


def forgotten(key: str, version: int, window_ms: int) -> Query[None]:
    """Let what is left of an erased or deleted conversation expire: nothing of it is in the archive any more.

    Args:
        key: its record.
        version: at which it was erased or deleted.
        window_ms: for how many milliseconds it stays.
    """
    words = (*_FORGOTTEN.evalsha, key, f"{version:016d}", str(window_ms))
    return Query(key, words, lambda reply: None, script=_FORGOTTEN)


Reopened = Literal["reopened", "open", "absent", "archived", "erased", "deleted"]


def reopen(key: str, ttl_ms: int) -> Query[Reopened]:
    """Let an ended conversation go on that has not left the store."""
    words = (*_REOPEN.evalsha, key, ttl_word(ttl_ms))
    return Query(key, words, lambda reply: cast(Reopened, reply.decode()), script=_REOPEN)


def restore(
    key: str, ttl_ms: int, deadline_us: int, version: int, fields: Mapping[bytes, bytes]
) -> Query[Literal["restored", "open", "erased", "deleted", "stale"]]:
    """Put a conversation back that was archived, unless there is one.

    Args:
        key: its record.
        ttl_ms: how long it lives after that.
        deadline_us: until when that may be done, in microseconds of the server's clock.
        version: the archived one.
        fields: of the record; at least one.
    """
    pairs: list[Word] = [word for pair in fields.items() for word in pair]
    words: tuple[Word, ...] = (*_RESTORE.evalsha, key, ttl_word(ttl_ms), str(deadline_us), f"{version:016d}", *pairs)
    return Query(key, words, lambda reply: reply.decode(), script=_RESTORE)
