"""An ended conversation with all that is known of it, as it is handed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from redstate import _keys
from redstate._codec import Codec
from redstate.archive.interface import ArchiveRow
from redstate.archive.rows import SEALED, state_of
from redstate.calls.moments import moment


@dataclass(frozen=True, slots=True)
class EndedConversation:
    """A conversation that has ended. Its ``repr`` shows no values, so that none ends in a log.

    Attributes:
        conversation_id: as given.
        customer_id: whose it is; None where nobody said.
        version: of its last change.
        created_at, updated_at, ended_at: when it began, was used last and ended, server time, UTC; ``ended_at`` is None
            for a state that was saved by hand.
        reason: why it ended: "ended", "abandoned", or as given to ``end``; "saved" for a state that was saved by hand.
        schema_version: of its state; None without a schema.
        state: its fields, with the types that they had.
        cart: ``lines`` by sku, and ``orders`` by id with their lines: ``quantity``, and ``price`` and ``attributes``
            where it has some; None without a cart.
        workflows: by name: ``step``, ``status``, and in ``data`` what was collected.
        session: ``user_id``, ``username``, ``since_us`` and ``expires_us`` of who was logged in; None where nobody was.
        merged_at: for the store's ``merge``: when the conversation was merged into the profile before, as it had ended
            already and was resumed; None the first time, and for everybody else.
    """

    conversation_id: str
    customer_id: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    reason: str
    schema_version: int | None
    state: dict[str, Any] = field(repr=False, hash=False)
    cart: dict[str, Any] | None = field(repr=False, hash=False)
    workflows: dict[str, Any] = field(repr=False, hash=False)
    session: dict[str, Any] | None = field(repr=False, hash=False)
    merged_at: datetime | None = None


Merge = Callable[[EndedConversation, dict[str, Any]], Mapping[str, Any]]
"""What of an ended conversation goes into its customer's profile: of the conversation and the profile as it is, the
fields to set. Where others change the profile meanwhile it is called again, so it should do nothing else."""


def ended_conversation(codec: Codec, key: str, row: ArchiveRow) -> EndedConversation:
    """A row, decoded.

    Args:
        codec: the store's.
        key: the conversation's record, to which encrypted values are bound.
        row: of the archive.

    Raises:
        CorruptState: it holds what redstate did not write.
        UnknownType: a value's class is not known in this process.
    """
    state = {
        name: codec.decode(orjson.dumps(value), key=key, field=_keys.STATE + name)
        for name, value in state_of(row).items()
    }
    return EndedConversation(
        row.conversation_id,
        row.customer_id,
        row.version,
        moment(row.created_us),
        moment(row.updated_us),
        None if row.ended_us is None else moment(row.ended_us),
        row.reason,
        row.schema_version,
        state,
        _cart(codec, key, _plain(row.cart)),
        {name: _workflow(codec, key, name, one) for name, one in (_plain(row.workflow) or {}).items()},
        _session(codec, key, _plain(row.session)),
    )


def _cart(codec: Codec, key: str, cart: dict[str, Any] | None) -> dict[str, Any] | None:
    if cart is None:
        return None
    for lines in (cart["lines"], *cart.get("orders", {}).values()):
        for sku, line in lines.items():
            if "attributes" in line:
                encoded = orjson.dumps(line["attributes"])
                line["attributes"] = codec.decode(encoded, key=key, field=_keys.ATTRIBUTES + sku)
    return cart


def _workflow(codec: Codec, key: str, name: str, found: dict[str, Any]) -> dict[str, Any]:
    data = codec.decode(orjson.dumps(found["data"]), key=key, field=_keys.WORKFLOW_DATA + name)
    # What is encrypted is more than what was collected.
    return {**found, "data": data[0] if type(data) is list else data}


def _session(codec: Codec, key: str, session: dict[str, Any] | None) -> dict[str, Any] | None:
    if session is None or SEALED not in session:
        return session
    who = codec.decode(orjson.dumps(session.pop(SEALED)), key=key, field=_keys.USER)
    return {**who, **session}


def _plain(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
