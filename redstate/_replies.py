"""Error replies → the error tree, in one table. The only place that reads the text of a server's error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redstate._call import Mutation, Query
from redstate._writers import Operation
from redstate.errors import (
    AuthenticationFailed,
    ConflictError,
    CorruptState,
    DeadlineExceeded,
    Fenced,
    OperationMismatch,
    PermissionDenied,
    ReadOnlyServer,
    RedstateError,
    ServerBusy,
    ServerLoading,
    ServerRefused,
    StaleOperation,
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


def server_error(error: ReplyError) -> StoreError:
    """What the server itself said, whatever the call was."""
    text = str(error)
    code = text.split(" ", 1)[0]
    if any(sign in text for sign in _NO_PERMISSION):
        return PermissionDenied(_permission(text))
    if "invalid password" in text or "without any password configured" in text:
        return AuthenticationFailed("The server refused the user name or the password")
    if "DB index is out of range" in text:
        return ServerRefused(
            "The server has no database of that number", next_step="Use a lower one in the URL", code="DBINDEX"
        )
    if "max number of clients" in text:
        return ServerRefused("The server has no connection left", next_step="Raise its maxclients", code="MAXCLIENTS")
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
    )


def _fenced(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return Fenced(f"{call.key} has a newer owner", key=call.key, current_token=int(detail))


def _deadline(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return DeadlineExceeded(f"The change of {call.key} came after its deadline", key=call.key)


def _stale(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return StaleOperation("The operation is no longer remembered", key=call.key, op_id=operation.op_id)


def _mismatch(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    return OperationMismatch(
        f"The op_id was used before for a change other than {call.script.name}", key=call.key, op_id=operation.op_id
    )


def _corrupt(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    journal = operation.journal if isinstance(operation.journal, str) else operation.journal.decode()
    field = {"version": "v", "journal": journal}.get(detail, call.field)
    return CorruptState(
        f"Field {field!r} of {call.key} holds bytes that redstate did not write", key=call.key, field=field
    )


def _named(call: Mutation[Any]) -> str:
    """What the caller named: the hash field without the letter of its kind."""
    return call.field[1:]


def _type(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    wants = "a list" if call.script.name == "state_append" else "a whole number that stays within 64 bits"
    name = _named(call)
    return WrongType(f"Field {name!r} of {call.key} does not hold {wants}", key=call.key, field=name)


def _absent(call: Mutation[Any], operation: Operation, detail: str, expected: int | None) -> RedstateError:
    name = _named(call)
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
    cap = int(call.args[0] if call.script.name == "state_set" else call.args[-1])
    return TooLarge(f"{call.key} would exceed {cap:,} fields", path=_named(call), limit=cap, actual=None, unit="fields")


_SCRIPT: dict[str, Callable[[Mutation[Any], Operation, str, int | None], RedstateError]] = {
    "RSCONFLICT": _conflict,
    "RSFENCED": _fenced,
    "RSDEADLINE": _deadline,
    "RSSTALE": _stale,
    "RSMISMATCH": _mismatch,
    "RSCORRUPT": _corrupt,
    "RSTYPE": _type,
    "RSABSENT": _absent,
    "RSLIMIT": _limit,
    "RSFIELDS": _fields,
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
    """The typed error for a refused read."""
    return _wrong_kind(error, call.key) or server_error(error)


def _wrong_kind(error: ReplyError, key: str) -> CorruptState | None:
    # Inside a script the code is quoted in the middle of the text.
    if "WRONGTYPE" not in str(error):
        return None
    return CorruptState(
        f"{key} holds something that is no record of redstate", next_step="Move or delete that key", key=key, field=""
    )
