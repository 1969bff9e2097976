"""Rows of the archive as lines of a file, and back."""

from __future__ import annotations

import base64
import binascii
import contextlib
from datetime import datetime, timedelta
from typing import Any

import orjson

from redstate import _keys
from redstate.archive.interface import ArchiveRow
from redstate.calls.moments import moment
from redstate.errors import CorruptState, InvalidInput

_JSON = ("state", "cart", "workflow", "session")


def plain_of(row: ArchiveRow) -> dict[str, Any]:
    """A row as plain data. Times are ISO 8601; ``record`` is what else brings the conversation back, in base64.

    Raises:
        CorruptState: a column that is to be JSON is none.
    """
    return {
        "conversation_id": row.conversation_id,
        "customer_id": row.customer_id,
        "version": row.version,
        "created_at": moment(row.created_us).isoformat(),
        "updated_at": moment(row.updated_us).isoformat(),
        "ended_at": None if row.ended_us is None else moment(row.ended_us).isoformat(),
        "reason": row.reason,
        "schema_version": row.schema_version,
        **{name: _parsed(row, name) for name in _JSON},
        "record": None if row.record is None else base64.b64encode(row.record).decode(),
    }


def _parsed(row: ArchiveRow, name: str) -> Any:
    text = getattr(row, name)
    with contextlib.suppress(orjson.JSONDecodeError):
        return None if text is None else orjson.loads(text)
    # Raised out here, so that no context carries the values into a report.
    raise CorruptState(
        f"The archive's row of conversation {row.conversation_id!r} holds no JSON in {name}",
        next_step="Inspect the row; mend or delete it to go on",
        key=row.conversation_id,
        field=name,
    )


def row_of_plain(plain: Any) -> ArchiveRow:
    """The row that ``plain_of`` made the data of.

    Raises:
        InvalidInput: it did not; the error names the field.
    """
    if type(plain) is not dict:
        raise _unusable("the line")
    schema_version, record = plain.get("schema_version"), plain.get("record")
    if schema_version is not None and type(schema_version) is not int:
        raise _unusable("schema_version")
    if type(plain.get("state")) is not dict:
        raise _unusable("state")
    return ArchiveRow(
        conversation_id=_text(plain, "conversation_id"),
        created_us=_us(plain, "created_at"),
        customer_id=None if plain.get("customer_id") is None else _text(plain, "customer_id"),
        version=_version(plain),
        updated_us=_us(plain, "updated_at"),
        ended_us=None if plain.get("ended_at") is None else _us(plain, "ended_at"),
        reason=_text(plain, "reason"),
        schema_version=schema_version,
        state=orjson.dumps(plain["state"]).decode(),
        cart=_json(plain, "cart"),
        workflow=_json(plain, "workflow"),
        session=_json(plain, "session"),
        record=None if record is None else _bytes(record),
    )


def _text(plain: dict[str, Any], name: str) -> str:
    value = plain.get(name)
    if type(value) is not str or not value:
        raise _unusable(name)
    return _keys.check_id(value, name.replace("_", " "))


def _version(plain: dict[str, Any]) -> int:
    version = plain.get("version")
    if type(version) is not int or not 0 <= version < 10**16:
        raise _unusable("version")
    return version


def _us(plain: dict[str, Any], name: str) -> int:
    try:
        when = datetime.fromisoformat(plain.get(name, ""))
    except (TypeError, ValueError):
        when = None
    if when is None or when.tzinfo is None:
        raise _unusable(name)
    return (when - moment(0)) // timedelta(microseconds=1)


def _json(plain: dict[str, Any], name: str) -> str | None:
    value = plain.get(name)
    if value is not None and type(value) is not dict:
        raise _unusable(name)
    return None if value is None else orjson.dumps(value).decode()


def _bytes(text: object) -> bytes:
    if type(text) is not str:
        raise _unusable("record")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _unusable("record") from None


def _unusable(name: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is none that an export has", next_step="Pass lines as 'redstate archive export' writes them"
    )
