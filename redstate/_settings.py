"""A store's settings: defaults, environment, arguments; checked once, where they are given."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, TypedDict

from redstate import _keys
from redstate._codec import Limits
from redstate.calls.record import milliseconds
from redstate.errors import ConfigurationError, InvalidTTL

_LONGEST_TIMEOUT = 3600.0


class StoreOptions(TypedDict, total=False):
    """Keyword arguments that every constructor of a store takes; see :class:`Settings` for what they mean."""

    key_prefix: str
    ttl: float
    timeout: float
    limits: Limits
    max_in_flight: int


@dataclass(frozen=True, slots=True)
class Settings:
    """How a store behaves.

    Attributes:
        key_prefix: what every key begins with.
        ttl: seconds that a conversation lives after its last change.
        timeout: seconds that a call may take, retries and reconnection included.
        limits: caps on values and records.
        max_in_flight: calls that may be under way at once before further ones wait; by default 4,096 in an
            AsyncStore, and 64 in a Store, where each has a connection.
    """

    key_prefix: str = "rs"
    ttl: float = 86_400.0
    timeout: float = 5.0
    limits: Limits = field(default_factory=Limits)
    max_in_flight: int | None = None

    def __post_init__(self) -> None:
        _keys.check_prefix(self.key_prefix)
        try:
            milliseconds(self.ttl)
        except InvalidTTL as error:
            raise ConfigurationError(error.message, next_step=InvalidTTL.advice) from None
        check_timeout(self.timeout)
        if not isinstance(self.limits, Limits):
            raise ConfigurationError("limits must be a redstate.Limits", next_step="Pass limits=redstate.Limits(...)")
        flying = self.max_in_flight
        if flying is not None and (type(flying) is not int or flying < 1):
            raise ConfigurationError("max_in_flight must be a positive int", next_step="Pass an int from 1")

    @classmethod
    def from_environment(cls, options: StoreOptions) -> Settings:
        """Settings from arguments; REDSTATE_KEY_PREFIX, REDSTATE_TTL and REDSTATE_TIMEOUT fill in what they leave out.

        Raises:
            ConfigurationError: a variable or an argument cannot work.
        """
        found: dict[str, Any] = {}
        prefix = os.environ.get("REDSTATE_KEY_PREFIX")
        if prefix:
            found["key_prefix"] = prefix
        for name in ("ttl", "timeout"):
            variable = f"REDSTATE_{name.upper()}"
            text = os.environ.get(variable)
            if text:
                found[name] = _seconds(variable, text)
        return cls(**{**found, **options})


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
