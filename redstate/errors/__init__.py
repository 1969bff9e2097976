"""Every error that redstate raises, in one tree. Each carries data about what happened and says what to do next.

RedstateError
├── InvalidInput (ValueError)      refused before anything was sent
│   ├── InvalidId                  an id that is empty, too long or no text
│   ├── InvalidField               a state field or sku that is empty, too long or no text
│   ├── InvalidQuantity            a quantity that is no positive whole number
│   ├── InvalidPrice               a price that is no finite, non-negative number
│   ├── InvalidTTL                 an expiry that is no positive number of seconds
│   ├── InvalidValue               a value that the schema or the workflow does not take; names the path inside it
│   ├── UnsupportedValue           a value that cannot be stored; names the path inside it
│   └── TooLarge                   too many bytes, levels, items or fields; names the path and the cap
├── Rejected                       the server judged the change and left everything as it was
│   ├── ConflictError              expected_version was not the current one
│   ├── Fenced                     another owner holds the conversation
│   ├── ConversationEnded          the conversation is over; it can be resumed
│   ├── ConversationAbsent         there is no such conversation any more
│   ├── DeadlineExceeded           the change reached the server after its deadline
│   ├── WrongType                  the field holds a value that the change does not fit
│   ├── Detached (LookupError)     the nested value that was read before is not there any more
│   ├── NotAuthenticated           nobody is logged in, or the session has lapsed
│   ├── TooManyAttempts            too many failed logins; says when the next may be tried
│   ├── StepRefused                the workflow does not allow it now; says what is missing and what is allowed
│   ├── CartLimit                  the cart would exceed a limit that was set for it
│   ├── CartFrozen                 the cart was checked out
│   ├── CartEmpty                  there is nothing to check out
│   ├── OrderExists                the order was placed before, and the cart now holds other lines
│   ├── TotalChanged               the cart does not have the total that was expected at its checkout
│   ├── StaleOperation             the operation is older than the window of remembered ones
│   └── OperationMismatch          the operation id was used for a different change before
├── OutcomeUnknown                 the change may or may not have run; the same op_id resolves it
├── DataError                      what lies in the store cannot be used as it is
│   ├── CorruptState               bytes that redstate did not write
│   ├── UnknownType                a value of a class that this process has not imported
│   ├── UnknownEncryptionKey       a value that is encrypted under a key that the store lacks
│   └── SchemaMismatch             state that its schema cannot be made of; names the path inside it
├── StoreError                     the server could not do it; nothing was written
│   ├── ServerUnavailable          absent, unreachable, or the connection broke
│   ├── CallTimeout                no answer in time, and none was needed to keep the data right
│   ├── Overloaded                 this process has too many calls waiting
│   ├── AuthenticationFailed       wrong or missing credentials
│   ├── PermissionDenied           the user lacks a command, a key or a channel
│   ├── ReadOnlyServer             a replica, or a server that became one
│   ├── StoreFull                  the server's memory is full
│   ├── ServerLoading              the server is still reading its data set
│   ├── ServerBusy                 a long script blocks the server
│   ├── WriteRefused               the server will not take writes now (persistence or replicas)
│   ├── ArchiveError               the archive's database could not do it
│   └── ServerRefused              any other refusal of the server
├── StoreClosed                    the store was used after close()
└── ConfigurationError             a setting that cannot work
    ├── InvalidWorkflow            a workflow's definition contradicts itself; names the step
    ├── InvalidSchema              a schema that state cannot be held to
    ├── NoServer                   no server was named and none was found
    └── MissingExtra               an optional part of redstate is not installed
"""

from __future__ import annotations

from redstate.errors._base import RedstateError, _rebuild
from redstate.errors._configuration import (
    ConfigurationError,
    InvalidSchema,
    InvalidWorkflow,
    MissingExtra,
    NoServer,
)
from redstate.errors._data import (
    CorruptState,
    DataError,
    SchemaMismatch,
    UnknownEncryptionKey,
    UnknownType,
)
from redstate.errors._input import (
    InvalidField,
    InvalidId,
    InvalidInput,
    InvalidPrice,
    InvalidQuantity,
    InvalidTTL,
    InvalidValue,
    TooLarge,
    UnsupportedValue,
)
from redstate.errors._rejected import (
    CartEmpty,
    CartFrozen,
    CartLimit,
    ConflictError,
    ConversationAbsent,
    ConversationEnded,
    DeadlineExceeded,
    Detached,
    Fenced,
    NotAuthenticated,
    OperationMismatch,
    OrderExists,
    Rejected,
    StaleOperation,
    StepRefused,
    TooManyAttempts,
    TotalChanged,
    WrongType,
)
from redstate.errors._server import (
    ArchiveError,
    AuthenticationFailed,
    CallTimeout,
    OutcomeUnknown,
    Overloaded,
    PermissionDenied,
    ReadOnlyServer,
    ServerBusy,
    ServerLoading,
    ServerRefused,
    ServerUnavailable,
    StoreClosed,
    StoreError,
    StoreFull,
    WriteRefused,
)

__all__ = [
    "ArchiveError",
    "AuthenticationFailed",
    "CallTimeout",
    "CartEmpty",
    "CartFrozen",
    "CartLimit",
    "ConfigurationError",
    "ConflictError",
    "ConversationAbsent",
    "ConversationEnded",
    "CorruptState",
    "DataError",
    "DeadlineExceeded",
    "Detached",
    "Fenced",
    "InvalidField",
    "InvalidId",
    "InvalidInput",
    "InvalidPrice",
    "InvalidQuantity",
    "InvalidSchema",
    "InvalidTTL",
    "InvalidValue",
    "InvalidWorkflow",
    "MissingExtra",
    "NoServer",
    "NotAuthenticated",
    "OperationMismatch",
    "OrderExists",
    "OutcomeUnknown",
    "Overloaded",
    "PermissionDenied",
    "ReadOnlyServer",
    "RedstateError",
    "Rejected",
    "SchemaMismatch",
    "ServerBusy",
    "ServerLoading",
    "ServerRefused",
    "ServerUnavailable",
    "StaleOperation",
    "StepRefused",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "TooLarge",
    "TooManyAttempts",
    "TotalChanged",
    "UnknownEncryptionKey",
    "UnknownType",
    "UnsupportedValue",
    "WriteRefused",
    "WrongType",
]

# The files are how they are laid out here; tracebacks and pickles name what users import.
for _name in (*__all__, _rebuild.__name__):
    globals()[_name].__module__ = __name__
