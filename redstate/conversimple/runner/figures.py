"""The workers' numbers over time: what the live ones reported last, and what the ended ones had reached."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from redstate.conversimple.runner.events import WorkerEvent

# The statistics that say what is now; all others only grow.
GAUGES = frozenset({"conversations", "calls_running"})


@dataclass(slots=True)
class _Live:
    worker: int
    ready: bool = False
    loop_lag: float = 0.0
    connected: int = 0
    statistics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sweeping:
    """The sweeper's numbers.

    Attributes:
        ready: whether one is ready.
        totals: the fields of ``SweepFigures``, over all processes that there were.
        backlog: the fields of ``Backlog``; None where it is not known now.
        restarts: how often it was started again.
    """

    ready: bool
    totals: Mapping[str, int]
    backlog: Mapping[str, float] | None
    restarts: int


class Sweepers:
    """Adds up what the sweeper's processes, one after another, have reported."""

    def __init__(self) -> None:
        self._live: dict[int, Mapping[str, int]] = {}
        self._ready: set[int] = set()
        self._ended: Counter[str] = Counter()
        self._backlog: Mapping[str, float] | None = None
        self._restarts = 0
        self._any = False

    def take(self, event: WorkerEvent) -> None:
        """Take an event in, if it is of a sweeper."""
        match event.kind:
            case "sweeper_started":
                self._any = True
                self._live[event.pid] = {}
            case "sweeper_ready":
                self._ready.add(event.pid)
            case "sweeper_report":
                self._live[event.pid] = event.data["figures"]
                self._backlog = event.data["backlog"]
            case "sweeper_ended":
                self._ended.update(self._live.pop(event.pid))
                self._ready.discard(event.pid)
                if not self._live:
                    self._backlog = None
            case "sweeper_restarting":
                self._restarts += 1

    def snapshot(self) -> Sweeping | None:
        """The numbers of now; None where there is no sweeper."""
        if not self._any:
            return None
        totals = Counter(self._ended)
        for figures in self._live.values():
            totals.update(figures)
        return Sweeping(bool(self._ready), totals, self._backlog, self._restarts)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one moment, by worker number.

    Attributes:
        ready: the processes that are ready.
        connected: the agents that are connected.
        loop_lag: seconds by which the event loop was late at worst in the last second.
        now: the statistics that say what is now, by name and number.
        totals: the statistics that only grow, by name and number, over all processes that the number had.
        restarts: how often it was started again, by number and reason.
        events: how often each event was reported, by name and number.
        sweeping: the sweeper's numbers; None where there is none.
    """

    ready: Mapping[int, int]
    connected: Mapping[int, int]
    loop_lag: Mapping[int, float]
    now: Mapping[tuple[str, int], float]
    totals: Mapping[tuple[str, int], float]
    restarts: Mapping[tuple[int, str], int]
    events: Mapping[tuple[str, int], int]
    sweeping: Sweeping | None


class Figures:
    """An observer that keeps the workers' numbers; they may be read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: dict[int, _Live] = {}
        self._ended: defaultdict[tuple[str, int], float] = defaultdict(float)
        self._restarts: Counter[tuple[int, str]] = Counter()
        self._events: Counter[tuple[str, int]] = Counter()
        self._reasons: dict[int, str] = {}
        self._sweepers = Sweepers()

    def __call__(self, event: WorkerEvent) -> None:
        """Take an event in."""
        with self._lock:
            self._take(event)

    def snapshot(self) -> Snapshot:
        """Return the numbers of now."""
        ready: Counter[int] = Counter()
        connected: Counter[int] = Counter()
        lags: dict[int, float] = {}
        now: dict[tuple[str, int], float] = {}
        with self._lock:
            totals: dict[tuple[str, int], float] = dict(self._ended)
            for live in self._live.values():
                ready[live.worker] += live.ready
                connected[live.worker] += live.connected
                lags[live.worker] = max(lags.get(live.worker, 0.0), live.loop_lag)
                for name, value in live.statistics.items():
                    sums = now if name in GAUGES else totals
                    sums[name, live.worker] = sums.get((name, live.worker), 0) + value
            sweeping = self._sweepers.snapshot()
            return Snapshot(ready, connected, lags, now, totals, dict(self._restarts), dict(self._events), sweeping)

    def _take(self, event: WorkerEvent) -> None:
        data = event.data
        match event.kind:
            case "started":
                self._live[event.pid] = _Live(event.worker)
            case "ready":
                self._live[event.pid].ready = True
            case "report":
                live = self._live[event.pid]
                live.statistics, live.loop_lag, live.connected = data["statistics"], data["loop_lag"], data["connected"]
            case "event":
                self._events[str(data["event"]), event.worker] += 1
            case "ended":
                self._bury(self._live.pop(event.pid))
                self._reasons[event.worker] = str(data["reason"])
            case "restarting":
                self._restarts[event.worker, self._reasons.get(event.worker, "crashed")] += 1
            case _:
                self._sweepers.take(event)

    def _bury(self, dead: _Live) -> None:
        for name, value in dead.statistics.items():
            if name not in GAUGES:
                self._ended[name, dead.worker] += value
