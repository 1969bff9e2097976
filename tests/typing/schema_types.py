"""What mypy --strict makes of a schema. Never run: test_schema.py has mypy judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

import redstate
from redstate import (
    AsyncConversation,
    AsyncStore,
    AsyncTypedConversation,
    Conversation,
    Schema,
    Store,
    TypedConversation,
)


@dataclass
class Shop:
    name: str


class Booking(TypedDict):
    guests: int


class Ticket(BaseModel):
    subject: str


def to_second(state: dict[str, Any]) -> dict[str, Any]:
    return {"name": "", **state}


def blocking(store: Store) -> None:
    assert_type(store.conversation("c"), Conversation)
    assert_type(store.conversation("c", schema=Shop), TypedConversation[Shop])
    assert_type(store.conversation("c", schema=Shop).typed(), Shop)
    assert_type(store.conversation("c", schema=Booking).typed(), Booking)
    assert_type(store.conversation("c", schema=Ticket, ttl=60).typed().subject, str)
    second = Schema(Shop, version=2, upcasters={1: to_second})
    assert_type(store.conversation("c", schema=second).typed(), Shop)
    assert_type(store.conversation("c", schema=second).if_logged_in.typed(), Shop)
    assert_type(store.conversation("c", schema=second).upgrade(), bool)
    plain: redstate.Conversation = store.conversation("c", schema=Shop)
    plain.state["name"] = "Ada"


async def awaited(store: AsyncStore) -> None:
    assert_type(store.conversation("c"), AsyncConversation)
    assert_type(store.conversation("c", schema=Shop), AsyncTypedConversation[Shop])
    assert_type(await store.conversation("c", schema=Shop).typed(), Shop)
    assert_type(await store.conversation("c", schema=Booking).typed(), Booking)
    assert_type((await store.conversation("c", schema=Ticket).typed()).subject, str)


def wrong(store: Store) -> None:
    print(store.conversation("c", schema=Shop).typed().nome)  # type: ignore[attr-defined]  # no such field, and mypy knows
    store.conversation("c", schema=Shop(""))  # type: ignore[call-overload]  # an instance is no schema
