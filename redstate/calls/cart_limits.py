"""Limits of a cart. They are judged inside the scripts, in the same moment as the change."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from redstate.errors import ConfigurationError

MAX_QUANTITY = 1_000_000_000
"""The most pieces of one line, whatever the limits."""


@dataclass(frozen=True, slots=True)
class CartLimits:
    """What a cart may hold; a change that would exceed it raises :class:`redstate.errors.CartLimit`.

    A limit that is None (the default) is none: then a line holds at most 1,000,000,000 pieces, and lines count towards
    ``Limits.max_fields``. Taking pieces away is never refused, as a limit can come to lie below what a cart holds.

    Args:
        max_lines: lines of the cart.
        max_quantity: pieces of one line.
        max_pieces: pieces of the whole cart. Judging it looks at every line of the cart, max_lines at each new one.

    Raises:
        ConfigurationError: a limit is no positive int; its ``setting`` names it.
    """

    max_lines: int | None = None
    max_quantity: int | None = None
    max_pieces: int | None = None
    words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words: tuple[str, ...] = ()
        for limit in fields(self):
            value = getattr(self, limit.name) if limit.init else None
            if value is None:
                continue
            if type(value) is not int or value < 1:
                raise ConfigurationError(
                    f"{limit.name} is no positive int",
                    next_step="Pass an int of at least 1, or None",
                    setting=limit.name,
                )
            words += (limit.name, str(value))
        # What is sent to the scripts; made once, as every change of a cart sends it.
        object.__setattr__(self, "words", words)
