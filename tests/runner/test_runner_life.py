"""``redstate run`` from its start to its end: what workers serve, who replaces them, and what signals do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runner_harness import KEY, SERVED, Runner, alive, command_line, running, until_gone

from redstate.testing import LocalPlatform, ToolResult


@asynccontextmanager
async def served(url: str, prefix: str, *options: str, workers: int = 2) -> AsyncIterator[tuple[LocalPlatform, Runner]]:
    async with LocalPlatform() as platform, running(platform.url, url, prefix, *options, workers=workers) as runner:
        yield platform, runner


def port_of(platform_url: str) -> int:
    return int(platform_url.split(":")[2].partition("/")[0])


async def send(platform: LocalPlatform, tool: str) -> asyncio.Task[object]:
    """Call a tool that will not answer."""
    conv = await platform.start_conversation(registrations=1)
    return asyncio.create_task(platform.call(conv.id, tool))


def test_workers_serve_calls_and_sigterm_ends_them_in_order(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix, "--customer-id", "c1") as (platform, runner):
            assert [agent.customer_id for agent in platform.agents] == ["c1", "c1"]
            conv = await platform.start_conversation(registrations=1)
            answer = (await platform.call(conv.id, "who")).result
            assert runner.pids()[int(answer["worker"])] == answer["pid"]
            (summary,) = await runner.logged("workers serve ")
            assert summary["message"] == "2 workers serve desk"
            runner.process.terminate()
            assert await runner.ended() == 0
            assert platform.agents == ()
            assert [line["message"].partition(") ")[2] for line in await runner.logged("(stopped)", 2)] == [
                "ended with status 0 (stopped)"
            ] * 2

    asyncio.run(scenario())


@asynccontextmanager
async def holding(platform: LocalPlatform) -> AsyncIterator[tuple[asyncio.Task[ToolResult], asyncio.StreamWriter]]:
    """A call in flight, and the connection whose end ends it."""
    connected: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    async with await asyncio.start_server(lambda _, writer: connected.set_result(writer), "127.0.0.1", 0) as server:
        conv = await platform.start_conversation(registrations=1)
        port = server.sockets[0].getsockname()[1]
        call = asyncio.create_task(platform.call(conv.id, "hold", {"port": port}))
        writer = await connected
        try:
            yield call, writer
        finally:
            call.cancel()
            writer.close()


def test_sigterm_lets_calls_in_flight_finish(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix) as (platform, runner), holding(platform) as (call, connection):
            runner.process.terminate()
            await runner.logged("(stopped)", 1)  # of the other worker
            connection.close()
            assert (await call).result == "held"
            assert await runner.ended() == 0

    asyncio.run(scenario())


def test_calls_that_take_longer_than_the_grace_period_are_cut_off(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix, "--grace", "0.2") as (platform, runner), holding(platform) as (call, _):
            runner.process.terminate()
            assert await runner.ended() == 0
            assert not call.done()

    asyncio.run(scenario())


def test_a_killed_worker_is_started_again_with_its_number(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix) as (_, runner):
            before = runner.pids()
            os.kill(before[2], signal.SIGKILL)
            await runner.logged("is ready", 3)
            after = runner.pids()
            assert after[1] == before[1] and after[2] != before[2]
            assert (await runner.logged("was killed by signal 9 (crashed)"))[0]["worker"] == 2
            runner.process.terminate()
            assert await runner.ended() == 0

    asyncio.run(scenario())


def test_a_worker_whose_event_loop_is_stuck_is_killed_and_replaced(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix, "--stall-timeout", "1.5", workers=1) as (platform, runner):
            call = await send(platform, "wedge")
            (stalled,) = await runner.logged("has not reported for")
            assert stalled["worker_pid"] == runner.pids()[1]
            await runner.logged("is ready", 2)
            assert runner.pids()[1] != stalled["worker_pid"]
            await platform.wait_for_agents(1)
            call.cancel()

    asyncio.run(scenario())


def test_sighup_replaces_each_worker_when_the_new_one_is_ready(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix) as (platform, runner):
            before = runner.pids()
            runner.process.send_signal(signal.SIGHUP)
            await runner.logged("all workers were replaced")
            events = [(line["event"], line["worker"]) for line in runner.lines if line.get("worker_pid")]
            assert events[2:] == [
                ("worker_ready", 1), ("worker_ended", 1), ("worker_ready", 2), ("worker_ended", 2),
            ]  # fmt: skip
            assert not set(before.values()) & set(runner.pids().values())
            assert len(await platform.wait_for_agents(2)) == 2

    asyncio.run(scenario())


def test_sighup_with_code_that_is_broken_now_leaves_the_old_workers_alone(
    url: str, prefix: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        agents = tmp_path / "desk.py"
        agents.write_text((SERVED / "desk.py").read_text())
        async with LocalPlatform() as platform, running(platform.url, url, prefix, path=tmp_path) as runner:
            agents.write_text("import nothing_of_that_name\n")
            runner.process.send_signal(signal.SIGHUP)
            await runner.logged("did not get ready; the old worker goes on")
            assert all(map(alive, runner.pids().values()))
            assert len(runner.pids()) == 2

    asyncio.run(scenario())


def test_workers_end_with_a_parent_that_is_killed(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix, "--grace", "1") as (_, runner):
            pids = list(runner.pids().values())
            runner.process.kill()
            await runner.process.wait()
            await until_gone(pids)

    asyncio.run(scenario())


def test_a_second_ctrl_c_kills_workers_that_do_not_end(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix, workers=1) as (platform, runner):
            call = await send(platform, "wedge")
            await runner.until(lambda: any(line.get("event") == "wedged" for line in runner.lines), "wedged")
            runner.process.send_signal(signal.SIGINT)
            await runner.logged("the workers finish their calls and end")
            assert alive(runner.pids()[1])
            runner.process.send_signal(signal.SIGINT)
            assert await runner.ended(timeout=5) == 130
            assert not alive(runner.pids()[1])
            call.cancel()

    asyncio.run(scenario())


def test_a_platform_that_cannot_be_reached_is_tried_again(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as gone:
            platform_url = gone.url
        async with running(platform_url, url, prefix, workers=1, ready=False) as runner:
            failures = await runner.logged("cannot serve: agent desk cannot connect to the platform at ws://", 2)
            assert failures[0]["level"] == "ERROR"
            await runner.logged("ended with status 69 (failed)")
            async with LocalPlatform(port=port_of(platform_url)):
                await runner.logged("1 workers serve desk")

    asyncio.run(scenario())


def test_a_key_that_the_platform_refuses_is_told(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with LocalPlatform(auth_token="another") as platform:
            async with running(platform.url, url, prefix, workers=1, ready=False) as runner:
                (failure, *_) = await runner.logged("cannot serve")
                assert "authentication_failed" in failure["message"]
                assert "Check the platform's URL and the API key" in failure["message"]
                runner.process.terminate()
                assert await runner.ended() == 0

    asyncio.run(scenario())


def test_a_worker_that_the_platform_lets_in_no_more_is_replaced(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, running(platform.url, url, prefix, workers=1) as runner:
            port = port_of(platform.url)
            await platform.__aexit__(None, None, None)
            async with LocalPlatform(port=port, auth_token="another"):
                (failure, *_) = await runner.logged("lost its connection to the platform for good")
                assert failure["worker"] == 1
                await runner.logged("ended with status 69 (failed)")
            async with LocalPlatform(port=port):
                await runner.logged("is ready", 2)

    asyncio.run(scenario())


def test_sigterm_ends_it_also_while_the_modules_are_imported(url: str, prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "slow.py").write_text("import sys, time\nprint('importing', file=sys.stderr)\ntime.sleep(600)\n")
        async with running("ws://127.0.0.1:1", url, prefix, path=tmp_path, ready=False) as runner:
            await runner.until(lambda: "importing\n" in runner.raw, "importing")
            runner.process.terminate()
            assert await runner.ended() == 0

    asyncio.run(scenario())


def test_log_lines_name_the_conversation_the_call_and_the_worker_and_never_the_key(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with served(url, prefix) as (platform, runner):
            conv = await platform.start_conversation(registrations=1)
            answer = await platform.call(conv.id, "who", call_id="call-7")
            (line,) = await runner.logged("asked with")
            assert line["message"] == "asked with ***"
            assert (line["conversation_id"], line["call_id"]) == (conv.id, "call-7")
            assert (line["worker"], line["pid"]) == (int(answer.result["worker"]), answer.result["pid"])
            assert (line["level"], line["logger"]) == ("INFO", "desk")
            assert line["time"].endswith("Z") and len(line["time"]) == len("2026-01-01T00:00:00.000Z")
            (event,) = await runner.logged("it was asked")
            assert (event["event"], event["seconds"]) == ("asked", 0.25)
            assert "thing" not in event
            for pid in (runner.process.pid, *runner.pids().values()):
                assert KEY not in command_line(pid)
            assert KEY not in "".join(runner.raw)

    asyncio.run(scenario())


def test_a_private_server_is_shared_by_the_workers_and_ends_with_them(prefix: str) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform:
            async with running(platform.url, "", prefix, "--embedded") as runner:
                runner.process.terminate()
                assert await runner.ended() == 0

    asyncio.run(scenario())
