"""Error replies → the error tree, in one table. The only place that reads the text of a server's error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redstate import _keys
from redstate._call import Mutation, Query
from redstate._writers import Operation
from redstate.errors import (
    AuthenticationFailed,
    CartEmpty,
    CartFrozen,
    CartLimit,
    ConflictError,
    ConversationAbsent,
    ConversationEnded,
    CorruptState,
    DeadlineExceeded,
    Fenced,
    NotAuthenticated,
    OperationMismatch,
    OrderExists,
    PermissionDenied,
    ReadOnlyServer,
    RedstateError,
    ServerBusy,
    ServerLoading,
    ServerRefused,
    StaleOperation,
    StepRefused,
    StoreError,
    StoreFull,
    TooLarge,
    WriteRefused,
    WrongType,
)


class ReplyError(Exception):
    """An error reply, as the parser of the wire protocol makes it. It never leaves the package."""


_SERVER: dict[str, tuple[type[StoreError], str]] = {
    "OOM": (StoreFull, "The server's memory is full"),
    "READONLY": (ReadOnlyServer, "The server is a read-only replica"),
    "LOADING": (ServerLoading, "The server is loading its data set"),
    "BUSY": (ServerBusy, "A script that runs long blocks the server"),
    "MISCONF": (WriteRefused, "The server refuses writes because it cannot persist them"),
    "NOREPLICAS": (WriteRefused, "The server refuses writes because too few replicas follow it"),
    "MASTERDOWN": (WriteRefused, "The server refuses because its primary is down"),
    "NOAUTH": (AuthenticationFailed, "The server wants credentials"),
    "WRONGPASS": (AuthenticationFailed, "The server refused the user name or the password"),
}


# Redis and Valkey word it differently in a script and outside one.
_NO_PERMISSION = ("NOPERM", "ACL failure", "The user executing the script")


# What has no code of its own is known by its words: (words, what happened, what to do, our code).
_WORDED: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (
        ("DB index is out of range",),
        "The server has no database of that number",
        "Use a lower one in the URL",
        "DBINDEX",
    ),
    (
        ("nknown command", "Unknown Redis command"),
        "The server lacks a command that redstate needs",
        "Use Redis 7.0, Valkey 7.2 or newer; an imitation such as fakeredis has only some commands",
        "UNKNOWN",
    ),
    (("max number of clients",), "The server has no connection left", "Raise its maxclients", "MAXCLIENTS"),
)


def server_error(error: ReplyError) -> StoreError:
    """What the server itself said, whatever the call was."""
    text = str(error)
    code = text.split(" ", 1)[0]
    if any(sign in text for sign in _NO_PERMISSION):
        return PermissionDenied(_permission(text))
    if "invalid password" in text or "without any password configured" in text:
        return AuthenticationFailed("The server refused the user name or the password")
    for words, message, next_step, own_code in _WORDED:
        if any(word in text for word in words):
            return ServerRefused(message, next_step=next_step, code=own_code)
    known = _SERVER.get(code)
    if known is None and code == "ERR" and "-OOM " in text:
        known = _SERVER["OOM"]
    if known is not None:
        return known[0](known[1])
    # Only the code is passed on: the rest of an unknown error may quote what was sent.
    return ServerRefused(f"The server refused the command with {code}", next_step="See the server's log", code=code)


def _permission(text: str) -> str:
    """Which permission lacks; such texts name commands and keys, never values."""
    if "command" in text:
        name = text.split("'")[1] if text.count("'") >= 2 else "a command"
        return f"The server's access list does not allow {name}"
    if "channel" in text:
        return "The server's access list does not allow publishing on the store's channels"
    return "The server's access list does not allow the store's keys"


def _conflict(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return ConflictError(
        f"{call.key} is at version {detail}, not {expected}",
        key=call.key,
        expected_version=expected,
        current_version=int(detail),
        field=None,
    )


def _fenced(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return Fenced(f"{call.key} has a newer owner", key=call.key, current_token=int(detail))


def _ended(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return ended(call.key)


def ended(key: str) -> ConversationEnded:
    """Its record says so, or the archive."""
    return ConversationEnded(f"The conversation of {key} has ended", key=key)


def _unbegun(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return ConversationAbsent(f"There is no conversation at {call.key}", key=call.key)


def is_unbegun(error: ReplyError) -> bool:
    """Whether the record must be begun first."""
    return str(error).startswith("RSUNBEGUN")


def _deadline(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return DeadlineExceeded(f"The change of {call.key} came after its deadline", key=call.key)


_NO_SESSION = {"out": "logged out", "idle": "idle", "expired": "expired"}


def _login(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return not_authenticated(call.key, detail)


def not_authenticated(key: str, detail: str) -> NotAuthenticated:
    """Nobody is logged in; ``detail`` is the script's word for why."""
    reason = _NO_SESSION[detail]
    return NotAuthenticated(f"The session of {key} is not live: {reason}", key=key, reason=reason)


