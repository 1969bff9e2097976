"""redstate: atomic, shared state in Redis or Valkey for conversational agents that run in many processes."""

from redstate import errors
from redstate._async.cart import AsyncCart
from redstate._async.conversation import AsyncConversation
from redstate._async.state import AsyncState
from redstate._async.store import AsyncStore
from redstate._codec import Limits, register
from redstate._settings import StoreOptions
from redstate._sync.cart import Cart
from redstate._sync.conversation import Conversation
from redstate._sync.state import State
from redstate._sync.store import Store
from redstate.calls.cart import CartLine
from redstate.errors import RedstateError

__version__ = "0.1.0"

__all__ = [
    "AsyncCart",
    "AsyncConversation",
    "AsyncState",
    "AsyncStore",
    "Cart",
    "CartLine",
    "Conversation",
    "Limits",
    "RedstateError",
    "State",
    "Store",
    "StoreOptions",
    "__version__",
    "errors",
    "register",
]
