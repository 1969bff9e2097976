"""What goes wrong in the soak: faults on the way of each process to the server, and a server that dies."""

from __future__ import annotations

import itertools
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redstate import errors
from redstate.embedded import EmbeddedServer
from redstate.testing.proxy import FaultProxy

LISTENER_CUT, ALL_CUT = "listener cut", "all cut"
LISTENER_HOLE, ALL_HOLE = "listener black-holed", "all black-holed"
LOST_PUSHES, LOST_REPLIES = "pushes lost", "replies lost"
SLOW_WIRE, SLOW_REPLIES, HELD_READS = "slow wire", "slow replies", "reads held"
RESTART = "server killed"
ON_THE_WAY = (
    LISTENER_CUT, ALL_CUT, LISTENER_HOLE, ALL_HOLE, LOST_PUSHES, LOST_REPLIES, SLOW_WIRE, SLOW_REPLIES, HELD_READS,
)  # fmt: skip
KINDS = (*ON_THE_WAY, RESTART)

_STARTED_WITHIN = 20.0
_CUT_IN_THE_MIDDLE = 0.4  # of the faults that last


def _reads_a_record(command: bytes, arguments: list[bytes]) -> bool:
    # A script with nothing but its key: changes have arguments, and go on meanwhile where they have a connection.
    return command == b"EVALSHA" and len(arguments) == 3


class OwnServer:
    """A server on a port of its own that writes everything to disk before it answers, so that it may be killed."""

    def __init__(self, port: int, folder: Path) -> None:
        # The log is written anew from time to time, so that a restart is soon done with reading it.
        always = {"appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-min-size": "8mb"}
        self._config = {"port": str(port), "dir": str(folder), **always}
        self.url = f"redis://127.0.0.1:{port}"
        self._running = EmbeddedServer.start(config=self._config)

    def kill_and_restart(self, down: float) -> None:
        """SIGKILL, some seconds of nothing, and a new server on what the old one left."""
        self._running.close()
        time.sleep(down)
        deadline = time.monotonic() + _STARTED_WITHIN
        while True:
            try:
                self._running = EmbeddedServer.start(config=self._config, startup_timeout=_STARTED_WITHIN)
                return
            except errors.ConfigurationError:
                # Somebody may have the port for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self._running.close()


class Trouble:
    """Makes trouble from threads of its own until it is told to stop.

    Args:
        staleness: D, in seconds.
        seed: of its choices.

    Attributes:
        done: the faults that came about, by kind.
        failures: tracebacks of what should not have happened.
    """

    def __init__(self, staleness: float, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self._staleness = staleness
        self._seed = seed
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def made(
        self, proxies: list[FaultProxy], server: OwnServer, faults_apart: float, restarts_apart: float
    ) -> Iterator[None]:
        """Trouble inside the block; at its end everything is healed."""
        threads = [
            threading.Thread(target=self._on_the_way, args=(number, proxy, faults_apart), daemon=True)
            for number, proxy in enumerate(proxies)
        ]
        threads.append(threading.Thread(target=self._at_the_server, args=(server, restarts_apart), daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _on_the_way(self, number: int, proxy: FaultProxy, apart: float) -> None:
        chance = random.Random(f"{self._seed} way {number}")
        # Each kind in turn at first, other ones for each process; then as it comes.
        first = [ON_THE_WAY[(2 * number + turn) % len(ON_THE_WAY)] for turn in range(len(ON_THE_WAY))]
        try:
            for kind in itertools.chain(first, iter(lambda: chance.choice(ON_THE_WAY), None)):
                if self._stop.wait(apart * 2 * chance.random()):
                    return
                if self._fault(kind, proxy, chance):
                    self._count(kind)
        except BaseException:  # noqa: BLE001 - said at the end
            self.failures.append(traceback.format_exc())
        finally:
            proxy.heal()

    def _fault(self, kind: str, proxy: FaultProxy, chance: random.Random) -> bool:
        """Do it, and heal it. Returns whether it hit anything."""
        if kind in (LISTENER_CUT, ALL_CUT):
            carrying = "SUBSCRIBE" if kind == LISTENER_CUT else None
            return proxy.cut(reset=chance.random() < 0.5, carrying=carrying) > 0
        before = proxy.stats
        self._begin(kind, proxy, chance)
        lasts, middle = chance.uniform(0.2, 2.0) * self._staleness, chance.random()
        self._stop.wait(lasts * middle)
        if chance.random() < _CUT_IN_THE_MIDDLE and proxy.cut(carrying="SUBSCRIBE"):
            self._count(LISTENER_CUT)
        self._stop.wait(lasts * (1 - middle))
        proxy.heal()
        after = proxy.stats
        if kind == LOST_PUSHES:
            return after.dropped > before.dropped
        return after.swallowed > before.swallowed if kind == LOST_REPLIES else True

    def _begin(self, kind: str, proxy: FaultProxy, chance: random.Random) -> None:
        seed = chance.randrange(2**32)
        if kind in (LISTENER_HOLE, ALL_HOLE):
            proxy.blackhole(carrying="SUBSCRIBE" if kind == LISTENER_HOLE else None)
        elif kind == LOST_PUSHES:
            proxy.drop_pushes(chance.randint(1, 200), matching=lambda push, _: push == b"message")
        elif kind == LOST_REPLIES:
            proxy.swallow_fraction(0.05, seed=seed)
        elif kind == SLOW_WIRE:
            # Both ways: requests of one process overtake each other, and their replies and invalidations do.
            proxy.delay((0.0, 0.1), seed=seed)
            proxy.delay((0.0, 0.1), seed=seed, direction="requests")
        elif kind == HELD_READS:
            proxy.hold_replies(matching=_reads_a_record)
        else:
            # Invalidations overtake them.
            proxy.delay((0.0, 0.1), seed=seed, command="EVALSHA")

    def _at_the_server(self, server: OwnServer, apart: float) -> None:
        chance = random.Random(f"{self._seed} server")
        try:
            while not self._stop.wait(apart * (0.5 + chance.random())):
                server.kill_and_restart(0.3 * chance.random())
                self._count(RESTART)
        except BaseException:  # noqa: BLE001 - said at the end
            self.failures.append(traceback.format_exc())

    def _count(self, kind: str) -> None:
        with self._lock:
            self.done[kind] += 1
