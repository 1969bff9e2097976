"""The sweeper beside the workers: what it archives, what becomes of it, and what the metrics tell of it."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from runner_harness import KEY, SERVED, Runner, alive, command_line, running, until_gone
from test_runner_metrics import base_url, samples
from test_runner_supervisor import Observed, supervised

from redstate import AsyncStore, Store
from redstate._keys import due_key, due_part_key
from redstate.archive import SqlArchive
from redstate.conversimple.runner import Backoff, RestartFailed, RunnerSettings, WorkerEvent
from redstate.conversimple.runner.figures import Figures
from redstate.errors import ConfigurationError
from redstate.testing import LocalPlatform


@asynccontextmanager
async def serving(
    url: str, prefix: str, archive: Path, *options: str, workers: int = 1
) -> AsyncIterator[tuple[LocalPlatform, Runner]]:
    given = ("--archive", str(archive), *options)
    async with LocalPlatform() as platform, running(platform.url, url, prefix, *given, workers=workers) as runner:
        try:
            yield platform, runner
        finally:
            for pid in sweepers(runner):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)


def sweepers(runner: Runner) -> list[int]:
    """The pids of the sweepers that got ready, in that order."""
    return [line["sweeper_pid"] for line in runner.lines if line.get("event") == "sweeper_ready"]


async def until(condition: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """Ask again until there is an answer."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                found = await asyncio.to_thread(condition)
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {timeout:g} s: {what}")


@contextmanager
def looking_into(path: Path) -> Iterator[SqlArchive]:
    with SqlArchive(path) as archive:
        yield archive


async def until_metric(base: str, name: str, value: float | None) -> dict[tuple[str, str | None], float]:
    async with asyncio.timeout(30):
        while True:
            found = await samples(base)
            if found.get((name, None)) == value:
                return found
            await asyncio.sleep(0.05)


