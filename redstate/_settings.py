"""A store's settings: defaults, environment, arguments; checked once, where they are given."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, TypedDict

from redstate import _keys
from redstate._codec import Limits
from redstate.calls.cart_limits import CartLimits
from redstate.calls.record import milliseconds
from redstate.errors import ConfigurationError, InvalidTTL

_LONGEST_TIMEOUT = 3600.0


class StoreOptions(TypedDict, total=False):
    """Keyword arguments that every constructor of a store takes; see :class:`Settings` for what they mean."""

    key_prefix: str
    ttl: float
    customer_ttl: float
    timeout: float
    limits: Limits
    cart_limits: CartLimits
    max_in_flight: int


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
    """

    key_prefix: str = "rs"
    ttl: float = 86_400.0
    customer_ttl: float = 7_776_000.0
    timeout: float = 5.0
    limits: Limits = field(default_factory=Limits)
    cart_limits: CartLimits = field(default_factory=CartLimits)
    max_in_flight: int | None = None

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
        """Settings from arguments; REDSTATE_KEY_PREFIX, _TTL, _CUSTOMER_TTL and _TIMEOUT fill in what they leave out.

        Raises:
            ConfigurationError: a variable or an argument cannot work.
        """
        found: dict[str, Any] = {}
        prefix = os.environ.get("REDSTATE_KEY_PREFIX")
        if prefix:
            found["key_prefix"] = prefix
        for name in ("ttl", "customer_ttl", "timeout"):
            variable = f"REDSTATE_{name.upper()}"
            text = os.environ.get(variable)
            if text:
                found[name] = _seconds(variable, text)
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


def _seconds(variable: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable} must be a number of seconds") from None
