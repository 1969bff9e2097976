"""The workers' numbers in Prometheus' terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec

from redstate.errors import MissingExtra

if find_spec("prometheus_client") is None:
    raise MissingExtra(
        "metrics need prometheus_client, which is not installed",
        next_step='Install it with: pip install "redstate[metrics]"',
        extra="metrics",
    )

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from redstate.conversimple.runner.figures import Figures, Snapshot, Sweeping

_HELP = {
    "conversations": "Conversations that the worker owns now.",
    "calls_running": "Tool calls under way now.",
    "calls_answered": "Tool calls whose tool returned, and that were answered.",
    "calls_failed": "Tool calls that were answered with an error.",
    "calls_repeated": "Redelivered tool calls that were answered from the journal.",
    "claims": "Conversations claimed, take-overs among them.",
    "take_overs": "Conversations taken over from an owner that died or left.",
    "fenced": "Conversations lost to another owner while they were served.",
}
_SWEPT = {
    "archived": "Conversations that left the store for the archive.",
    "abandoned": "Archived conversations that nobody had ended.",
    "erased": "Conversations taken out of the archive again, as they had been erased meanwhile.",
    "corrupt": "Looks at conversations that cannot be read, and stay in the store.",
    "failures": "Times that the server or the archive's database could not do it.",
}
_BACKLOG = {
    "due": ("backlog", "Conversations that wait for a sweeper."),
    "oldest": ("oldest_seconds", "For how long the first of these has waited."),
    "conversations": ("conversations", "Conversations in the store, going on or not, until they are archived."),
}


def exposition(figures: Figures, wanted: int) -> Callable[[str], tuple[bytes, str]]:
    """Return a function that takes an Accept header and returns the metrics' text and its content type.

    Args:
        figures: where the numbers are.
        wanted: how many workers there are to be.
    """
    registry = CollectorRegistry()
    registry.register(_WorkerCollector(figures, wanted))

    def rendered(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        text: bytes = encode(registry)
        return text, content_type

    return rendered


class _WorkerCollector(Collector):
    def __init__(self, figures: Figures, wanted: int) -> None:
        self._figures = figures
        self._wanted = wanted

    def collect(self) -> Iterable[Metric]:
        numbers = self._figures.snapshot()
        yield GaugeMetricFamily("redstate_workers", "Workers that there are to be.", value=self._wanted)
        ready = {number: numbers.ready.get(number, 0) for number in range(1, self._wanted + 1)}
        yield _gauge("redstate_worker_ready", "Processes of the worker that are ready.", ready)
        yield _gauge("redstate_worker_connected_agents", "Agents connected to the platform.", numbers.connected)
        yield _gauge(
            "redstate_worker_event_loop_lag_seconds", "Worst lateness of the event loop lately.", numbers.loop_lag
        )
        yield from _statistics(numbers)
        restarts = CounterMetricFamily(
            "redstate_worker_restarts", "Restarts of workers that ended unasked.", labels=["worker", "reason"]
        )
        for (worker, reason), count in sorted(numbers.restarts.items()):
            restarts.add_metric([str(worker), reason], count)
        yield restarts
        events = CounterMetricFamily("redstate_events", "Events that workers reported.", labels=["event", "worker"])
        for (event, worker), count in sorted(numbers.events.items()):
            events.add_metric([event, str(worker)], count)
        yield events
        if numbers.sweeping is not None:
            yield from _sweeping(numbers.sweeping)


def _sweeping(numbers: Sweeping) -> Iterable[Metric]:
    yield GaugeMetricFamily("redstate_sweeper_ready", "Whether the sweeper is ready.", value=int(numbers.ready))
    yield CounterMetricFamily(
        "redstate_sweeper_restarts", "Restarts of the sweeper when it ended unasked.", value=numbers.restarts
    )
    for name, text in _SWEPT.items():
        yield CounterMetricFamily(f"redstate_archive_{name}", text, value=numbers.totals.get(name, 0))
    # Without an answer of the server there is none of these: a number of earlier would be taken for one of now.
    for name, (metric, text) in _BACKLOG.items() if numbers.backlog is not None else ():
        yield GaugeMetricFamily(f"redstate_archive_{metric}", text, value=(numbers.backlog or {})[name])


def _statistics(numbers: Snapshot) -> Iterable[Metric]:
    for name in sorted({name for name, _ in numbers.now}):
        yield _gauge(f"redstate_{name}", _help(name), _of(name, numbers.now))
    for name in sorted({name for name, _ in numbers.totals}):
        family = CounterMetricFamily(f"redstate_{name}", _help(name), labels=["worker"])
        for worker, value in sorted(_of(name, numbers.totals).items()):
            family.add_metric([str(worker)], value)
        yield family


def _gauge(name: str, text: str, values: Mapping[int, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["worker"])
    for worker, value in sorted(values.items()):
        family.add_metric([str(worker)], value)
    return family


def _of(name: str, values: Mapping[tuple[str, int], float]) -> dict[int, float]:
    return {worker: value for (kind, worker), value in values.items() if kind == name}


def _help(name: str) -> str:
    return _HELP.get(name, f"{name.replace('_', ' ').capitalize()}, summed over the worker's agents.")
