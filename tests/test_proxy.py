"""The fault proxy, between raw sockets and a real server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import hiredis
import pytest
import redis
import redis.asyncio
import servers
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from redstate.errors import ConfigurationError
from redstate.testing._proxy_core import Upstream
from redstate.testing._resp import FrameSplitter, MalformedFrame, first_bulk, items_of
from redstate.testing.proxy import FaultProxy


class Wire:
    """A blocking connection that shows what arrives, frame by frame."""

    def __init__(self, url: str) -> None:
        upstream = Upstream.parse(url)
        if upstream.path is not None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(upstream.path)
        else:
            self.socket = socket.create_connection((upstream.host, upstream.port))
        self.socket.settimeout(10)
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)

    def send(self, *commands: tuple[Any, ...]) -> None:
        """Sends all the commands in one write."""
        self.socket.sendall(b"".join(hiredis.pack_command(command) for command in commands))

    def receive(self) -> Any:
        """Returns the next reply; raises EOFError at an orderly end."""
        while (reply := self._reader.gets()) is Ellipsis:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._reader.feed(data)
        return reply

    def call(self, *command: Any) -> Any:
        self.send(command)
        return self.receive()

    def at_end(self) -> bool:
        """Waits for the end of the connection; False if a reply comes instead."""
        try:
            self.receive()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def silent(self) -> bool:
        """Tells whether nothing has arrived so far."""
        self.socket.setblocking(False)
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(10)
        self._reader.feed(data)
        return False


Dial = Callable[[], Wire]


@pytest.fixture
def proxy(server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(server.url) as running:
        yield running


@contextmanager
def dialling(url: str) -> Iterator[Dial]:
    opened: list[Wire] = []

    def dial() -> Wire:
        opened.append(Wire(url))
        return opened[-1]

    try:
        yield dial
    finally:
        for wire in opened:
            wire.socket.close()


@pytest.fixture
def dial(proxy: FaultProxy) -> Iterator[Dial]:
    """Opens connections through the proxy."""
    with dialling(proxy.url) as dial:
        yield dial


@pytest.fixture
def direct(server: Any) -> Iterator[Wire]:
    """A connection that bypasses the proxy."""
    with dialling(server.url) as dial:
        yield dial()


# Framing ------------------------------------------------------------------------------------------------------------

FRAMES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":-7\r\n",
    b"_\r\n",
    b",1.5\r\n",
    b"#t\r\n",
    b"(123456789012345678901234567890\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$9\r\n*2\r\n$1\r\na\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"!5\r\nERR x\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n*2\r\n:1\r\n$1\r\na\r\n*1\r\n*0\r\n",
    b"%2\r\n+a\r\n*1\r\n:1\r\n+b\r\n%1\r\n:1\r\n:2\r\n",
    b"~2\r\n:1\r\n:2\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n",
    b"|1\r\n+ttl\r\n:5\r\n*1\r\n|1\r\n+x\r\n:1\r\n:2\r\n",
]


@given(frames=st.lists(st.sampled_from(FRAMES), max_size=12), sizes=st.lists(st.integers(1, 9), min_size=1))
@settings(deadline=None)
def test_frames_come_out_whole_however_the_stream_is_cut(frames: list[bytes], sizes: list[int]) -> None:
    splitter = FrameSplitter()
    stream, found, step = b"".join(frames), [], 0
    while stream:
        size = sizes[step % len(sizes)]
        splitter.feed(stream[:size])
        stream, step = stream[size:], step + 1
        while (frame := splitter.next_frame()) is not None:
            found.append(frame)
    assert found == frames
    assert splitter.take_rest() == b""


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1", b"\x16\x03\x01", b"*x\r\n", b"$?\r\n", b"+" + b"a" * 70_000])
def test_what_is_not_the_protocol_is_refused(garbage: bytes) -> None:
    splitter = FrameSplitter()
    splitter.feed(garbage)
    with pytest.raises(MalformedFrame):
        splitter.next_frame()


def test_a_large_frame_in_many_parts_is_not_scanned_again_for_each_part() -> None:
    splitter = FrameSplitter()
    splitter.feed(b"$20000000\r\n")
    part = b"x" * 1000
    began = time.process_time()
    for _ in range(20_000):
        splitter.feed(part)
        assert splitter.next_frame() is None
    splitter.feed(b"\r\n")
    assert splitter.next_frame() is not None
    # Joined once this takes some 20 ms of CPU; joined for each part, 200 GB would be copied.
    assert time.process_time() - began < 5


def test_the_start_of_a_frame_tells_its_name_and_the_frame_its_items() -> None:
    assert first_bulk(b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n") == b"get"
    assert first_bulk(b"*1\r\n:1\r\n") == first_bulk(b"*0\r\n") == first_bulk(b"+OK\r\n") == b""
    assert items_of(b"*2\r\n$3\r\nget\r\n$4\r\n\r\n\r\n\r\n") == [b"get", b"\r\n\r\n"]


# Forwarding ---------------------------------------------------------------------------------------------------------


def test_values_of_every_size_pass_unchanged(dial: Dial, prefix: str) -> None:
    wire = dial()
    for size in (0, 1, 65_536, 3_000_000):
        value = bytes(range(256)) * (size // 256) + b"\r\n" * (size % 256)
        assert wire.call("SET", prefix, value) == b"OK"
        assert wire.call("GET", prefix) == value


def test_pipelined_requests_are_counted_and_answered_in_order(proxy: FaultProxy, dial: Dial, prefix: str) -> None:
    wire = dial()
    wire.send(*[("INCR", prefix)] * 500)
    assert [wire.receive() for _ in range(500)] == list(range(1, 501))
    stats = proxy.wait_for(requests=500, replies=500)
    assert (stats.connections, stats.open, stats.requests, stats.replies, stats.pushes) == (1, 1, 500, 500, 0)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_works_through_it(proxy: FaultProxy, prefix: str, protocol: int) -> None:
    with redis.Redis.from_url(proxy.url, protocol=protocol) as client:
        client.hset(prefix, mapping={"a": "1", "b": "2"})
        assert client.hgetall(prefix) == {b"a": b"1", b"b": b"2"}
        with client.pubsub() as listener:
            listener.subscribe(prefix, f"{prefix}b")
            assert [listener.get_message(timeout=10)["type"] for _ in range(2)] == ["subscribe", "subscribe"]
            assert client.publish(prefix, "hello") == 1
            assert listener.get_message(timeout=10)["data"] == b"hello"
    assert proxy.wait_until(lambda stats: stats.open == 0).malformed == 0


def test_a_server_over_tcp_is_reached_too(server: Any, prefix: str) -> None:
    with FaultProxy(server.tcp_url) as proxy, dialling(proxy.url) as dial:
        assert dial().call("INCR", prefix) == 1


def test_login_and_database_of_the_upstream_are_kept_in_the_url() -> None:
    proxy = FaultProxy("redis://user:pass@localhost:6379/3")
    assert proxy.url == "redis://user:pass@127.0.0.1:0/3"
    assert "pass" not in repr(proxy)
    assert FaultProxy("unix:///tmp/socket?db=2").url == "redis://127.0.0.1:0/2"


@pytest.mark.parametrize("url", ["rediss://localhost", "localhost:6379", "unix://", "redis://localhost/x"])
def test_an_upstream_that_cannot_be_proxied_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        FaultProxy(url)


def test_an_absent_server_closes_the_client_connection() -> None:
    with FaultProxy(f"redis://127.0.0.1:{servers.free_port()}") as proxy, dialling(proxy.url) as dial:
        assert dial().at_end()
        proxy.wait_for(unreachable=1)


def test_a_client_that_does_not_speak_the_protocol_is_cut_off(proxy: FaultProxy, dial: Dial) -> None:
    wire = dial()
    wire.socket.sendall(b"GET / HTTP/1.1\r\n")
    assert wire.at_end()
    proxy.wait_for(malformed=1)


def test_an_end_by_the_server_reaches_the_client_after_the_last_reply(dial: Dial) -> None:
    wire = dial()
    wire.send(("PING",), ("QUIT",))
    assert [wire.receive(), wire.receive()] == [b"PONG", b"OK"]
    assert wire.at_end()


def test_requests_of_a_client_that_left_still_reach_the_server(
    proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str
) -> None:
    wire = dial()
    assert wire.call("PING") == b"PONG"
    wire.send(("RPUSH", prefix, "x"))
    wire.socket.close()
    assert direct.call("BLPOP", prefix, 10) == [prefix.encode(), b"x"]
    proxy.wait_until(lambda stats: stats.open == 0)


def test_a_replica_syncs_through_it_and_stalls_in_a_blackhole(prefix: str) -> None:
    with servers.server(repl_diskless_sync_delay="0") as primary, FaultProxy(primary.url) as proxy:
        with servers.server(replicaof=f"127.0.0.1 {proxy.port}") as replica:
            servers.wait_until(
                lambda: replica.command("INFO", "replication")["master_link_status"] == "up", "the replica is in sync"
            )
            with dialling(primary.url) as dial:
                writer = dial()
                assert writer.call("SET", prefix, "1") == b"OK"
                assert writer.call("WAIT", 1, 10_000) == 1
                proxy.blackhole(carrying="PSYNC")
                assert writer.call("SET", prefix, "2") == b"OK"
                assert writer.call("WAIT", 1, 50) == 0
                assert replica.command("GET", prefix) == b"1"
                proxy.heal()
                assert writer.call("WAIT", 1, 10_000) == 1
            assert replica.command("GET", prefix) == b"2"


# Lost frames --------------------------------------------------------------------------------------------------------


def test_a_swallowed_reply_leaves_the_request_done_and_the_connection_closed(
    proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str
) -> None:
    proxy.swallow_replies()
    wire = dial()
    wire.send(("INCR", prefix))
    assert wire.at_end()
    assert direct.call("GET", prefix) == b"1"
    assert dial().call("INCR", prefix) == 2
    assert proxy.stats.swallowed == 1


def test_replies_before_a_swallowed_one_are_delivered(proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str) -> None:
    proxy.swallow_replies(after=2, command="incr")
    wire = dial()
    wire.send(("PING",), ("INCR", prefix), ("INCR", prefix), ("INCR", prefix), ("PING",))
    assert [wire.receive(), wire.receive(), wire.receive()] == [b"PONG", 1, 2]
    assert wire.at_end()
    assert direct.call("GET", prefix) == b"3"


def test_a_predicate_of_the_arguments_picks_the_request(proxy: FaultProxy, dial: Dial, prefix: str) -> None:
    proxy.swallow_replies(command="SET", matching=lambda name, args: args == [prefix.encode(), b"\r\n2"])
    wire = dial()
    assert wire.call("SET", prefix, "\r\n1") == b"OK"
    assert wire.call("GET", prefix) == b"\r\n1"
    wire.send(("SET", prefix, "\r\n2"))
    assert wire.at_end()


def test_a_swallowed_fraction_is_the_same_for_the_same_seed(proxy: FaultProxy, dial: Dial, prefix: str) -> None:
    def survivors() -> list[bool]:
        proxy.swallow_fraction(0.3, seed=7, command="INCR")
        outcome, wire = [], dial()
        for _ in range(60):
            wire.send(("INCR", prefix))
            try:
                wire.receive()
                outcome.append(True)
            except EOFError:
                outcome.append(False)
                wire = dial()
        proxy.heal()
        return outcome

    first = survivors()
    assert first == survivors()
    assert 5 < first.count(False) < 35
    assert dial().call("GET", prefix) == b"120"


def test_a_swallowed_request_never_runs(proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str) -> None:
    proxy.swallow_requests(command="INCR")
    wire = dial()
    wire.send(("RPUSH", f"{prefix}before", "x"), ("INCR", prefix), ("INCR", prefix))
    assert direct.call("BLPOP", f"{prefix}before", 10) is not None
    proxy.wait_until(lambda stats: stats.open == 0 and stats.swallowed == 1)
    assert direct.call("GET", prefix) is None


def test_a_dropped_reply_leaves_the_connection_up(proxy: FaultProxy, dial: Dial, prefix: str) -> None:
    proxy.drop_replies(command="INCR")
    wire = dial()
    wire.send(("INCR", prefix), ("GET", prefix))
    assert wire.receive() == b"1"
    assert proxy.stats.dropped == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_one_published_message_is_lost_on_a_healthy_link(
    proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str, protocol: int
) -> None:
    wire = dial()
    wire.call("HELLO", protocol)
    assert wire.call("SUBSCRIBE", prefix)[0] == b"subscribe"
    proxy.drop_pushes(matching=lambda kind, rest: (kind, rest[1]) == (b"message", b"two"))
    for word in ("one", "two", "three"):
        assert direct.call("PUBLISH", prefix, word) == 1
    assert [wire.receive()[2] for _ in range(2)] == [b"one", b"three"]
    assert (proxy.stats.pushes, proxy.stats.dropped) == (3, 1)


@pytest.mark.parametrize("protocol", [2, 3])
def test_replies_stay_paired_on_a_connection_that_subscribes(
    proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str, protocol: int
) -> None:
    wire = dial()
    wire.call("HELLO", protocol)
    other = f"{prefix}b"
    wire.send(("SUBSCRIBE", prefix, other), ("UNSUBSCRIBE",), ("SUBSCRIBE",), ("GET", prefix))
    kinds = [reply[0] for reply in (wire.receive() for _ in range(4))]
    assert kinds == [b"subscribe"] * 2 + [b"unsubscribe"] * 2
    assert isinstance(wire.receive(), hiredis.ReplyError)
    assert wire.receive() is None
    assert proxy.wait_for(replies=5).replies == 5
    proxy.swallow_replies(command="SUBSCRIBE")
    wire.send(("PING",), ("SUBSCRIBE", prefix))
    assert wire.receive() == b"PONG"
    assert wire.at_end()


# Slow frames --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["requests", "replies"])
def test_a_delay_keeps_frames_back_and_in_order(proxy: FaultProxy, dial: Dial, prefix: str, direction: Any) -> None:
    wire = dial()
    assert wire.call("PING") == b"PONG"
    proxy.delay((0.001, 0.05), direction=direction, seed=3, command="INCR")
    began = time.monotonic()
    wire.send(*[("INCR", prefix)] * 50, ("PING",))
    assert [wire.receive() for _ in range(51)] == [*range(1, 51), b"PONG"]
    # Of 50 draws from 1 to 50 ms the longest is over 40 ms for this seed.
    assert time.monotonic() - began > 0.04
    proxy.delay(0, direction=direction)
    assert wire.call("INCR", prefix) == 51


def test_a_delayed_request_of_a_client_that_left_arrives_late(
    proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str
) -> None:
    wire = dial()
    proxy.delay(0.05, direction="requests")
    wire.send(("RPUSH", prefix, "late"))
    proxy.wait_for(requests=1)
    wire.socket.close()
    assert direct.call("LLEN", prefix) == 0
    assert direct.call("BLPOP", prefix, 10)[1] == b"late"


def test_held_replies_wait_for_their_release(proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str) -> None:
    wire = dial()
    with proxy.hold_replies() as hold:
        wire.send(("INCR", prefix), ("INCR", prefix))
        proxy.wait_for(held=2)
        assert direct.call("GET", prefix) == b"2"
        assert wire.silent()
    assert [wire.receive(), wire.receive()] == [1, 2]
    hold.release()


def test_a_hold_on_one_command_keeps_back_what_follows_it_on_its_connection_only(
    proxy: FaultProxy, dial: Dial, prefix: str
) -> None:
    held, free = dial(), dial()
    hold = proxy.hold_replies(command="INCR")
    held.send(("PING",), ("INCR", prefix), ("PING",))
    assert held.receive() == b"PONG"
    proxy.wait_for(held=1, replies=3)
    assert free.call("GET", prefix) == b"1"
    assert held.silent()
    hold.release()
    assert [held.receive(), held.receive()] == [1, b"PONG"]


def test_replies_held_when_the_server_leaves_are_still_delivered(proxy: FaultProxy, dial: Dial) -> None:
    wire = dial()
    with proxy.hold_replies():
        wire.send(("PING",), ("QUIT",))
        proxy.wait_for(held=2)
        assert wire.silent()
    assert [wire.receive(), wire.receive()] == [b"PONG", b"OK"]
    assert wire.at_end()


@pytest.mark.parametrize("direction", ["requests", "replies"])
def test_chunks_come_in_small_pieces_and_unchanged(proxy: FaultProxy, dial: Dial, prefix: str, direction: Any) -> None:
    proxy.chunk(3, direction=direction)
    wire, value = dial(), bytes(range(256)) * 8
    assert wire.call("SET", prefix, value) == b"OK"
    wire.send(("GET", prefix))
    if direction == "replies":
        first = wire.socket.recv(65536, socket.MSG_PEEK)
        assert len(first) < len(value)
    assert wire.receive() == value


def test_a_client_that_reads_nothing_slows_the_server_down(
    proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str
) -> None:
    direct.call("SET", prefix, b"x" * 1_000_000)
    wire = dial()
    wire.send(*[("GET", prefix)] * 60)
    wire.send(("RPUSH", f"{prefix}done", "x"))
    assert direct.call("BLPOP", f"{prefix}done", 10) is not None
    # Most of the 60 MB stays with the server: the buffers on the way hold far less.
    assert proxy.stats.replies < 40
    assert all(len(wire.receive()) == 1_000_000 for _ in range(60))


# Broken connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_closes_open_connections_and_accepts_new_ones(proxy: FaultProxy, dial: Dial, reset: bool) -> None:
    wires = [dial(), dial()]
    assert [wire.call("PING") for wire in wires] == [b"PONG"] * 2
    assert proxy.cut(reset=reset) == 2
    assert (proxy.stats.open, proxy.stats.cut) == (0, 2)
    for wire in wires:
        with pytest.raises(ConnectionResetError if reset else EOFError):
            wire.receive()
    assert dial().call("PING") == b"PONG"


def test_a_cut_can_pick_the_subscribers(proxy: FaultProxy, dial: Dial, prefix: str) -> None:
    subscriber, other = dial(), dial()
    subscriber.call("SUBSCRIBE", prefix)
    other.call("PING")
    assert proxy.cut(carrying="subscribe") == 1
    assert subscriber.at_end()
    assert other.call("PING") == b"PONG"


def test_a_blackhole_moves_nothing_until_healed(proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str) -> None:
    old = dial()
    assert old.call("PING") == b"PONG"
    proxy.blackhole()
    new = dial()
    old.send(("INCR", prefix))
    new.send(("INCR", prefix))
    stats = proxy.wait_for(connections=2)
    assert (stats.requests, stats.open) == (1, 2)
    assert direct.call("GET", prefix) is None
    assert old.silent()
    proxy.heal()
    assert sorted([old.receive(), new.receive()]) == [1, 2]


def test_a_blackhole_can_pick_the_subscribers_of_today_and_tomorrow(
    proxy: FaultProxy, dial: Dial, direct: Wire, prefix: str
) -> None:
    present, future, other = dial(), dial(), dial()
    present.call("SUBSCRIBE", prefix)
    proxy.blackhole(carrying="SUBSCRIBE")
    future.send(("PING",), ("SUBSCRIBE", prefix))
    proxy.wait_for(requests=3)
    assert direct.call("PUBLISH", prefix, "x") == 1
    assert other.call("PING") == b"PONG"
    assert present.silent()
    proxy.heal()
    assert present.receive()[2] == b"x"
    assert [future.receive(), future.receive()[0]] == [b"PONG", b"subscribe"]


def test_refused_connections_fail_at_once_and_open_ones_go_on(proxy: FaultProxy, dial: Dial) -> None:
    wire, url = dial(), proxy.url
    assert wire.call("PING") == b"PONG"
    for _ in range(2):
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial()
        assert wire.call("PING") == b"PONG"
        proxy.heal()
        assert dial().call("PING") == b"PONG"
    assert proxy.url == url


def test_healing_ends_every_fault(proxy: FaultProxy, dial: Dial, prefix: str) -> None:
    wire = dial()
    proxy.hold_replies()
    wire.send(("PING",))
    proxy.wait_for(held=1)
    proxy.swallow_replies(None)
    proxy.swallow_requests(None)
    proxy.drop_replies(None)
    proxy.swallow_fraction(1)
    proxy.delay(60)
    proxy.delay(60, direction="requests")
    proxy.chunk(1)
    proxy.refuse()
    proxy.blackhole()
    proxy.heal()
    assert wire.receive() == b"PONG"
    assert dial().call("INCR", prefix) == 1


# Control and shutdown -----------------------------------------------------------------------------------------------


def test_asyncio_clients_wait_for_it_in_a_thread(proxy: FaultProxy, prefix: str) -> None:
    async def scenario() -> None:
        async with redis.asyncio.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0)) as client:
            with proxy.hold_replies(command="INCRBY"):
                adding = asyncio.create_task(client.incr(prefix))
                await asyncio.to_thread(proxy.wait_for, held=1)
                assert not adding.done()
            assert await adding == 1

    asyncio.run(scenario())


def test_waiting_in_vain_tells_what_was_seen(proxy: FaultProxy) -> None:
    with pytest.raises(TimeoutError, match="requests=0"):
        proxy.wait_for(requests=1, timeout=0.01)
    with pytest.raises(ValueError, match="nonsense"):
        proxy.wait_for(nonsense=1)


def test_waiting_ends_when_the_proxy_closes(server: Any) -> None:
    with FaultProxy(server.url) as proxy, ThreadPoolExecutor(1) as pool:
        asked = threading.Event()
        waiting = pool.submit(proxy.wait_until, lambda stats: bool(asked.set()))
        assert asked.wait(10)
        proxy.close()
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(10)


def test_a_failing_wait_predicate_fails_the_wait(proxy: FaultProxy) -> None:
    with pytest.raises(ZeroDivisionError):
        proxy.wait_until(lambda stats: bool(1 / stats.requests))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda proxy: proxy.swallow_replies(0),
        lambda proxy: proxy.drop_replies(after=-1),
        lambda proxy: proxy.swallow_fraction(1.5),
        lambda proxy: proxy.delay(-1),
        lambda proxy: proxy.delay((2, 1)),
        lambda proxy: proxy.delay(1, direction="both"),
        lambda proxy: proxy.chunk(0),
        lambda proxy: proxy.chunk(1, direction="up"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(proxy: FaultProxy, misuse: Callable[[FaultProxy], None]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        misuse(proxy)


def test_a_failing_selection_is_raised_at_the_end_of_the_block(server: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        with FaultProxy(server.url) as proxy, dialling(proxy.url) as dial:
            proxy.drop_replies(matching=lambda name, args: 1 // 0 > 0)
            wire = dial()
            wire.send(("PING",))
            assert wire.at_end()


def test_closing_leaves_no_thread_and_no_connection(server: Any, prefix: str) -> None:
    threads_before = set(threading.enumerate())
    with FaultProxy(server.url) as proxy, dialling(proxy.url) as dial:
        wires = [dial() for _ in range(20)]
        assert wires[0].call("CLIENT", "SETNAME", prefix) == b"OK"
        proxy.delay(60)
        proxy.hold_replies(command="PING")
        for wire in wires:
            wire.send(("PING",), ("SUBSCRIBE", prefix))
        proxy.wait_for(held=20)
        proxy.close()
        assert all(wire.at_end() for wire in wires)
        with pytest.raises(ConnectionRefusedError):
            dial()
        assert proxy.stats.open == 0
    assert set(threading.enumerate()) == threads_before
    with pytest.raises(RuntimeError):
        proxy.heal()
    with pytest.raises(RuntimeError):
        proxy.start()


def test_closing_while_connections_come_in_leaves_nothing_behind(server: Any) -> None:
    for _ in range(20):
        with FaultProxy(server.url) as proxy, dialling(proxy.url) as dial:
            wires = [dial() for _ in range(10)]
            proxy.close()
            assert all(wire.at_end() for wire in wires)
            assert proxy.stats.open == 0


def test_many_threads_share_it_under_random_losses(proxy: FaultProxy, server: Any, prefix: str) -> None:
    proxy.swallow_fraction(0.05, seed=1, command="SADD")
    proxy.delay((0, 0.0005), seed=1)
    proxy.chunk(64)

    def add(worker: int) -> None:
        with dialling(proxy.url) as dial:
            wire = dial()
            for number in range(100):
                member = f"{worker}-{number}"
                wire.send(("SADD", prefix, member))
                try:
                    assert wire.receive() == 1
                except EOFError:
                    wire = dial()
                    assert wire.call("SISMEMBER", prefix, member) == 1

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(add, range(8)))) == 8
    assert proxy.stats.swallowed > 10
    with dialling(server.url) as dial:
        assert dial().call("SCARD", prefix) == 800