def _stale(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return StaleOperation("The operation is no longer remembered", key=call.key, op_id=operation.op_id)


def _mismatch(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return OperationMismatch(
        f"The op_id was used before for a change other than {call.script.name}", key=call.key, op_id=operation.op_id
    )


def _corrupt(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    journal = operation.journal if isinstance(operation.journal, str) else operation.journal.decode()
    field = {"version": "v", "journal": journal, "session": "u", "cart": "c", "schema": "y"}.get(detail, call.field)
    return CorruptState(
        f"Field {field!r} of {call.key} holds bytes that redstate did not write", key=call.key, field=field
    )


def _named(call: Mutation[Any]) -> str:
    """What the caller named: the hash field without the letter of its kind."""
    return call.field[1:]


def _place(call: Mutation[Any], detail: str) -> str:
    """The field that a commit means by the number of one of its triples of words, which follow two caps."""
    word = call.args[2 + 3 * int(detail) + 1]
    return word if isinstance(word, str) else word.decode()


def _changed(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    field = _place(call, detail)
    what = "The set of state fields" if field == _keys.ORDER else f"Field {field[1:]!r}"
    return ConflictError(
        f"{what} of {call.key} changed meanwhile",
        key=call.key,
        expected_version=None,
        current_version=None,
        field=field,
    )


def _moved(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return ConflictError(
        f"The workflow {_named(call)} of {call.key} changed meanwhile",
        key=call.key,
        expected_version=None,
        current_version=None,
        field=call.field,
    )


def _overdue(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return StepRefused(
        "The time for this step is over",
        workflow=_named(call),
        step="",
        reason="the time for this step is over",
        missing={},
        allowed=[],
    )


# Where a script's cap on the bytes of a conversation stands among its own arguments.
_CAP_OF_BYTES = {"state_append": 4, "workflow_change": -1, "cart_add": -1}


def _weight(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    cap = int(call.args[_CAP_OF_BYTES.get(call.script.name, 1)])
    return TooLarge(
        f"{call.key} would have {int(detail):,} bytes; at most {cap:,} are allowed",
        path="",
        limit=cap,
        actual=int(detail),
        unit="bytes",
    )


def _type(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    if call.script.name == "record_commit":
        name, wants = _place(call, detail)[1:], "a whole number that stays within 53 bits"
    else:
        name = _named(call)
        wants = "a list" if call.script.name == "state_append" else "a whole number that stays within 64 bits"
    return WrongType(f"Field {name!r} of {call.key} does not hold {wants}", key=call.key, field=name)


def _absent(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    name = _named(call)
    if call.script.name == "state_append":
        return WrongType(f"There is no field {name!r} in {call.key}", key=call.key, field=name)
    return WrongType(f"There is no cart line {name!r} in {call.key}", next_step="Use add()", key=call.key, field=name)


def _limit(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    name = _named(call)
    if call.script.name == "cart_add":
        return TooLarge(
            f"The quantity of {name!r} would exceed 1,000,000,000",
            path=name,
            limit=1_000_000_000,
            actual=None,
            unit="items",
        )
    return TooLarge(
        f"The list {name!r} would have {int(detail):,} bytes; at most {call.limit:,} are allowed",
        path=name,
        limit=call.limit,
        actual=int(detail),
        unit="bytes",
    )


def _fields(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    cap = call.limit
    if call.script.name == "state_append":
        cap = int(call.args[3])
    return TooLarge(f"{call.key} would exceed {cap:,} fields", path=_named(call), limit=cap, actual=None, unit="fields")


def _cart_limit(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    sku = _named(call)
    limit = int(call.args[call.args.index(f"max_{detail}") + 1])
    whose = f"line {sku!r}" if detail == "quantity" else "cart"
    return CartLimit(
        f"The {whose} of {call.key} would exceed its limit of {limit:,} {'pieces' if detail == 'quantity' else detail}",
        key=call.key,
        sku=sku,
        what=detail,
        limit=limit,
    )


def _frozen(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    order_id = bytes.fromhex(detail).decode("utf-8")
    return CartFrozen(f"The cart of {call.key} became order {order_id!r}", key=call.key, order_id=order_id)


def _empty(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return CartEmpty(f"The cart of {call.key} is empty", key=call.key)


def _ordered(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    order_id = _named(call)
    return OrderExists(
        f"Order {order_id!r} of {call.key} was placed before, and the cart now holds other lines",
        key=call.key,
        order_id=order_id,
    )


_SCRIPT: dict[str, Callable[[Mutation[Any], Operation, str, int | None], RedstateError]] = {
    "RSCONFLICT": _conflict,
    "RSFENCED": _fenced,
    "RSENDED": _ended,
    "RSUNBEGUN": _unbegun,
    "RSDEADLINE": _deadline,
    "RSLOGIN": _login,
    "RSSTALE": _stale,
    "RSMISMATCH": _mismatch,
    "RSCORRUPT": _corrupt,
    "RSTYPE": _type,
    "RSABSENT": _absent,
    "RSLIMIT": _limit,
    "RSFIELDS": _fields,
    "RSCHANGED": _changed,
    "RSWEIGHT": _weight,
    "RSMOVED": _moved,
    "RSOVERDUE": _overdue,
    "RSCART": _cart_limit,
    "RSFROZEN": _frozen,
    "RSEMPTY": _empty,
    "RSORDERED": _ordered,
}
SCRIPT_CODES = frozenset(_SCRIPT)


def mutation_error(
    error: ReplyError, call: Mutation[Any], operation: Operation, expected: int | None = None
) -> RedstateError:
    """The typed error for a refused change."""
    code, _, detail = str(error).partition(" ")
    judge = _SCRIPT.get(code)
    if judge is not None:
        return judge(call, operation, detail, expected)
    return _wrong_kind(error, call.key) or server_error(error)


def query_error(error: ReplyError, call: Query[Any]) -> RedstateError:
    """The typed error for a refused read, or a refused call of an owner."""
    if str(error).startswith("RSFENCED "):
        return Fenced(f"{call.key} has a newer owner", key=call.key, current_token=int(str(error).split(" ")[1]))
    if str(error).startswith("RSENDED"):
        return ended(call.key)
    if is_unbegun(error):
        return ConversationAbsent(f"There is no conversation at {call.key}", key=call.key)
    if str(error).startswith("RSDEADLINE"):
        return DeadlineExceeded(f"A call on {call.key} came after its deadline", key=call.key)
    if str(error).startswith("RSCORRUPT"):
        return CorruptState(f"{call.key} holds bytes that redstate did not write", key=call.key, field=call.field)
    return _wrong_kind(error, call.key) or server_error(error)


def _wrong_kind(error: ReplyError, key: str) -> CorruptState | None:
    # Inside a script the code is quoted in the middle of the text.
    if "WRONGTYPE" not in str(error):
        return None
    return CorruptState(
        f"{key} holds something that is no record of redstate", next_step="Move or delete that key", key=key, field=""
    )
