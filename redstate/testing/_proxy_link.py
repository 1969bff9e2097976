"""One proxied connection: pairs replies with requests and lets the faults act on them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from redstate.testing._proxy_faults import Action, Board, Exchange, Faults, strike
from redstate.testing._proxy_lane import Endpoint, Lane
from redstate.testing._resp import FrameSplitter, MalformedFrame, first_bulk

_ARRAY = ord("*")
_PUSH = ord(">")
_SUBSCRIBING = frozenset((b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"SSUBSCRIBE", b"SUNSUBSCRIBE"))
_CONFIRMING = frozenset(name.lower() for name in _SUBSCRIBING)
_MESSAGES = frozenset((b"message", b"pmessage", b"smessage"))
# After these the server sends a stream without replies (a replica's feed, the monitor's lines): bytes pass as they are.
_STREAMING = frozenset((b"PSYNC", b"SYNC", b"MONITOR"))


Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[None]]


class Link:
    """A client's connection, the matching one to the server, and the requests that await their replies."""

    def __init__(self, faults: Faults, board: Board, links: set[Link], connect: Connect) -> None:
        self._faults = faults
        self._board = board
        self._links = links
        self._connect = connect
        self._to_server = Lane(faults, "requests", self._regulate)
        self._to_client = Lane(faults, "replies", self._regulate)
        self.client = Endpoint(self._to_client, self._client_opened, self._requests_received, self._client_lost)
        self._server = Endpoint(self._to_server, self._server_opened, self._replies_received, self._server_lost)
        self._requests = FrameSplitter()
        self._replies = FrameSplitter()
        self._awaited: deque[Exchange] = deque()
        self._carried: set[bytes] = set()
        self._requests_stream = False
        self._ending = False
        self._connecting: asyncio.Task[None] | None = None
        self._parts = 0
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # Life and death -------------------------------------------------------------------------------------------------

    def _client_opened(self) -> None:
        self._parts += 1
        self._links.add(self)
        self._board.stats.connections += 1
        self._board.stats.open += 1
        self.client.read_if(False)
        if self._faults.blackhole and self._faults.blackhole_carrying is None:
            self._set_frozen(True)
        else:
            self._start()
        self._board.changed()

    def _start(self) -> None:
        self._parts += 1
        self._connecting = asyncio.get_running_loop().create_task(self._reach_server())
        self._connecting.add_done_callback(lambda _: self._part_gone())

    async def _reach_server(self) -> None:
        try:
            await self._connect(lambda: self._server)
        except OSError:
            self._board.stats.unreachable += 1
            self.client.break_off(reset=False)

    def _server_opened(self) -> None:
        self._parts += 1
        self._regulate()

    def _client_lost(self) -> None:
        if self._server.transport is not None:
            self._to_server.end()
        elif self._connecting is not None:
            self._connecting.cancel()
        self._part_gone()

    def _server_lost(self) -> None:
        self._end_client()
        self._part_gone()

    def _end_client(self) -> None:
        if not self._ending:
            self._ending = True
            self._to_client.end()

    def _part_gone(self) -> None:
        self._parts -= 1
        if not self._parts:
            self._links.discard(self)
            self._board.stats.open -= 1
            self.gone.set_result(None)
        self._board.changed()

    def break_off(self, reset: bool = False) -> None:
        """Closes both sockets at once."""
        self._ending = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._to_client.stop()
        self._to_server.stop()
        self.client.break_off(reset)
        self._server.break_off(reset)

    # Flow -----------------------------------------------------------------------------------------------------------

    def has_carried(self, command: bytes | None) -> bool:
        """Tells whether a client has sent this command here (None: any link will do)."""
        return command is None or command in self._carried

    def freeze(self) -> None:
        """Reads nothing and writes nothing until thawed; the sockets stay open."""
        self._set_frozen(True)
        self._regulate()

    def thaw(self) -> None:
        """Ends freeze(), and gives way to whatever became free to go."""
        self._set_frozen(False)
        if self._connecting is None and not self._ending:
            self._start()
        self.flush()

    def flush(self) -> None:
        """Writes whatever may be written."""
        self._to_server.flush()
        self._to_client.flush()

    def _set_frozen(self, frozen: bool) -> None:
        self._to_server.frozen = self._to_client.frozen = frozen

    def _regulate(self) -> None:
        awake = not self._to_server.frozen
        # At the end the client is still read, and ignored: bytes left unread would turn the close into a reset.
        accepting = self._ending or (self._server.transport is not None and not self._to_server.congested)
        self.client.read_if(awake and accepting)
        self._server.read_if(awake and not self._to_client.congested)

    # Requests -------------------------------------------------------------------------------------------------------

    def _requests_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._requests.feed(data)
        try:
            while not self._ending and self._take_request():
                pass
        except MalformedFrame:
            self._malformed()
        self._to_server.flush()
        self._board.changed()

    def _take_request(self) -> bool:
        if self._requests_stream:
            self._pass_on(self._to_server, self._requests.take_rest())
            return False
        frame = self._requests.next_frame()
        if frame is None:
            return False
        if frame[0] != _ARRAY:
            raise MalformedFrame("a request is an array of bulk strings")
        exchange = Exchange(first_bulk(frame).upper(), frame)
        self._board.stats.requests += 1
        action = strike(self._faults.request_rules, exchange) if self._faults.request_rules else None
        if action is Action.SWALLOW:
            self._swallow_request()
            return False
        self._note(exchange)
        delay = self._faults.delay_for("requests", exchange) if self._faults.delays else 0.0
        self._to_server.put(frame, delay)
        return True

    def _note(self, exchange: Exchange) -> None:
        name = exchange.name
        self._carried.add(name)
        if name == self._faults.blackhole_carrying:
            self.freeze()
        if name in _SUBSCRIBING:
            # One confirmation comes for each channel; without channels it is told once at least.
            channels = int(exchange.frame[1 : exchange.frame.find(b"\r\n")]) - 1
            exchange.confirmations = max(channels, 1)
        self._requests_stream = name in _STREAMING
        if name:  # The server answers nothing to an empty array.
            self._awaited.append(exchange)

    def _swallow_request(self) -> None:
        self._board.stats.swallowed += 1
        self._ending = True
        self._to_client.end()
        self._to_server.end()

    # Replies --------------------------------------------------------------------------------------------------------

    def _replies_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._replies.feed(data)
        try:
            while not self._ending and self._take_reply():
                pass
        except MalformedFrame:
            self._malformed()
        self._to_client.flush()
        self._board.changed()

    def _take_reply(self) -> bool:
        if self._awaited and self._awaited[0].name in _STREAMING:
            self._pass_on(self._to_client, self._replies.take_rest())
            return False
        frame = self._replies.next_frame()
        if frame is None:
            return False
        exchange = self._answered_by(frame)
        action = self._judge(frame, exchange)
        if action is Action.SWALLOW:
            self._board.stats.swallowed += 1
            self._end_client()
            self._server.break_off(reset=False)
            return False
        if action is Action.DROP:
            self._board.stats.dropped += 1
        else:
            self._forward_reply(frame, exchange)
        return True

    def _judge(self, frame: bytes, exchange: Exchange | None) -> Action | None:
        if exchange is not None:
            return strike(self._faults.reply_rules, exchange) if self._faults.reply_rules else None
        self._board.stats.pushes += 1
        rules = self._faults.push_rules
        return strike(rules, Exchange(first_bulk(frame), frame)) if rules else None

    def _forward_reply(self, frame: bytes, exchange: Exchange | None) -> None:
        delay = self._faults.delay_for("replies", exchange) if self._faults.delays else 0.0
        hold = self._faults.hold_for(exchange) if self._faults.holds else None
        if hold is not None:
            self._board.stats.held += 1
        self._to_client.put(frame, delay, hold)

    def _answered_by(self, frame: bytes) -> Exchange | None:
        """Returns the request that the frame answers; None for a published message and other pushes."""
        confirmed = self._confirmed_kind(frame)
        if confirmed is None:
            if not self._awaited:
                return None
            self._board.stats.replies += 1
            return self._awaited.popleft()
        if not self._awaited or self._awaited[0].name != confirmed:
            return None
        exchange = self._awaited[0]
        exchange.confirmations -= 1
        if not exchange.confirmations:
            self._awaited.popleft()
            self._board.stats.replies += 1
        return exchange

    def _confirmed_kind(self, frame: bytes) -> bytes | None:
        """Returns None for an ordinary reply; else the subscribing command that it may confirm, b"" if it is a push."""
        if frame[0] == _PUSH:
            kind = first_bulk(frame)
        elif frame[0] == _ARRAY and not self._carried.isdisjoint(_SUBSCRIBING):
            # In RESP2 a message looks like any array; only a connection that subscribed can get one.
            kind = first_bulk(frame)
            if kind not in _MESSAGES and kind not in _CONFIRMING:
                return None
        else:
            return None
        return kind.upper() if kind in _CONFIRMING else b""

    def _pass_on(self, lane: Lane, data: bytes) -> None:
        if data:
            hold = self._faults.hold_for(None) if lane is self._to_client else None
            lane.put(data, self._faults.delay_for(lane.direction, None), hold)

    def _malformed(self) -> None:
        self._board.stats.malformed += 1
        self.break_off()
