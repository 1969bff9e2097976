"""redstate: atomic, shared state in Redis or Valkey for conversational agents that run in many processes."""

from redstate import errors
from redstate._async.archive import AsyncArchive
from redstate._async.cache import AsyncCache, AsyncCachedFunction
from redstate._async.cart import AsyncCart
from redstate._async.conversation import AsyncConversation
from redstate._async.customer import AsyncCustomer
from redstate._async.session import AsyncSession
from redstate._async.state import AsyncState
from redstate._async.store import AsyncStore
from redstate._async.typed import AsyncTypedConversation
from redstate._async.workflow import AsyncWorkflowRun
from redstate._codec import Limits, register
from redstate._encryption import Encryption
from redstate._settings import StoreOptions
from redstate._sync.archive import Archive
from redstate._sync.cache import Cache, CachedFunction
from redstate._sync.cart import Cart
from redstate._sync.conversation import Conversation
from redstate._sync.customer import Customer
from redstate._sync.session import Session
from redstate._sync.state import State
from redstate._sync.store import Store
from redstate._sync.typed import TypedConversation
from redstate._sync.workflow import WorkflowRun
from redstate.archive.backlog import Backlog
from redstate.archive.conversation import EndedConversation
from redstate.archive.dossier import CustomerErasure, CustomerExport
from redstate.archive.interface import ArchivedConversation
from redstate.calls.cache import ABSENT
from redstate.calls.cart_limits import CartLimits
from redstate.calls.cart_lines import CartLine
from redstate.calls.cart_order import Order
from redstate.calls.customer import CustomerChange, CustomerConversation, CustomerEvent, CustomerWatch
from redstate.calls.session import SessionUser
from redstate.calls.state import UNCACHED
from redstate.calls.workflow import Transition, WorkflowStatus
from redstate.errors import RedstateError
from redstate.nearcache.shared import NearCache
from redstate.nearcache.stats import NearCacheStats
from redstate.results import errors_as_result
from redstate.schema import Schema
from redstate.workflow.definition import Guard, Step, Workflow

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "UNCACHED",
    "Archive",
    "ArchivedConversation",
    "AsyncArchive",
    "AsyncCache",
    "AsyncCachedFunction",
    "AsyncCart",
    "AsyncConversation",
    "AsyncCustomer",
    "AsyncSession",
    "AsyncState",
    "AsyncStore",
    "AsyncTypedConversation",
    "AsyncWorkflowRun",
    "Backlog",
    "Cache",
    "CachedFunction",
    "Cart",
    "CartLimits",
    "CartLine",
    "Conversation",
    "Customer",
    "CustomerChange",
    "CustomerConversation",
    "CustomerErasure",
    "CustomerEvent",
    "CustomerExport",
    "CustomerWatch",
    "Encryption",
    "EndedConversation",
    "Guard",
    "Limits",
    "NearCache",
    "NearCacheStats",
    "Order",
    "RedstateError",
    "Schema",
    "Session",
    "SessionUser",
    "State",
    "Step",
    "Store",
    "StoreOptions",
    "Transition",
    "TypedConversation",
    "Workflow",
    "WorkflowRun",
    "WorkflowStatus",
    "__version__",
    "errors",
    "errors_as_result",
    "register",
]
