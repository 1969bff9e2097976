"""Ended conversations in any number: copies of the typical one, as their workers have left them, and in the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis
import redis

import redstate
from bench.floors import READ_BYTES, connect
from bench.servers import address_of, admin, url_of
from bench.typical import CART, STATE, TEMPLATE, conversation_id
from redstate import _keys
from redstate.embedded import EmbeddedServer

_BATCH = 500
_FIELDS = 10


@contextmanager
def ended_typical(server: EmbeddedServer, folder: Path) -> Iterator[bytes]:
    """The dump of a typical conversation (ten fields of state, three lines of a cart) that has ended.

    It is taken out of the store again; what remains there is its customer.
    """
    with redstate.Store.from_url(url_of(server), archive=folder / "template.db") as store, admin(server) as client:
        conversation = store.conversation(TEMPLATE)
        for sku, quantity, price in CART:
            conversation.cart.add(sku, quantity, price)
        for field, value in list(STATE.items())[:_FIELDS]:
            conversation.state.set(field, value)
        conversation.end()
        dump: Any = client.dump(conversation.key)
        client.delete(conversation.key)
        client.zrem(_keys.due_key("rs", TEMPLATE), TEMPLATE)
        yield dump


def fill(server: EmbeddedServer, dump: bytes, count: int, first: int = 0) -> None:
    """So many of them, due now; ``first`` is the number of the first."""
    numbers = range(first, first + count)
    with connect(address_of(server)) as connected:
        for start in range(0, count, _BATCH):
            ids = [conversation_id(number) for number in numbers[start : start + _BATCH]]
            words = [("RESTORE", _keys.conversation_key("rs", one), 0, dump) for one in ids]
            words += [("ZADD", _keys.due_key("rs", one), 1_000_000, one) for one in ids]
            connected.sendall(b"".join(hiredis.pack_command(one) for one in words))
            missing = len(words)
            while missing:
                data = connected.recv(READ_BYTES)
                if not data or b"-" in data:
                    raise RuntimeError(f"the server answered {data[:200]!r}")
                missing -= data.count(b"\n")


def left(client: redis.Redis) -> int:
    """How many conversations the index has."""
    sizes: Any = [client.zcard(_keys.due_part_key("rs", part)) for part in range(_keys.DUE_PARTS)]
    return sum(sizes)
