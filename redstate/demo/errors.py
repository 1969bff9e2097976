"""How a demo fails."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo could not be brought to its end; says why."""
