"""Chance that spreads load: waits and expiries that would fall together are set apart."""

from __future__ import annotations

import random

# Its own: threads of ours must not disturb who seeds the common one.
_chance = random.Random()  # noqa: S311 - it spreads load, and guards nothing


def between(low: float, high: float) -> float:
    """A number from ``low`` to ``high``, each as likely."""
    return _chance.uniform(low, high)
