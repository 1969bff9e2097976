"""A store's settings: defaults, environment, arguments; checked once, where they are given."""

from __future__ import annotations

import inspect
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from redstate import _keys
from redstate._codec import Limits
from redstate._encryption import Encryption
from redstate._named import named_merge
from redstate.calls.cart_limits import CartLimits
from redstate.calls.record import milliseconds
from redstate.errors import ConfigurationError, InvalidTTL

if TYPE_CHECKING:
    from redstate.archive.conversation import Merge
    from redstate.archive.sql import SqlArchive

_LONGEST_TIMEOUT = 3600.0
DEFAULT_STALENESS = 3.0
_SHORTEST_STALENESS, _LONGEST_STALENESS = 0.05, 300.0
_LEAST_BYTES = 65_536
_LONGEST_IDLE = 31_536_000.0


class StoreOptions(TypedDict, total=False):
    """Keyword arguments that every constructor of a store takes; see :class:`Settings` for what they mean."""

    key_prefix: str
    ttl: float
    customer_ttl: float
    timeout: float
    limits: Limits
    cart_limits: CartLimits
    max_in_flight: int
    max_staleness: float
    near_cache_entries: int
    near_cache_bytes: int
    customer_sync: Literal["invalidate", "update"]
    archive: str | os.PathLike[str] | SqlArchive | None
    idle: float
    tombstone_ttl: float
    merge: Merge | None
    encryption: Encryption | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How a store behaves.

    Attributes:
        key_prefix: what every key begins with.
        ttl: seconds that a conversation lives after its last change.
        customer_ttl: seconds that a customer lives after its last change, 90 days by default.
        timeout: seconds that a call may take, retries and reconnection included.
        limits: caps on values and records.
        cart_limits: what a cart may hold; nothing limits it by default.
        max_in_flight: calls that may be under way at once before further ones wait; by default 4,096 in an
            AsyncStore, and 64 in a Store, where each has a connection.
        max_staleness: seconds that a read from local memory may be behind the server, come what may; 0 has every read
            ask the server.
        near_cache_entries: how many records and cached values are kept in local memory.
        near_cache_bytes: about how many bytes these may take.
        customer_sync: what becomes of a customer in local memory when another process changes it: "invalidate" drops
            it, and the next read fetches it; "update" fetches it at once.
        archive: where conversations go when they have ended: a path or URL for a ``SqlArchive``, or one, which is then
            not closed with the store. With it a conversation has no expiry, and stays until a sweeper has archived it;
            ``ttl`` then is the longest ``idle``.
        idle: seconds without a change or a tool call after which a sweeper ends a conversation as abandoned.
        tombstone_ttl: seconds for which changes that come late are refused after a conversation has left for the
            archive; longer than any call of any process may be on its way.
        merge: makes what goes into the profile of an ended conversation's customer.
        encryption: what values are encrypted, and the keys; nothing is by default.
    """

    key_prefix: str = "rs"
    ttl: float = 86_400.0
    customer_ttl: float = 7_776_000.0
    timeout: float = 5.0
    limits: Limits = field(default_factory=Limits)
    cart_limits: CartLimits = field(default_factory=CartLimits)
    max_in_flight: int | None = None
    max_staleness: float = DEFAULT_STALENESS
    near_cache_entries: int = 16_384
    near_cache_bytes: int = 67_108_864
    customer_sync: Literal["invalidate", "update"] = "invalidate"
    archive: str | os.PathLike[str] | SqlArchive | None = None
    idle: float = 1800.0
    tombstone_ttl: float = 60.0
    merge: Merge | None = None
    encryption: Encryption | None = None

    def __post_init__(self) -> None:
        _keys.check_prefix(self.key_prefix)
        try:
            milliseconds(self.ttl)
            milliseconds(self.customer_ttl)
        except InvalidTTL as error:
            raise ConfigurationError(error.message, next_step=InvalidTTL.advice) from None
        check_timeout(self.timeout)
        if not isinstance(self.limits, Limits):
            raise ConfigurationError("limits must be a redstate.Limits", next_step="Pass limits=redstate.Limits(...)")
        check_cart_limits(self.cart_limits)
        flying = self.max_in_flight
        if flying is not None and (type(flying) is not int or flying < 1):
            raise ConfigurationError("max_in_flight must be a positive int", next_step="Pass an int from 1")
        if self.customer_sync not in ("invalidate", "update"):
            raise ConfigurationError('customer_sync must be "invalidate" or "update"')
        if self.encryption is not None and not isinstance(self.encryption, Encryption):
            raise ConfigurationError(
                "encryption must be a redstate.Encryption", next_step="Pass encryption=redstate.Encryption(keys)"
            )
        _check_near_cache(self.max_staleness, self.near_cache_entries, self.near_cache_bytes)
        _check_seconds("idle", self.idle, 0.1)
        _check_seconds("tombstone_ttl", self.tombstone_ttl, 0.001)
        if self.merge is not None and (not callable(self.merge) or inspect.iscoroutinefunction(self.merge)):
            raise ConfigurationError("merge must be a function", next_step="Pass a plain function, not an async one")

    @property
    def longest_idle(self) -> float:
        """Seconds without a sign of use after which a conversation ends, where there is an archive."""
        return min(self.idle, self.ttl)

    @classmethod
    def of(cls, options: StoreOptions) -> Settings:
        """Settings from arguments.

        Raises:
            ConfigurationError: there is no such option, or it cannot work.
        """
        known = StoreOptions.__annotations__
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ConfigurationError(
                f"A store has no option {', '.join(unknown)}", next_step=f"The options are {', '.join(known)}"
            )
        return cls(**options)

    @classmethod
    def from_environment(cls, options: StoreOptions) -> Settings:
        """Settings from arguments; what they leave out comes from the environment.

        REDSTATE_KEY_PREFIX, _TTL, _CUSTOMER_TTL, _TIMEOUT, _MAX_STALENESS, _NEAR_CACHE_ENTRIES, _NEAR_CACHE_BYTES,
        _ARCHIVE, _IDLE, _TOMBSTONE_TTL, _MERGE (the function as ``module:NAME``); _ENCRYPTION_KEYS and
        _ENCRYPTED_FIELDS (:meth:`Encryption.from_environment`).

        Raises:
            ConfigurationError: a variable or an argument cannot work.
            MissingExtra: there are keys, and ``cryptography`` is not installed.
        """
        found: dict[str, Any] = {}
        prefix = os.environ.get("REDSTATE_KEY_PREFIX")
        if prefix:
            found["key_prefix"] = prefix
        archive = os.environ.get("REDSTATE_ARCHIVE")
        if archive:
            found["archive"] = archive
        merge = os.environ.get("REDSTATE_MERGE")
        if merge and "merge" not in options:
            found["merge"] = named_merge(merge)
        for name in ("ttl", "customer_ttl", "timeout", "max_staleness", "idle", "tombstone_ttl"):
            variable = f"REDSTATE_{name.upper()}"
            text = os.environ.get(variable)
            if text:
                found[name] = _seconds(variable, text)
        for name in ("near_cache_entries", "near_cache_bytes"):
            variable = f"REDSTATE_{name.upper()}"
            text = os.environ.get(variable)
            if text:
                found[name] = _whole(variable, text)
        if "encryption" not in options:
            found["encryption"] = Encryption.from_environment()
        return cls.of({**found, **options})  # type: ignore[typeddict-item]  # names of options only


def check_cart_limits(limits: CartLimits) -> CartLimits:
    """The limits, if they are some.

    Raises:
        ConfigurationError: they are something else.
    """
    if not isinstance(limits, CartLimits):
        raise ConfigurationError(
            "cart_limits must be a redstate.CartLimits", next_step="Pass cart_limits=redstate.CartLimits(...)"
        )
    return limits


def check_timeout(timeout: float) -> float:
    """The timeout, if it can be one.

    Raises:
        ConfigurationError: it is no number of seconds from 0.001 to 3600.
    """
    good = isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and math.isfinite(timeout)
    if not good or not 0.001 <= timeout <= _LONGEST_TIMEOUT:
        raise ConfigurationError("timeout must be a number of seconds from 0.001 to 3600")
    return float(timeout)


def _check_near_cache(staleness: float, entries: int, size: int) -> None:
    number = isinstance(staleness, (int, float)) and not isinstance(staleness, bool) and math.isfinite(staleness)
    if not number or (staleness != 0 and not _SHORTEST_STALENESS <= staleness <= _LONGEST_STALENESS):
        raise ConfigurationError(
            "max_staleness must be a number of seconds from 0.05 to 300, or 0",
            next_step="Pass seconds, or 0 to read from the server alone",
        )
    for name, value, least in (("near_cache_entries", entries, 1), ("near_cache_bytes", size, _LEAST_BYTES)):
        if type(value) is not int or value < least:
            raise ConfigurationError(f"{name} must be an int, {least:,} or above")


def _check_seconds(name: str, value: float, least: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not least <= value <= _LONGEST_IDLE:
        raise ConfigurationError(f"{name} must be a number of seconds from {least:g} to {_LONGEST_IDLE:,.0f}")


def _whole(variable: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{variable} must be a whole number") from None


def _seconds(variable: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable} must be a number of seconds") from None
