"""What ``redstate run`` serves over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from runner_harness import COMMAND, KEY, SERVED, Runner, running

from redstate.conversimple.runner import WorkerEvent
from redstate.conversimple.runner.figures import Figures
from redstate.testing import LocalPlatform


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def get(url: str) -> tuple[int, str]:
    return await asyncio.to_thread(_get, url)


async def samples(base: str) -> dict[tuple[str, str | None], float]:
    """The metrics, by name, and event or worker."""
    _, text = await get(f"{base}/metrics")
    return {
        (sample.name, sample.labels.get("event") or sample.labels.get("worker")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def until_counted(base: str, worker: str, calls: int) -> dict[tuple[str, str | None], float]:
    """Ask again until the worker's calls are counted: workers report once a second."""
    async with asyncio.timeout(15):
        while True:
            found = await samples(base)
            assert found.get(("redstate_calls_answered_total", worker), 0) <= calls
            if found.get(("redstate_calls_answered_total", worker)) == calls:
                return found
            await asyncio.sleep(0.05)


async def base_url(runner: Runner) -> str:
    (summary,) = await runner.logged("workers serve ")
    return str(summary["message"].rpartition(" ")[2])


def test_metrics_and_health_are_told_and_counters_do_not_go_back(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform:
            async with running(platform.url, url, prefix, "--metrics-port", "0", workers=1) as runner:
                base = await base_url(runner)
                assert await get(f"{base}/healthz") == (200, "1 of 1 workers are ready\n")
                assert await get(f"{base}/readyz") == (200, "1 of 1 workers are ready\n")
                assert (await get(f"{base}/"))[0] == 404
                conv = await platform.start_conversation(registrations=1)
                await platform.call(conv.id, "who")
                found = await until_counted(base, "1", 1)
                assert found["redstate_workers", None] == 1
                assert found["redstate_worker_ready", "1"] == 1
                assert found["redstate_worker_connected_agents", "1"] == 1
                assert found["redstate_conversations", "1"] == 1
                assert found["redstate_events_total", "asked"] == 1

                os.kill(runner.pids()[1], signal.SIGKILL)
                await runner.logged("is ready", 2)
                found = await samples(base)
                assert found["redstate_calls_answered_total", "1"] == 1
                assert found["redstate_worker_restarts_total", "1"] == 1
                conv = await platform.start_conversation(registrations=1)
                await platform.call(conv.id, "who")
                await until_counted(base, "1", 2)
                runner.process.terminate()
                assert await runner.ended() == 0
                with pytest.raises(urllib.error.URLError):
                    await get(f"{base}/healthz")

    asyncio.run(scenario())


def test_it_is_not_ready_before_its_workers_are(url: str, prefix: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def scenario() -> None:
        async with LocalPlatform() as gone:
            platform_url = gone.url
        options = ("--metrics-port", str(port))
        async with running(platform_url, url, prefix, *options, workers=1, ready=False) as runner:
            await runner.logged("cannot serve")
            assert await get(f"http://127.0.0.1:{port}/healthz") == (503, "0 of 1 workers are ready\n")
            assert await get(f"http://127.0.0.1:{port}/readyz") == (503, "0 of 1 workers are ready\n")

    asyncio.run(scenario())


def refused(code: str, *options: str) -> str:
    done = subprocess.run(
        [*COMMAND[:2], code, "run", str(SERVED), "--url", "redis://h", *options],
        env={**os.environ, "CONVERSIMPLE_API_KEY": KEY}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(COMMAND[2], "--metrics-port", str(port)) == (
            f"error: cannot serve metrics on 127.0.0.1, port {port}: it is in use. "
            "Pass another --metrics-port or --metrics-host\n"
        )


def test_without_its_extra_it_says_what_to_install() -> None:
    code = f"import sys; sys.modules['prometheus_client'] = None; {COMMAND[2].removeprefix('import sys; ')}"
    assert refused(code, "--metrics-port", "0") == (
        "error: metrics need prometheus_client, which is not installed. "
        'Install it with: pip install "redstate[metrics]"\n'
    )
    assert sys.modules.get("prometheus_client") is not None


def test_figures_add_up_over_replacements_of_a_worker() -> None:
    figures = Figures()

    def report(pid: int, answered: int) -> None:
        statistics = {"calls_answered": answered, "conversations": 2}
        figures(WorkerEvent("report", 1, pid, {"statistics": statistics, "loop_lag": pid / 100, "connected": 1}))

    for pid in (10, 11):
        figures(WorkerEvent("started", 1, pid, {"replacement": pid == 11}))
        figures(WorkerEvent("ready", 1, pid, {"agents": ["desk"]}))
        report(pid, 5)
    assert figures.snapshot().totals == {("calls_answered", 1): 10}
    assert figures.snapshot().now == {("conversations", 1): 4}
    assert (figures.snapshot().ready, figures.snapshot().loop_lag) == ({1: 2}, {1: 0.11})
    figures(WorkerEvent("ended", 1, 10, {"reason": "replaced", "status": 0, "killed": False}))
    report(11, 6)
    assert figures.snapshot().totals == {("calls_answered", 1): 11}
    assert figures.snapshot().now == {("conversations", 1): 2}
