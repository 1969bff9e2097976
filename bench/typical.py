"""A typical conversation, written through stores by several writers, and copies of it in any number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import hiredis
import redis

import redstate
from bench.floors import READ_BYTES, connect
from bench.servers import address_of, admin, url_of
from redstate.embedded import EmbeddedServer

WRITERS = 8
TEMPLATE = "conv_000000000000"
_BATCH = 500
_STARTED = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)

STATE: dict[str, Any] = {
    "customer_id": "cust_48213",
    "language": "en-GB",
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "turns": 14,
    "preferences": {"seat": "window", "diet": "vegetarian", "newsletter": False},
    "last_intent": "change_booking",
    "topics": ["opening hours", "refund", "booking"],
    "verified": True,
    "summary": "Wants to move the booking to Friday and add a third guest.",
    "workflow": {"name": "booking", "step": "collecting_guests", "data": {"date": "2026-03-20", "guests": 3}},
    "session": {"user_id": "user-7", "username": "ada", "authenticated": True, "started": _STARTED},
}
CART = [("sku-1001", 2, "19.99"), ("sku-2040", 1, "249.00"), ("sku-3377", 5, "3.50")]


def conversation_id(number: int) -> str:
    """Ids of one length, so that every copy takes equal room."""
    return f"conv_{number:012d}"


@contextmanager
def written(server: EmbeddedServer) -> Iterator[redstate.Store]:
    """The typical conversation on a server, written by eight stores; the first of them, which wrote a cart line."""
    with ExitStack() as stack:
        stores = [stack.enter_context(redstate.Store.from_url(url_of(server))) for _ in range(WRITERS)]
        handles = [store.conversation(TEMPLATE) for store in stores]
        for number, (sku, quantity, price) in enumerate(CART):
            handles[number % WRITERS].cart.add(sku, quantity, price)
        for number, (field, value) in enumerate(STATE.items()):
            handles[number % WRITERS].state.set(field, value)
        yield stores[0]


def blob() -> str:
    """The same content as the one JSON text that it would be without redstate."""
    lines = [{"sku": sku, "quantity": quantity, "price": price} for sku, quantity, price in CART]
    return json.dumps({**STATE, "cart": lines}, default=str)


def copy(server: EmbeddedServer, store: redstate.Store, first: int, last: int) -> None:
    """Copies of the typical conversation, from ``first`` up to but without ``last``."""
    with admin(server) as client:
        dump: Any = client.dump(store.conversation(TEMPLATE).key)
    with connect(address_of(server)) as connected:
        for start in range(first, last, _BATCH):
            stop = min(start + _BATCH, last)
            keys = [store.conversation(conversation_id(number)).key for number in range(start, stop)]
            connected.sendall(b"".join(hiredis.pack_command(("RESTORE", key, 86_400_000, dump)) for key in keys))
            missing = len(keys)
            while missing:
                data = connected.recv(READ_BYTES)
                if not data or b"-" in data:
                    raise RuntimeError(f"the server answered {data[:200]!r}")
                missing -= data.count(b"\n")


def memory_usage(client: redis.Redis, key: str) -> int:
    """Bytes of a key, every element counted."""
    usage: Any = client.memory_usage(key, samples=0)
    return int(usage)


def used_memory(client: redis.Redis) -> int:
    """Bytes that the server's data and buffers take."""
    info: Any = client.info("memory")
    return int(info["used_memory"])
