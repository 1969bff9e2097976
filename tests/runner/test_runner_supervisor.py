"""The supervisor in code: what observers are told, when it restarts, and how it replaces."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from runner_harness import SERVED, alive

from redstate.conversimple.runner import Backoff, RestartFailed, RunnerSettings, Supervisor, WorkerEvent
from redstate.errors import ConfigurationError
from redstate.testing import LocalPlatform


class Observed:
    """Keeps the events, and lets wait for them."""

    def __init__(self) -> None:
        self.events: list[WorkerEvent] = []
        self._more = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, event: WorkerEvent) -> None:
        self.events.append(event)
        task = asyncio.ensure_future(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._more:
            self._more.notify_all()

    def of(self, kind: str) -> list[WorkerEvent]:
        return [event for event in self.events if event.kind == kind]

    async def until(self, kind: str, count: int = 1, matches: Callable[[WorkerEvent], Any] = bool) -> list[WorkerEvent]:
        """Wait for ``count`` events of a kind."""

        def found() -> list[WorkerEvent]:
            return [event for event in self.of(kind) if matches(event)]

        async with asyncio.timeout(30), self._more:
            await self._more.wait_for(lambda: len(found()) >= count)
        return found()


@asynccontextmanager
async def supervised(
    url: str, prefix: str, *, backoff: Callable[[], Backoff] = Backoff, **settings: Any
) -> AsyncIterator[tuple[LocalPlatform, Supervisor, Observed]]:
    observed = Observed()
    async with LocalPlatform() as platform:
        given: dict[str, Any] = {
            "api_key": "key", "path": SERVED, "workers": 2, "url": url, "platform_url": platform.url,
            "environment": {"REDSTATE_KEY_PREFIX": prefix}, "grace": 5.0, **settings,
        }  # fmt: skip
        async with Supervisor(RunnerSettings(**given), observed, backoff=backoff) as supervisor:
            yield platform, supervisor, observed


def test_named_classes_with_options_are_served_and_events_are_forwarded(url: str, prefix: str) -> None:
    async def scenario() -> None:
        options = {"greeting": "good day"}
        serving = supervised(url, prefix, classes=("desk:Desk",), options=options)
        async with serving as (platform, supervisor, observed):
            assert supervisor.agents == ("desk",)
            assert [(worker.number, worker.ready) for worker in supervisor.workers] == [(1, True), (2, True)]
            conv = await platform.start_conversation(registrations=1)
            answer = await platform.call(conv.id, "who", call_id="call-1")
            assert answer.result["greeting"] == "good day"
            (event,) = await observed.until("event", matches=lambda event: event.data["event"] == "asked")
            assert (event.worker, event.pid) == (int(answer.result["worker"]), answer.result["pid"])
            assert event.data == {
                "event": "asked", "seconds": 0.25, "conversation_id": conv.id, "call_id": "call-1",
                "level": "INFO", "message": "it was asked",
            }  # fmt: skip
            (report, *_) = await observed.until(
                "report", matches=lambda event: event.data["statistics"]["calls_answered"]
            )
            assert report.data["statistics"]["calls_answered"] == 1
            assert report.data["connected"] == 1
            assert 0 <= report.data["loop_lag"] < 10
            waiting = asyncio.ensure_future(supervisor.wait())
            assert await supervisor.stop()
            await waiting
            assert supervisor.workers == []

    asyncio.run(scenario())


def test_a_worker_that_always_crashes_is_restarted_with_growing_pauses(url: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(
        "import os\nfrom redstate.conversimple import StatefulAgent\n"
        "class Desk(StatefulAgent):\n    agent_id = 'desk'\n    async def start(self):\n        os._exit(3)\n"
    )

    async def scenario() -> None:
        observed = Observed()
        settings = RunnerSettings(api_key="key", path=tmp_path, url=url, environment={"REDSTATE_KEY_PREFIX": prefix})
        supervisor = Supervisor(settings, observed, backoff=lambda: Backoff(first=0.01, highest=0.1))
        starting = asyncio.ensure_future(supervisor.start())
        pauses = [event.data["pause"] for event in await observed.until("restarting", 5)]
        assert all(low <= pause <= low * 2 for pause, low in zip(pauses, (0.005, 0.01, 0.02, 0.04, 0.05), strict=True))
        assert {event.data["status"] for event in observed.of("ended")} == {3}
        assert {event.data["reason"] for event in observed.of("ended")} == {"crashed"}
        assert {event.worker for event in observed.events} == {1}
        starting.cancel()
        assert await supervisor.stop()
        assert supervisor.workers == []

    asyncio.run(scenario())


def test_pauses_double_up_to_the_highest_and_begin_anew_after_a_steady_time() -> None:
    backoff = Backoff(first=1.0, highest=5.0, steady=10.0)
    for highest in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert highest / 2 <= backoff.pause(ready_for=9.0) <= highest
    assert backoff.pause(ready_for=10.0) <= 1.0
    assert backoff.pause(ready_for=0.0) >= 1.0


def test_one_worker_is_replaced_and_all_others_go_on(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with supervised(url, prefix) as (platform, supervisor, observed):
            before = supervisor.pids
            await supervisor.restart(2)
            after = supervisor.pids
            assert after[1] == before[1]
            assert after[2] != before[2] and not alive(before[2])
            (replacement,) = await observed.until("started", matches=lambda event: event.data["replacement"])
            assert (replacement.worker, replacement.pid) == (2, after[2])
            assert [(end.pid, end.data["reason"], end.data["status"]) for end in observed.of("ended")] == [
                (before[2], "replaced", 0)
            ]
            assert len(await platform.wait_for_agents(2)) == 2

    asyncio.run(scenario())


def test_a_rolling_restart_never_has_fewer_ready_than_wanted(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with supervised(url, prefix) as (_, supervisor, observed):
            before = set(supervisor.pids.values())
            await supervisor.rolling_restart()
            assert not before & set(supervisor.pids.values())
            ready: set[int] = set()
            sizes = []
            for event in observed.events:
                ready |= {event.pid} if event.kind == "ready" else set()
                ready -= {event.pid} if event.kind == "ended" else set()
                sizes.append(len(ready))
            assert min(sizes[sizes.index(2) :]) == 2
            assert max(sizes) == 3

    asyncio.run(scenario())


def test_an_old_worker_that_dies_while_its_replacement_starts_is_not_replaced_twice(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with supervised(url, prefix, workers=1) as (_, supervisor, observed):
            old = supervisor.pids[1]
            restart = asyncio.ensure_future(supervisor.restart(1))
            await observed.until("started", 2)
            os.kill(old, signal.SIGKILL)
            await restart
            assert len(observed.of("started")) == 2
            assert [worker.ready for worker in supervisor.workers] == [True]

    asyncio.run(scenario())


def test_a_replacement_that_dies_leaves_the_old_worker(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with supervised(url, prefix, workers=1) as (_, supervisor, observed):
            old = supervisor.pids[1]
            restart = asyncio.ensure_future(supervisor.restart(1))
            _, heir = await observed.until("started", 2)
            os.kill(heir.pid, signal.SIGKILL)
            with pytest.raises(RestartFailed) as failed:
                await restart
            assert failed.value.number == 1
            assert supervisor.pids == {1: old}
            assert supervisor.ready == 1

    asyncio.run(scenario())


def test_a_stop_during_a_replacement_ends_both_in_order(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with supervised(url, prefix, workers=1) as (_, supervisor, observed):
            restart = asyncio.ensure_future(supervisor.restart(1))
            await observed.until("started", 2)
            assert await supervisor.stop()
            await restart
            assert supervisor.workers == []
            assert len(observed.of("ended")) == 2
            await supervisor.rolling_restart()
            assert len(observed.of("started")) == 2

    asyncio.run(scenario())


def test_a_worker_that_does_not_get_ready_in_time_is_killed(url: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(
        "import asyncio\nfrom redstate.conversimple import StatefulAgent\n"
        "class Desk(StatefulAgent):\n    async def start(self):\n        await asyncio.Event().wait()\n"
    )

    async def scenario() -> None:
        observed = Observed()
        settings = RunnerSettings(
            api_key="key", path=tmp_path, classes=("desk:Desk",), url=url, start_timeout=0.5,
            environment={"REDSTATE_KEY_PREFIX": prefix},
        )  # fmt: skip
        supervisor = Supervisor(settings, observed)
        starting = asyncio.ensure_future(supervisor.start())
        (stalled, *_) = await observed.until("stalled")
        assert stalled.data["ready"] is False
        (end, *_) = await observed.until("ended")
        assert (end.data["reason"], end.data["killed"], end.data["status"]) == ("stalled", True, -signal.SIGKILL)
        starting.cancel()
        supervisor.kill()
        await supervisor.stop()

    asyncio.run(scenario())


def test_a_class_that_cannot_be_served_fails_the_start_and_leaves_no_worker(url: str, prefix: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=r"desk:logger is no StatefulAgent\. Make it one"):
            async with supervised(url, prefix, classes=("desk:logger",)):
                pass

    asyncio.run(scenario())


def test_an_observer_that_fails_harms_nobody(url: str, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        def failing(event: WorkerEvent) -> None:
            raise RuntimeError("no")

        observed = Observed()
        async with LocalPlatform() as platform:
            settings = RunnerSettings(
                api_key="key", path=SERVED, url=url, platform_url=platform.url,
                environment={"REDSTATE_KEY_PREFIX": prefix},
            )  # fmt: skip
            async with Supervisor(settings, failing, observed):
                assert observed.of("ready")

    asyncio.run(scenario())
    assert "an observer failed at 'ready' of worker 1" in caplog.text
