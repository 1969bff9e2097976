"""What the two colours of the state have in a form of their own: brackets and views here, awaited methods there."""

from __future__ import annotations

from redstate.live.awaited import AsyncStateBase
from redstate.live.state import LiveState

__all__ = ["AsyncStateBase", "LiveState"]
