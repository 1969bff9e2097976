"""A TCP proxy that breaks connections to a Redis server in the ways that networks and servers do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from redstate.testing._proxy_core import Core, Upstream
from redstate.testing._proxy_faults import (
    Action,
    Chunks,
    Delay,
    Direction,
    HoldRule,
    Matching,
    Predicate,
    ProxyStats,
    Rule,
    Selector,
    seeded,
)

__all__ = ["FaultProxy", "Hold", "ProxyStats"]

_T = TypeVar("_T")
_COUNTERS = frozenset(counter.name for counter in fields(ProxyStats))


class Hold:
    """Replies kept back by `FaultProxy.hold_replies`. Use release(), or a with block that releases at its end."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def release(self) -> None:
        """Lets the held replies go, in order; to repeat it is harmless."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class FaultProxy:
    """Stands between clients and a real server, forwards whole frames, and injects the faults it is told to.

    It runs in a thread of its own, so blocking and asyncio clients can both use it:

        with FaultProxy("redis://localhost:6379") as proxy:
            proxy.swallow_replies(command="EVALSHA")
            client = connect(proxy.url)

    Every control method may be called from any thread and returns once the fault is in force. A rule about replies acts
    on those that reach the proxy from then on. All methods but url, port and stats need a started proxy and raise
    RuntimeError without one.

    `command` picks requests by name, in any case; `matching` is a predicate of the name (bytes, upper case) and of the
    arguments (list of bytes) that runs in the proxy's thread and must not call the proxy. With both, both must agree.
    An exception in it breaks the connection and is raised again by close().

    Replies are paired with requests in order, so a client must not use CLIENT REPLY. What follows PSYNC, SYNC or
    MONITOR is passed on as a plain stream, which holds, delays, chunks, cuts and black holes still act on. Worker
    processes must be spawned, not forked, while a proxy runs: a forked one keeps its sockets open.

    Args:
        upstream: the server, as redis://host:port or unix:///path; credentials and database are carried over to `url`.

    Raises:
        ConfigurationError: the upstream URL is of another kind.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = Upstream.parse(upstream)
        self._core = Core(self._upstream)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listens on a free port of 127.0.0.1. Raises RuntimeError if started before, OSError if it cannot listen."""
        if self._thread is not None:
            raise RuntimeError("A fault proxy starts once")
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run_loop, args=(started,), name="redstate-fault-proxy", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._loop is None:
            self.close()
        return self

    def close(self) -> None:
        """Closes every connection and ends the thread; to repeat it is harmless.

        Raises:
            Exception: the first failure inside the proxy, such as one of a `matching` predicate.
        """
        loop, stop, thread = self._loop, self._stop, self._thread
        self._loop = None
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)
        if thread is not None:
            thread.join()
        if self._core.failures:
            failure = self._core.failures[0]
            self._core.failures.clear()
            raise failure

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The TCP port; 0 before the start."""
        return self._core.port

    @property
    def url(self) -> str:
        """The URL for clients."""
        return self._upstream.client_url(self.port)

    @property
    def stats(self) -> ProxyStats:
        """A copy of the counters."""
        return replace(self._core.board.stats)

    # Waiting --------------------------------------------------------------------------------------------------------

    def wait_for(self, *, timeout: float = 10.0, **counters: int) -> ProxyStats:
        """Blocks until each named counter has reached its number: `proxy.wait_for(requests=2, held=1)`.

        In a coroutine call it through asyncio.to_thread, as the loop must run on for the client to get anywhere.

        Args:
            timeout: seconds to wait.
            counters: names of `ProxyStats`, each with its least value.

        Raises:
            TimeoutError: not reached in time; the message tells the counters.
            ValueError: no such counter.
        """
        if unknown := counters.keys() - _COUNTERS:
            raise ValueError(f"no such counter: {', '.join(sorted(unknown))}")
        return self.wait_until(
            lambda stats: all(getattr(stats, name) >= least for name, least in counters.items()), timeout=timeout
        )

    def wait_until(self, predicate: Predicate, timeout: float = 10.0) -> ProxyStats:
        """Blocks until the predicate of the counters is true, and returns them. It should stay true once it is.

        Raises:
            TimeoutError: not true within `timeout` seconds; the message tells the counters.
            RuntimeError: the proxy was closed meanwhile.
        """
        return self._perform(self._core.board.reach(predicate, timeout))

    # Lost frames ----------------------------------------------------------------------------------------------------

    def swallow_replies(
        self,
        count: int | None = 1,
        *,
        after: int = 0,
        command: str | None = None,
        matching: Matching | None = None,
    ) -> None:
        """Loses replies together with their connections: the request ran, and nobody is told.

        Replies to earlier requests are delivered first; those to later ones are lost with the connection.

        Args:
            count: how many replies, None for all until heal().
            after: how many selected replies to let pass first.
        """
        self._add(self._core.faults.reply_rules, Rule(Action.SWALLOW, _selector(command, matching), count, after))

    def swallow_fraction(
        self, fraction: float, *, seed: int = 0, command: str | None = None, matching: Matching | None = None
    ) -> None:
        """Loses replies together with their connections, each with this chance (0 to 1), repeatable from the seed."""
        rule = Rule(Action.SWALLOW, _selector(command, matching), None, chance=fraction, rng=seeded(seed))
        self._add(self._core.faults.reply_rules, rule)

    def swallow_requests(
        self,
        count: int | None = 1,
        *,
        after: int = 0,
        command: str | None = None,
        matching: Matching | None = None,
    ) -> None:
        """Loses requests together with their connections: the request never ran. Arguments as in swallow_replies()."""
        self._add(self._core.faults.request_rules, Rule(Action.SWALLOW, _selector(command, matching), count, after))

    def drop_replies(
        self,
        count: int | None = 1,
        *,
        after: int = 0,
        command: str | None = None,
        matching: Matching | None = None,
    ) -> None:
        """Loses replies on connections that stay up. Arguments as in swallow_replies()."""
        self._add(self._core.faults.reply_rules, Rule(Action.DROP, _selector(command, matching), count, after))

    def drop_pushes(self, count: int | None = 1, *, after: int = 0, matching: Matching | None = None) -> None:
        """Loses published messages and other pushes on connections that stay up.

        Args:
            count: how many, None for all until heal().
            after: how many selected ones to let pass first.
            matching: a predicate of the kind (such as b"message") and of the rest of the push (channel, payload).
        """
        self._add(self._core.faults.push_rules, Rule(Action.DROP, _selector(None, matching), count, after))

    # Slow frames ----------------------------------------------------------------------------------------------------

    def delay(
        self,
        seconds: float | tuple[float, float],
        *,
        direction: Direction = "replies",
        seed: int = 0,
        command: str | None = None,
        matching: Matching | None = None,
    ) -> None:
        """Keeps each frame of a direction back; those behind it wait too, so that order is kept.

        A later call for the same direction takes the place of an earlier one; 0 ends it.

        Args:
            seconds: how long, or the bounds between which to draw it for each frame.
            direction: "requests" or "replies".
        """
        low, high = seconds if isinstance(seconds, tuple) else (seconds, seconds)
        if not 0 <= low <= high:
            raise ValueError("a delay is not negative, and its bounds are in order")
        delay = Delay(_selector(command, matching), low, high, seeded(seed))
        self._change(lambda: self._core.faults.delays.update({_known(direction): delay}))

    def chunk(self, largest: int, *, direction: Direction = "replies", seed: int = 0) -> None:
        """Writes a direction's bytes in pieces of 1 to `largest` bytes, each on its own turn of the loop."""
        if largest < 1:
            raise ValueError("a piece has one byte at least")
        chunks = Chunks(largest, seeded(seed))
        self._change(lambda: self._core.faults.chunks.update({_known(direction): chunks}))

    def hold_replies(self, *, command: str | None = None, matching: Matching | None = None) -> Hold:
        """Keeps replies, and all that comes behind them on the same connection, until released.

        Without a condition pushes are held too. At 1 MiB held on a connection the proxy stops reading from the server.
        """
        rule = HoldRule(_selector(command, matching))
        self._change(lambda: self._core.faults.holds.append(rule))
        return Hold(lambda: self._change(lambda: self._core.release(rule)))

    # Broken connections ---------------------------------------------------------------------------------------------

    def blackhole(self, *, carrying: str | None = None) -> None:
        """Moves no byte in either direction until heal(); sockets stay open and new connections are accepted.

        Args:
            carrying: only connections on which this command was sent, or will be, such as "SUBSCRIBE".
        """
        self._change(lambda: self._core.blackhole(_command(carrying)))

    def cut(self, *, reset: bool = False, carrying: str | None = None) -> int:
        """Closes the connections that are open now; returns how many. New ones are accepted.

        Args:
            reset: send a TCP reset instead of an orderly end.
            carrying: only connections on which this command was sent.
        """
        return self._perform(self._core.cut(reset, _command(carrying)))

    def refuse(self) -> None:
        """Refuses new connections until heal(); open ones go on."""
        self._change(self._core.refuse)

    def heal(self) -> None:
        """Ends every fault: what was held or black-holed goes on its way, and new connections are accepted."""
        self._change(self._core.heal)

    # Machinery ------------------------------------------------------------------------------------------------------

    def _run_loop(self, started: threading.Event) -> None:
        # A plain loop whatever policy the application chose: the faults must behave the same everywhere.
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve(started))
        except BaseException as failure:  # noqa: BLE001 - a thread cannot raise; close() raises it to the caller
            self._core.failures.append(failure)
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._record_failure)
        self._core.listen()
        self._stop = asyncio.Event()
        self._loop = loop
        started.set()
        await self._stop.wait()
        await self._core.shut_down()

    def _record_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._core.failures:
            self._core.failures.append(context.get("exception") or RuntimeError(context["message"]))

    def _add(self, rules: list[Rule], rule: Rule) -> None:
        self._change(lambda: rules.append(rule))

    def _change(self, action: Callable[[], None]) -> None:
        async def perform() -> None:
            action()

        self._perform(perform())

    def _perform(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop is None:
            work.close()
            raise RuntimeError("The fault proxy is not running; use it in a with block")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _command(name: str | None) -> bytes | None:
    return None if name is None else name.upper().encode()


def _selector(command: str | None, matching: Matching | None) -> Selector:
    return Selector(_command(command), matching)


def _known(direction: Direction) -> Direction:
    if direction not in ("requests", "replies"):
        raise ValueError('a direction is "requests" or "replies"')
    return direction
