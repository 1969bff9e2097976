"""A conversation on its way: from the fields of its record to a row of the archive, and back to either.

The columns of a row are for readers of the table: the state as it lies in the record; cart, workflows and session in
words. To bring a conversation back there is ``record``: all other fields, as they were. A session does not come back:
who returns has to log in again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from redstate import _keys
from redstate._codec import Codec
from redstate.archive.interface import ArchiveRow
from redstate.calls import cart_order
from redstate.calls.record import Snapshot, corrupt_field, snapshot_of
from redstate.errors import InvalidId, UnknownEncryptionKey, UnknownType

SEALED = "sealed"
"""In the session's column: who was logged in, encrypted."""

# State has a column of its own; the rest concerns the life that ends here.
_LEFT_OUT = frozenset(b"sudDvfFxmngbrijqQ")
_WORKFLOW, _HOOK = ord("w"), ord("h")
_ENDED_HOOK = b":on_conversation_ended"
_HEADER = re.compile(rb"(\d{16})(\d{16})\d{32}([rfc])(\w+)", re.ASCII)
_STATUS = {b"r": "running", b"f": "finished", b"c": "cancelled"}
_PART = re.compile(rb"(\d+),(\d+):")


def row_of(codec: Codec, conversation_id: str, key: str, fields: Mapping[bytes, bytes]) -> ArchiveRow:
    """The row of a conversation, which need not have ended.

    Args:
        codec: decodes what tells whose it is.
        conversation_id, key: its id, and its record.
        fields: of the record.

    Raises:
        CorruptState: the record holds what redstate did not write; somebody has to look at it.
    """
    snapshot = snapshot_of(key, fields)
    ended, _, reason = fields.get(b"x", b"").partition(b" ")
    begun, used = fields.get(b"b", fields[b"v"]), fields.get(b"n", fields[b"v"])
    if len(used) != 16:
        raise corrupt_field(key, "n")
    return ArchiveRow(
        conversation_id=conversation_id,
        created_us=_number(key, "b", begun),
        customer_id=customer_of(codec, key, fields.get(b"g"), fields.get(b"scustomer_id")),
        version=snapshot.version,
        updated_us=max(_number(key, "n", used), _number(key, "v", fields[b"v"])),
        ended_us=_number(key, "x", ended) if ended else None,
        reason=reason.decode("ascii", "replace"),
        schema_version=_number(key, "y", fields[b"y"]) if b"y" in fields else None,
        state=_state(key, snapshot),
        cart=_cart(key, snapshot),
        workflow=_workflows(key, fields),
        session=_session(codec, key, fields),
        record=_packed(fields),
    )


def fields_of(row: ArchiveRow) -> dict[bytes, bytes]:
    """The fields of a record that a row is brought back to.

    Raises:
        CorruptState: the row holds what redstate did not write.
    """
    key = row.conversation_id
    fields = {b"b": b"%016d" % row.created_us}
    fields.update(_unpacked(key, row.record or b""))
    if row.customer_id is not None:
        fields[b"g"] = row.customer_id.encode()
    order = b""
    for name, value in state_of(row).items():
        field = _keys.state_field(name).encode()
        fields[field] = orjson.dumps(value)
        order += bytes((len(field) - 2,)) + field[1:]
    # What came by save_state has no record.
    if order:
        fields.setdefault(_keys.ORDER.encode(), order)
    return fields


def state_of(row: ArchiveRow) -> dict[str, Any]:
    """The state of a row; its values are still as they lie in a record, tags and all.

    Raises:
        CorruptState: it is none.
    """
    state = _json(row.conversation_id, "state", row.state.encode())
    if type(state) is not dict:
        raise corrupt_field(row.conversation_id, "state")
    return state


def customer_of(codec: Codec, key: str, given: bytes | None, stated: bytes | None) -> str | None:
    """Whose a conversation is: the id that it was begun or ended for, else the one in its state; None without one."""
    with contextlib.suppress(InvalidId):
        return stated_customer(codec, key, given, stated)
    return None


def stated_customer(codec: Codec, key: str, given: bytes | None, stated: bytes | None) -> str | None:
    """As ``customer_of``.

    Raises:
        InvalidId: the text in the state can be no customer's id.
    """
    if given is not None:
        return given.decode("utf-8", "replace")
    found = None
    if stated is not None:
        # An agent may keep anything in a field of that name.
        with contextlib.suppress(UnknownType):
            found = codec.decode(stated, key=key, field=_keys.STATE + "customer_id")
    return _keys.check_id(found, "customer id") if isinstance(found, str) and found else None


