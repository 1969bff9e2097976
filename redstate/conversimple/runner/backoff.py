"""How long to wait before a worker that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass, field

from redstate._jitter import between


@dataclass(slots=True)
class Backoff:
    """Pauses that double from one crash to the next, each shortened by chance so that workers do not start in step.

    Attributes:
        first: seconds of the first pause.
        highest: seconds that no pause exceeds.
        steady: seconds that a worker must have been ready for the pauses to begin anew.
    """

    first: float = 0.1
    highest: float = 30.0
    steady: float = 10.0
    _next: float = field(default=0.0, init=False)

    def pause(self, ready_for: float) -> float:
        """Return the seconds to wait now, after a worker that had been ready for ``ready_for`` seconds."""
        if ready_for >= self.steady:
            self._next = 0.0
        pause = min(self._next or self.first, self.highest)
        self._next = pause * 2
        return between(pause / 2, pause)
