"""The two parts of a proxied connection's plumbing: a lane of frames each way, and the socket at either end."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from redstate.testing._proxy_faults import Direction, Faults, HoldRule

# A lane that holds more stops reading from its source, so a client that reads nothing is felt by the server.
_LANE_LIMIT_BYTES = 1 << 20
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Lane:
    """One direction of a connection: frames wait here, in order, until they may be written."""

    def __init__(self, faults: Faults, direction: Direction, flushed: Callable[[], None]) -> None:
        self.direction = direction
        self.frozen = False
        self.writing_paused = False
        self.target: asyncio.Transport | None = None
        self._faults = faults
        self._flushed = flushed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, HoldRule | None, bytes | None]] = deque()
        self._waiting_bytes = 0
        self._timer: asyncio.Handle | None = None

    @property
    def congested(self) -> bool:
        """Whether the source should send no more for now."""
        return self.writing_paused or self._waiting_bytes > _LANE_LIMIT_BYTES

    def put(self, data: bytes, delay: float = 0.0, hold: HoldRule | None = None) -> None:
        """Queues a frame, at the earliest for `delay` seconds from now and until the hold is released."""
        due = self._loop.time() + delay if delay else 0.0
        chunks = self._faults.chunks.get(self.direction)
        self._waiting_bytes += len(data)
        if chunks is None:
            self._waiting.append((due, hold, data))
        else:
            self._waiting.extend((due, hold, piece) for piece in chunks.split(data))

    def end(self) -> None:
        """Queues the close of the target, behind all that waits."""
        self._waiting.append((0.0, None, None))
        self.flush()

    def flush(self) -> None:
        """Writes whatever may be written now, and sets a timer for what may be written later."""
        self.stop()
        if self.target is not None and not self.frozen:
            self._write(self.target)
        self._flushed()

    def stop(self) -> None:
        """Cancels the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write(self, target: asyncio.Transport) -> None:
        ready, ending = self._take_ready()
        if ready and not target.is_closing():
            target.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if ending:
            target.close()

    def _take_ready(self) -> tuple[list[bytes], bool]:
        ready: list[bytes] = []
        # A piece a turn of the loop: pieces written together would reach the reader as one.
        one_by_one = self.direction in self._faults.chunks
        waiting = self._waiting
        while waiting:
            due, hold, data = waiting[0]
            if hold is not None and not hold.released:
                break
            if due and due > self._loop.time():
                self._timer = self._loop.call_at(due, self.flush)
                break
            if one_by_one and ready:
                self._timer = self._loop.call_soon(self.flush)
                break
            waiting.popleft()
            if data is None:
                return ready, True
            self._waiting_bytes -= len(data)
            ready.append(data)
        return ready, False


class Endpoint(asyncio.Protocol):
    """One socket of a link. `outgoing` is the lane that ends here."""

    def __init__(
        self, outgoing: Lane, opened: Callable[[], None], received: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        self._outgoing = outgoing
        self._opened = opened
        self._received = received
        self._lost = lost
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._outgoing.target = self.transport
        self._opened()

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._outgoing.stop()
        self._outgoing.target = self.transport = None
        self._lost()

    def pause_writing(self) -> None:
        self._outgoing.writing_paused = True
        self._outgoing.flush()

    def resume_writing(self) -> None:
        self._outgoing.writing_paused = False
        self._outgoing.flush()

    def read_if(self, wanted: bool) -> None:
        """Starts or stops reading from the socket."""
        if self.transport is None or self.transport.is_reading() == wanted:
            return
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def break_off(self, reset: bool) -> None:
        """Closes the socket at once; unwritten bytes are lost. `reset` sends a TCP RST instead of a FIN."""
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        if reset and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.transport.abort()