def test_conversations_that_end_arrive_in_the_archive_while_the_agents_serve(
    url: str, prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "calls.db"

    async def scenario() -> None:
        async with serving(url, prefix, path, "--metrics-port", "0", workers=2) as (platform, runner):
            ids = []
            for _ in range(3):
                conv = await platform.start_conversation(registrations=1)
                await platform.call(conv.id, "who")
                ids.append(conv.id)
            for ended in ids[:2]:
                await platform.end_conversation(ended)
            with looking_into(path) as archive:
                await until(lambda: archive.count() == 2, "both are archived")
                assert {one.conversation_id for one in archive.list()} == set(ids[:2])
                assert {one.reason for one in archive.list()} == {"ended"}
            base = await base_url(runner)
            found = await until_metric(base, "redstate_archive_archived_total", 2)
            found = await until_metric(base, "redstate_archive_conversations", 1)
            assert found["redstate_sweeper_ready", None] == 1
            assert found["redstate_archive_abandoned_total", None] == 0
            assert found["redstate_archive_failures_total", None] == 0
            assert found["redstate_archive_backlog", None] == 0
            assert found["redstate_archive_oldest_seconds", None] == 0
            (pid,) = sweepers(runner)
            assert KEY not in command_line(pid) and str(path) not in command_line(pid)
            runner.process.terminate()
            assert await runner.ended() == 0
            assert not alive(pid)
            (end,) = [line for line in runner.lines if line.get("event") == "sweeper_ended"]
            assert end["message"] == f"the sweeper (pid {pid}) ended with status 0 (stopped)"

    asyncio.run(scenario())


def test_an_abandoned_conversation_is_ended_and_archived(url: str, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"

    async def scenario() -> None:
        async with serving(url, prefix, path, "--idle", "2") as (platform, _):
            conv = await platform.start_conversation(registrations=1)
            await platform.call(conv.id, "who")
            with looking_into(path) as archive:
                (one,) = await until(archive.list, "it is archived")
            assert (one.conversation_id, one.reason) == (conv.id, "abandoned")

    asyncio.run(scenario())


def test_the_merge_function_of_the_agents_folder_makes_the_profile(url: str, prefix: str, tmp_path: Path) -> None:
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "desk.py").write_text((SERVED / "desk.py").read_text())
    (folder / "profiles.py").write_text(
        "def merge(ended, profile):\n    return {'calls': profile.get('calls', 0) + 1}\n"
    )
    path = tmp_path / "calls.db"

    async def scenario() -> None:
        options = ("--archive", str(path), "--idle", "0.5", "--merge", "profiles:merge")
        async with LocalPlatform() as platform, running(platform.url, url, prefix, *options, workers=1, path=folder):
            async with AsyncStore.from_url(url, key_prefix=prefix, archive=path, idle=0.5) as store:
                await store.conversation("left", customer_id="anna").state.set("page", 1)
                with looking_into(path) as archive:
                    await until(archive.list, "it is archived")
                assert await store.customer("anna").get("calls", fresh=True) == 1

    asyncio.run(scenario())


def test_a_killed_sweeper_is_started_again_and_counters_do_not_go_back(url: str, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"

    async def scenario() -> None:
        async with serving(url, prefix, path, "--metrics-port", "0") as (platform, runner):
            base = await base_url(runner)
            for calls in (1, 2):
                conv = await platform.start_conversation(registrations=1)
                await platform.call(conv.id, "who")
                await platform.end_conversation(conv.id)
                found = await until_metric(base, "redstate_archive_archived_total", calls)
                assert found["redstate_sweeper_restarts_total", None] == calls - 1
                os.kill(sweepers(runner)[-1], signal.SIGKILL)
                await runner.until(lambda n=calls: len(sweepers(runner)) == n + 1, "ready again")
            assert len(runner.pids()) == 1 and all(map(alive, runner.pids().values()))
            runner.process.terminate()
            assert await runner.ended() == 0

    asyncio.run(scenario())


def test_the_sweeper_ends_with_a_parent_that_is_killed(url: str, prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(url, prefix, tmp_path / "calls.db", "--grace", "1") as (_, runner):
            pids = [*sweepers(runner), *runner.pids().values()]
            assert len(pids) == 2
            runner.process.kill()
            await runner.process.wait()
            await until_gone(pids)

    asyncio.run(scenario())


def test_the_backlog_shows_while_the_archive_cannot_be_written_and_drains_then(
    url: str, prefix: str, tmp_path: Path
) -> None:
    folder = tmp_path / "not there yet"
    path = folder / "calls.db"

    async def scenario() -> None:
        async with serving(url, prefix, path, "--metrics-port", "0") as (platform, runner):
            base = await base_url(runner)
            conv = await platform.start_conversation(registrations=1)
            await platform.call(conv.id, "who")
            await platform.end_conversation(conv.id)
            found = await until_metric(base, "redstate_archive_backlog", 1)
            assert found["redstate_archive_archived_total", None] == 0
            await runner.logged("archiving goes on in ")
            another = await platform.start_conversation(registrations=1)
            assert (await platform.call(another.id, "who")).result["greeting"] == "hello"
            folder.mkdir()
            await until_metric(base, "redstate_archive_archived_total", 1)
            found = await until_metric(base, "redstate_archive_backlog", 0)
            assert found["redstate_archive_failures_total", None] >= 1

    asyncio.run(scenario())


def test_the_backlog_shows_again_once_somebody_has_mended_the_index(url: str, prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(url, prefix, tmp_path / "calls.db", "--metrics-port", "0") as (platform, runner):
            base = await base_url(runner)
            conv = await platform.start_conversation(registrations=1)
            await platform.call(conv.id, "who")
            await until_metric(base, "redstate_archive_conversations", 1)
            # A part of the index in which that conversation is not.
            key = due_part_key(prefix, 1 if due_key(prefix, conv.id) == due_part_key(prefix, 0) else 0)
            async with redis.asyncio.Redis.from_url(url) as raw:
                await raw.set(key, "text")
                await runner.logged("the backlog cannot be told: ")
                await until_metric(base, "redstate_archive_conversations", None)
                await raw.delete(key)
            await until_metric(base, "redstate_archive_conversations", 1)

    asyncio.run(scenario())


def test_sighup_replaces_the_sweeper_too(url: str, prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(url, prefix, tmp_path / "calls.db") as (_, runner):
            runner.process.send_signal(signal.SIGHUP)
            await runner.logged("all workers were replaced")
            before, after = sweepers(runner)
            assert alive(after) and not alive(before)

    asyncio.run(scenario())


def test_with_no_sweep_there_is_no_sweeper_but_conversations_are_kept(url: str, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"

    async def scenario() -> None:
        async with serving(url, prefix, path, "--no-sweep", "--metrics-port", "0") as (platform, runner):
            conv = await platform.start_conversation(registrations=1)
            await platform.call(conv.id, "who")
            await platform.end_conversation(conv.id)
            with Store.from_url(url, key_prefix=prefix, archive=path) as store:
                await until(lambda: store.archive.backlog().due == 1, "it has ended, and is kept")
            assert sweepers(runner) == []
            assert not [name for name, _ in await samples(await base_url(runner)) if "sweeper" in name]

    asyncio.run(scenario())


def test_no_log_line_tells_the_archives_password(url: str, prefix: str) -> None:
    archive = "postgresql://shop:s3cret-words@127.0.0.1:1/calls"

    async def scenario() -> None:
        async with LocalPlatform() as platform:
            options = ("--archive", archive, "--log-level", "DEBUG")
            async with running(platform.url, url, prefix, *options, workers=1) as runner:
                await runner.logged("conversations wait in the store: ")
                (line,) = await runner.logged("sweeping ")
                assert line["message"].endswith(" into 127.0.0.1:1/calls; abandoned after 1800 s")
                runner.process.terminate()
                assert await runner.ended() == 0
                assert "s3cret-words" not in "".join(runner.raw)

    asyncio.run(scenario())


# In code


def test_a_merge_function_that_is_not_there_fails_the_start(url: str, prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="There is no module nothing_there"):
            async with supervised(url, prefix, archive=str(tmp_path / "a.db"), merge="nothing_there:merge"):
                pass

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"archive": "mysql://user:s3cret@host/db"}, "takes an SQLite file or a PostgreSQL database"),
        ({"idle": 5.0}, "kept in no archive"),
        ({"merge": "shop:merge"}, "kept in no archive"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDSTATE_ARCHIVE", raising=False)
    with pytest.raises(ConfigurationError, match=told) as refused:
        RunnerSettings(api_key="key", path=SERVED, url="redis://h", **settings).check()
    assert "s3cret" not in str(refused.value)


def test_a_sweeper_that_cannot_be_replaced_goes_on(url: str, prefix: str, tmp_path: Path) -> None:
    merge = tmp_path / "profiles.py"
    merge.write_text("def merge(ended, profile):\n    return {}\n")
    (tmp_path / "desk.py").write_text((SERVED / "desk.py").read_text())

    async def scenario() -> None:
        settings = {"path": tmp_path, "archive": str(tmp_path / "a.db"), "merge": "profiles:merge", "workers": 1}
        backoff = functools.partial(Backoff, first=0.01, highest=0.1)
        async with supervised(url, prefix, backoff=backoff, **settings) as (_, supervisor, observed):
            (ready,) = observed.of("sweeper_ready")
            os.kill(supervisor.pids[1], 0)
            slot = supervisor._sweeper
            assert slot is not None
            merge.write_text("import nothing_of_that_name\n")
            with pytest.raises(
                RestartFailed, match="the replacement of the sweeper did not get ready; the old sweeper"
            ):
                await supervisor._replace(slot)
            assert alive(ready.pid)
            report = await next_report(observed)
            assert report.data["figures"]["failures"] == 0

    asyncio.run(scenario())


async def next_report(observed: Observed) -> WorkerEvent:
    seen = len(observed.of("sweeper_report"))
    return (await observed.until("sweeper_report", seen + 1))[-1]


def test_figures_of_the_sweeper_add_up_over_its_processes() -> None:
    figures = Figures()
    assert figures.snapshot().sweeping is None

    def report(pid: int, archived: int) -> None:
        backlog = {"due": 1, "oldest": 2.0, "conversations": 3}
        figures(WorkerEvent("sweeper_report", 0, pid, {"figures": {"archived": archived}, "backlog": backlog}))

    for pid in (10, 11):
        figures(WorkerEvent("sweeper_started", 0, pid, {"replacement": pid == 11}))
        figures(WorkerEvent("sweeper_ready", 0, pid, {}))
        report(pid, 5)
    figures(WorkerEvent("sweeper_ended", 0, 10, {"reason": "replaced", "status": 0, "killed": False}))
    report(11, 6)
    now = figures.snapshot().sweeping
    assert now is not None
    assert (now.ready, now.totals["archived"], now.restarts) == (True, 11, 0)
    assert now.backlog == {"due": 1, "oldest": 2.0, "conversations": 3}
    figures(WorkerEvent("sweeper_ended", 0, 11, {"reason": "crashed", "status": 1, "killed": False}))
    figures(WorkerEvent("sweeper_restarting", 0, 11, {"pause": 1.0}))
    now = figures.snapshot().sweeping
    assert now is not None
    assert (now.ready, now.totals["archived"], now.backlog, now.restarts) == (False, 11, None, 1)
