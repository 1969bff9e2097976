"""Calls on the cache: entries, the lease of the one who loads, and the marks by which a tag invalidates.

An entry carries, for each of its tags, the mark that the tag had before its load began. Invalidating a tag takes the
mark away, and the next load under that tag makes a new one: an entry is valid while its marks are the ones in force.
Equality of random marks judges, no clock; and a tag that the server dropped can only make entries invalid, never valid.

Everything here may be repeated freely when a reply is lost: the scripts say why, each for itself.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, ParamSpec, TypeVar

from redstate import _keys, _scripts
from redstate._call import Query
from redstate._codec import Codec
from redstate.calls.functions import checked_function as checked_callable
from redstate.errors import CorruptState, InvalidInput, InvalidTTL, UnsupportedValue

T = TypeVar("T")
P = ParamSpec("P")
Loader = Callable[[], T]
AsyncLoader = Callable[[], Awaitable[T]]
Function = Callable[P, T]
AsyncFunction = Callable[P, Awaitable[T]]

_GET = _scripts.load("cache_get")
_CLAIM = _scripts.load("cache_claim")
_STORE = _scripts.load("cache_store")
_SET = _scripts.load("cache_set")
_RELEASE = _scripts.load("cache_release")
_MARK = _scripts.load("cache_mark")
_DROP = _scripts.load("cache_drop")

DEFAULT_TTL = 300.0
SPREAD = 0.1
MAX_TAGS = 16
AWAITED, PLAIN = True, False
_NEGATIVE_TTL = 30.0
_LONGEST_TTL, _LONGEST_LEASE = 315_360_000.0, 3_600.0
_VALUE, _ID, _MARK_FIELD = "v", "i", "m"
_KEPT_BYTES = 500  # beside the value itself
_FIELDS = (_VALUE, _ID, "t", "u", "k", "n", "l")
_TAGGED = re.compile(r"([0-9a-f]{32})([!-:<-~]+)")


class Absent(Enum):
    """The type of ``redstate.ABSENT``, which tells "nothing is cached" from a cached None.

    Pass it as the default: ``cache.get(key, redstate.ABSENT) is redstate.ABSENT``.
    """

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "redstate.ABSENT"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Terms:
    """How an entry is loaded and kept, validated: spans in milliseconds, the keys of its tags."""

    fresh_ms: int
    stale_ms: int
    negative_ms: int
    lease_ms: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, still encoded; ``marks`` are pairs of a tag's key and the mark it had when the load began."""

    id: str
    marks: tuple[tuple[str, str], ...]
    value: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, and the seconds for which it stays fresh by the server's clock."""

    entry: Entry
    fresh: float


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought: an entry to use; else the lease (``wait_ms`` 0), or how long that of another still runs."""

    found: Found | None
    wait_ms: int = 0

    @property
    def entry(self) -> Entry | None:
        """The entry to use."""
        return None if self.found is None else self.found.entry


class Kept:
    """An entry of the cache in local memory, or the mark of a tag. Entries have no versions: a change drops them.

    Attributes:
        what: the entry, or the mark.
        since: when it was asked for, on this process's clock.
        until: when it will no longer be fresh, on the same clock.
    """

    __slots__ = ("since", "size", "until", "what")

    version = 0

    def __init__(self, what: Entry | bytes, since: float, until: float) -> None:
        self.what = what
        self.since = since
        self.until = until
        self.size = _KEPT_BYTES + len(what if isinstance(what, bytes) else what.value)

    def audit(self, key: str) -> tuple[str, ...]:
        """The command that reads what tells whether it is in force."""
        return ("HGET", key, _MARK_FIELD if isinstance(self.what, bytes) else _ID)

    def agrees(self, found: bytes | None) -> bool:
        """Whether the server's answer is what is kept."""
        return found == (self.what if isinstance(self.what, bytes) else self.what.id.encode())


def terms(
    prefix: str,
    ttl: float | None,
    tags: Iterable[str],
    stale: float = 0.0,
    negative_ttl: float | None = None,
    lease: float = 10.0,
) -> Terms:
    """The terms of an entry.

    Raises:
        InvalidTTL: a span is no usable number of seconds.
        InvalidInput, InvalidId: the tags are no collection of at most 16 names.
    """
    ttl = DEFAULT_TTL if ttl is None else ttl
    fresh_ms = _milliseconds("ttl", ttl)
    return Terms(
        fresh_ms=fresh_ms,
        stale_ms=_milliseconds("stale", stale, least=0.0),
        negative_ms=min(fresh_ms, round(_NEGATIVE_TTL * 1000))
        if negative_ttl is None
        else _milliseconds("negative_ttl", negative_ttl, least=0.0),
        lease_ms=_milliseconds("lease", lease, most=_LONGEST_LEASE),
        tags=_tag_keys(prefix, tags),
    )


