"""The caps on what one conversation may hold."""

from __future__ import annotations

from dataclasses import dataclass, fields

from redstate.errors import ConfigurationError

DEEPEST = 64
"""The highest max_depth: three JSON levels to each level of a value stay below the 254 that orjson writes."""

WARN_AT = 0.8
"""From this share of a cap in bytes on, the log warns."""

MOST_FIELDS = 3_500
"""The highest max_fields: a script hands names and values to one command, and Lua unpacks at most 7,999 at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps that are checked before anything is sent; exceeding one raises :class:`redstate.errors.TooLarge`.

    Args:
        max_value_bytes: bytes of one encoded value.
        max_depth: containers inside one another in one value, at most 64; a scalar has depth 0, ``[]`` has 1.
        max_items: members of all containers of one value together.
        max_fields: fields of one conversation, at most 3,500.
        max_conversation_bytes: bytes of all fields of one conversation. It is checked when a value of at least a
            1,024th of it is written, so that many small ones can exceed it, by less than as much again.

    Raises:
        ConfigurationError: a cap is no positive int, or above its highest value; its ``setting`` names the cap.
    """

    max_value_bytes: int = 256 * 1024
    max_depth: int = 32
    max_items: int = 10_000
    max_fields: int = 1_000
    max_conversation_bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            cap = getattr(self, field.name)
            if type(cap) is not int or cap < 1:
                raise ConfigurationError(
                    f"{field.name} is no positive int", next_step="Pass an int of at least 1", setting=field.name
                )
        if self.max_fields > MOST_FIELDS:
            raise ConfigurationError(
                "max_fields is too high", next_step=f"Pass an int from 1 to {MOST_FIELDS:,}", setting="max_fields"
            )
        if self.max_depth > DEEPEST:
            raise ConfigurationError(
                "max_depth is too high", next_step=f"Pass an int from 1 to {DEEPEST}", setting="max_depth"
            )
