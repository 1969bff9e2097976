"""The floors: the least code that does the same work, with no deadlines, retries, checks or types.

They send the very words that redstate sends, with rising operation numbers, so the server does equal work.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from typing import Any

import hiredis

from redstate import Limits, _keys, _scripts
from redstate.calls import cart

SKU, PRICE, TTL_MS = "sku", "19.99", 86_400_000
CART_ADD = _scripts.load("cart_add")
FIRST_OP = 1_000_000_000
READ_BYTES = 65_536


def conversation_key(name: str) -> str:
    return _keys.conversation_key("rs", name)


def add_arguments() -> tuple[Any, ...]:
    """The script's own arguments, as redstate makes them."""
    return cart.add(Limits(), "", SKU, 1, PRICE).args


def words(*parts: str | int | bytes) -> tuple[bytes, ...]:
    """Words as bytes, which take every client the least time to pack."""
    return tuple(part if isinstance(part, bytes) else str(part).encode() for part in parts)


class EqualAdds:
    """The words of cart adds by one writer: the EVALSHA that redstate sends, split around the rising number."""

    def __init__(self, key: str, writer: str, guards: str = "") -> None:
        self.key = key
        self.journal = f"j{writer}"
        self.before = words("EVALSHA", CART_ADD.sha, "1", key, self.journal)
        self.after = words(TTL_MS, guards, *add_arguments())
        self.numbers = itertools.count(FIRST_OP)


def connect(address: tuple[str, int]) -> socket.socket:
    connected = socket.create_connection(address)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


class BlockingFloor:
    """A blocking socket and hiredis, nothing else."""

    def __init__(self, address: tuple[str, int], adds: EqualAdds) -> None:
        self._socket = connect(address)
        self._adds = adds

    def add(self, count: int) -> int:
        """``count`` cart adds, one after the other."""
        adds, before, after = self._adds, self._adds.before, self._adds.after
        pack, send, receive, reader = hiredis.pack_command, self._socket.sendall, self._socket.recv, hiredis.Reader()
        feed, gets = reader.feed, reader.gets
        for number in itertools.islice(adds.numbers, count):
            send(pack((*before, number, *after)))
            feed(receive(READ_BYTES))
            gets()
        return count

    def close(self) -> None:
        self._socket.close()


class BareMultiplexer(asyncio.Protocol):
    """One connection for all tasks, one write for a tick of the loop, futures in a deque."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader()
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._buffer: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def call(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        buffer = self._buffer
        if not buffer:
            self._loop.call_soon(self._flush)
        buffer.append(hiredis.pack_command(command))
        future = self._loop.create_future()
        self._pending.append(future)
        return future

    def _flush(self) -> None:
        self._transport.write(b"".join(self._buffer))
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        pop, gets = self._pending.popleft, self._reader.gets
        self._reader.feed(data)
        while (reply := gets()) is not False:
            pop().set_result(reply)

    def close(self) -> None:
        self._transport.close()


async def connect_multiplexer(address: tuple[str, int]) -> BareMultiplexer:
    loop = asyncio.get_running_loop()
    _, connected = await loop.create_connection(lambda: BareMultiplexer(loop), *address)
    return connected