def _milliseconds(name: str, seconds: float, *, least: float = 0.001, most: float = _LONGEST_TTL) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidTTL(f"{name} must be a number of seconds, not {type(seconds).__name__}")
    if not math.isfinite(seconds) or not least <= seconds <= most:
        raise InvalidTTL(f"{name} is out of range", next_step=f"Pass a number of seconds from {least:g} to {most:,.0f}")
    return round(seconds * 1000)


def _tag_keys(prefix: str, tags: Iterable[str]) -> tuple[str, ...]:
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        raise InvalidInput(
            f"tags must be a collection of names, not {type(tags).__name__}", next_step='Pass tags=("name",)'
        )
    keys = tuple(dict.fromkeys(_keys.tag_key(prefix, tag) for tag in tags))
    if len(keys) > MAX_TAGS:
        raise InvalidInput(f"{len(keys)} tags are too many", next_step=f"Use at most {MAX_TAGS} on one entry")
    return keys


def spread(ttl_ms: int, share: float) -> int:
    """An expiry of 90 to 100 % of ``ttl_ms``, for a ``share`` from 0 to 1: what was made together ends apart."""
    return max(1, round(ttl_ms * (1 - SPREAD * share)))


def get(key: str) -> Query[Found | None]:
    """The fresh entry, if there is one."""

    def parse(reply: bytes) -> Found | None:
        return None if reply == b"0" else _found(key, reply)

    return Query(key, (*_GET.evalsha, key), parse, _VALUE, _GET)


def claim(key: str, token: str, lease_ms: int, rejected: str) -> Query[Claim]:
    """The entry, or the right to load it, or how long to wait for the one who does.

    Args:
        token: names this load; unguessable, used once.
        rejected: the id of an entry whose marks are no longer in force; "" for none.
    """

    def parse(reply: bytes) -> Claim:
        if reply == b"3":
            return Claim(None)
        if reply.startswith(b"4 "):
            return Claim(None, int(reply[2:]))
        return Claim(_found(key, reply))

    return Query(key, (*_CLAIM.evalsha, key, token, str(lease_ms), rejected), parse, _VALUE, _CLAIM)


def store(
    codec: Codec, key: str, token: str, value: Any, fresh_ms: int, stale_ms: int, marks: Mapping[str, str]
) -> Query[bool]:
    """Keep what was loaded under the lease of ``token``. Returns whether it was still in force."""
    words = (*_STORE.evalsha, key, *_written(codec.bound_to(key), token, value, fresh_ms, stale_ms, marks))
    return Query(key, words, lambda reply: int(reply) == 1, script=_STORE)


def assign(codec: Codec, key: str, token: str, value: Any, fresh_ms: int, marks: Mapping[str, str]) -> Query[None]:
    """Set the entry, whatever was there; ``token`` becomes its id."""
    words = (*_SET.evalsha, key, *_written(codec.bound_to(key), token, value, fresh_ms, 0, marks))
    return Query(key, words, lambda reply: None, script=_SET)


def _written(
    codec: Codec, token: str, value: Any, fresh_ms: int, stale_ms: int, marks: Mapping[str, str]
) -> tuple[str, bytes, str, str, str]:
    tagged = ";".join(mark + tag for tag, mark in marks.items())
    return token, codec.encode(value, "value", field=_VALUE), str(fresh_ms), str(stale_ms), tagged


def release(key: str, token: str) -> Query[bool]:
    """Give the lease back. Returns whether it was still held."""
    return Query(key, (*_RELEASE.evalsha, key, token), lambda reply: int(reply) == 1, script=_RELEASE)


def delete(key: str) -> Query[None]:
    """Take the entry out, with the lease of a load under way: what that load brings will not be kept."""
    return Query(key, (*_DROP.evalsha, key, *_FIELDS), lambda reply: None, script=_DROP)


def new_mark(tag: str, mark: str, life_ms: int) -> Query[str]:
    """The mark of a tag in force, which is ``mark`` where it had none."""
    words = (*_MARK.evalsha, tag, mark, str(life_ms))
    return Query(tag, words, lambda reply: reply.decode("ascii"), _MARK_FIELD, _MARK)