def _state(key: str, snapshot: Snapshot) -> str:
    """As one JSON object of what lies in the fields, which is JSON each. It is only looked at, and not changed."""
    encoded = b"{%b}" % b",".join([orjson.dumps(name) + b":" + value for name, value in snapshot.state.items()])
    _json(key, _keys.STATE, encoded)
    return encoded.decode()


def _cart(key: str, snapshot: Snapshot) -> str | None:
    if not snapshot.quantities and not snapshot.orders:
        return None
    lines = {
        sku: _line(key, sku, quantity, snapshot.prices.get(sku), snapshot.attributes.get(sku))
        for sku, quantity in snapshot.quantities.items()
    }
    orders = {
        order_id: {sku: _line(key, sku, one[0], one[1], one[3]) for sku, one in cart_order.ordered(key, order_id, text)}
        for order_id, text in snapshot.orders.items()
        if order_id != ""
    }
    return orjson.dumps({"lines": lines, "orders": orders} if orders else {"lines": lines}).decode()


def _line(key: str, sku: str, quantity: bytes, price: bytes | None, attributes: bytes | None) -> dict[str, Any]:
    line: dict[str, Any] = {"quantity": _number(key, _keys.QUANTITY + sku, quantity)}
    if price is not None:
        line["price"] = price.decode("ascii", "replace")
    if attributes is not None:
        line["attributes"] = _json(key, _keys.ATTRIBUTES + sku, attributes)
    return line


def _workflows(key: str, fields: Mapping[bytes, bytes]) -> str | None:
    found = {}
    for field in [field for field in fields if field and field[0] == _WORKFLOW]:
        name = field[1:].decode("ascii", "replace")
        parts = _HEADER.match(fields[field])
        stored = _json(key, _keys.WORKFLOW_DATA + name, fields.get(b"W" + field[1:], b"[{}]"))
        if parts is None or type(stored) not in (list, dict) or not stored:
            raise corrupt_field(key, _keys.WORKFLOW + name)
        # A dict is encrypted, as a whole.
        data = stored[0] if type(stored) is list else stored
        found[name] = {"step": parts[4].decode(), "status": _STATUS[parts[3]], "data": data}
    return orjson.dumps(found).decode() if found else None


def _session(codec: Codec, key: str, fields: Mapping[bytes, bytes]) -> str | None:
    """Who was logged in, since when and until when at most; none of what else was stored at the login."""
    times, user = fields.get(b"u"), fields.get(b"ud")
    if times is None or user is None:
        return None
    known: dict[str, Any] = {}
    # Without the key, or the class of some other value of the login, it stays unknown who it was.
    with contextlib.suppress(UnknownEncryptionKey, UnknownType):
        who = codec.decode(user, key=key, field=_keys.USER)
        if type(who) is dict:
            known = {name: who.get(name) for name in ("user_id", "username")}
    stored = orjson.loads(codec.bound_to(key).encode(known, "session", field=_keys.USER))
    if stored != known:
        known = {SEALED: stored}  # for this column alone, as all that it is of must not get here
    since, expires = _number(key, _keys.SESSION, times[32:48]), _number(key, _keys.SESSION, times[16:32])
    return orjson.dumps({**known, "since_us": since, "expires_us": expires}).decode()


def _packed(fields: Mapping[bytes, bytes]) -> bytes:
    """Each field behind the sizes of its name and its value."""
    return b"".join(
        [
            b"%d,%d:%b%b" % (len(name), len(value), name, value)
            for name, value in fields.items()
            if name and name[0] not in _LEFT_OUT and not (name[0] == _HOOK and name.endswith(_ENDED_HOOK))
        ]
    )


def _unpacked(key: str, packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(packed):
        sizes = _PART.match(packed, at)
        if sizes is None:
            raise corrupt_field(key, "record")
        middle = sizes.end() + int(sizes[1])
        at = middle + int(sizes[2])
        if at > len(packed):
            raise corrupt_field(key, "record")
        yield packed[sizes.end() : middle], packed[middle:at]


def _json(key: str, field: str, encoded: bytes) -> Any:
    try:
        return orjson.loads(encoded)
    except orjson.JSONDecodeError:
        pass
    # Raised out here, so that no context carries the values into a report.
    raise corrupt_field(key, field)


def _number(key: str, field: str, text: bytes) -> int:
    # No number here has more digits than a version, and some are the database's whole numbers.
    if not text.isdigit() or len(text) > 16:
        raise corrupt_field(key, field)
    return int(text)
