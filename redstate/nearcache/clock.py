"""The clock by which copies age."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

# It goes on while the machine sleeps, as the monotonic clock of Linux does not; reading it is no system call either.
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)

clock: Callable[[], float] = time.monotonic if _BOOT is None else functools.partial(time.clock_gettime, _BOOT)
"""Seconds since some moment in the past; only differences mean anything."""