def mark_in_force(tag: str) -> Query[bytes | None]:
    """The mark of a tag; None where it has none."""
    return Query(tag, ("HGET", tag, _MARK_FIELD), lambda reply: reply)


def invalidate_tag(prefix: str, tag: str) -> Query[None]:
    """Take the tag's mark away: no entry that carries it is valid any more."""
    key = _keys.tag_key(prefix, tag)
    return Query(key, (*_DROP.evalsha, key, _MARK_FIELD), lambda reply: None, script=_DROP)


def decoded(codec: Codec, key: str, entry: Entry) -> Any:
    """The value of an entry, as a fresh copy."""
    return codec.decode(entry.value, key=key, field=_VALUE)


def _found(key: str, reply: bytes) -> Found:
    _, fresh_us, entry_id, tagged, value = reply.split(b" ", 4)
    marks = []
    for part in tagged.decode("latin-1").split(";") if tagged else ():
        found = _TAGGED.fullmatch(part)
        if found is None:
            raise CorruptState(f"The tags of {key} are none that redstate wrote", key=key, field="t")
        marks.append((found[2], found[1]))
    return Found(Entry(entry_id.decode("ascii"), tuple(marks), value), int(fresh_us) / 1_000_000)


def checked_loader(loader: Any, awaited: bool) -> None:
    """Refuses what the store's colour cannot call.

    Raises:
        InvalidInput: it is no function, or an async one in a blocking store.
    """
    checked_callable("A loader", loader, awaited)


def checked_function(function: Any, awaited: bool) -> None:
    """Refuses to decorate what the store's colour cannot call.

    Raises:
        InvalidInput: it is no function, or not of the store's colour.
    """
    checked_loader(function, awaited)
    if awaited and not inspect.iscoroutinefunction(function):
        raise InvalidInput("An AsyncStore caches async functions", next_step="Use a Store, or an async function")


def key_maker(
    codec: Codec, prefix: str, function: Callable[..., Any], key: str | Callable[..., str] | None
) -> Callable[[tuple[Any, ...], dict[str, Any]], str]:
    """What makes the cache key of a call from its arguments.

    Args:
        key: a function of the same arguments that returns the whole key; or a name in place of the function's own.

    Raises:
        InvalidInput, InvalidId: it is neither, or the name is too long.
    """
    if callable(key):
        chosen = key
        return lambda args, named: chosen(*args, **named)
    if key is not None and type(key) is not str:
        raise InvalidInput(f"key must be a name or a function, not {type(key).__name__}")
    name = f"{function.__module__}.{function.__qualname__}" if key is None else key
    signature = inspect.signature(function)

    def make(args: tuple[Any, ...], named: dict[str, Any]) -> str:
        bound = signature.bind(*args, **named)
        bound.apply_defaults()
        # f(1), f(x=1) and a default of 1 are one call; the order of keywords says nothing.
        try:
            given = [_in_order(codec, one) for one in (list(bound.args), sorted(bound.kwargs.items()))]
            arguments = codec.encode(given, f"{name}()", field="")
        except UnsupportedValue as error:
            if next(iter(signature.parameters), "") not in ("self", "cls"):
                raise
            raise _of_a_method(error) from None
        return f"{name}:{hashlib.blake2b(arguments, digest_size=20).hexdigest()}"

    _keys.cache_key(prefix, f"{name or '?' * 512}:{'0' * 40}")
    return make


def _in_order(codec: Codec, value: Any) -> Any:
    """An argument with its sets and dicts in an order that is the same in every process."""
    kind = type(value)
    if kind in (set, frozenset):
        return (kind.__name__, sorted(codec.encode(_in_order(codec, one), "item", field="") for one in value))
    if kind is dict:
        pairs = [
            (codec.encode(_in_order(codec, key), "key", field=""), _in_order(codec, one)) for key, one in value.items()
        ]
        return ("dict", sorted(pairs, key=lambda pair: pair[0]))
    if kind in (list, tuple):
        return kind(_in_order(codec, one) for one in value)
    return value


def _of_a_method(error: UnsupportedValue) -> UnsupportedValue:
    """What to say where the first argument is the object that a method belongs to."""
    return UnsupportedValue(
        f"{error.message}. Of a method, the object itself (self) is part of the key",
        next_step="Pass key=, a function that makes the key without self, or decorate the bound method of an object",
        path=error.path,
        value_type=error.value_type,
    )
