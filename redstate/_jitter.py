"""Chance that spreads load: waits and expiries that would fall together are set apart."""

from __future__ import annotations

import random


def between(low: float, high: float) -> float:
    """A number from ``low`` to ``high``, each as likely."""
    return random.uniform(low, high)  # noqa: S311 - it spreads load, and guards nothing
