"""Conversimple agents whose state lives in Redis or Valkey.

``StatefulAgent`` takes the place of the SDK's ``ConversimpleAgent`` as base class.
"""

from importlib.util import find_spec

from redstate.errors import MissingExtra

if find_spec("conversimple") is None:
    raise MissingExtra(
        "redstate.conversimple needs conversimple-sdk, which is not installed",
        next_step='Install it with: pip install "redstate[conversimple]"',
        extra="conversimple",
    )

from redstate.conversimple.agent import StatefulAgent

__all__ = ["StatefulAgent"]
