"""On the way to the archive: archivers that die at each step, writes that come late, callers who just hang up, a
database that is away. Every conversation arrives once, with its last acknowledged version.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import servers
from archive.postgres import Postgres
from faults.archiver_worker import rows
from sweeper_steps import READ

from redstate import AsyncStore, Store, errors
from redstate.archive.sweeper import Sweeper

TESTS = Path(__file__).parents[1]
STEPS = ["due_claim", READ, "conversation_collect", "commit", "conversation_archived", "due_settle"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "archive.db")


@pytest.fixture
def store(url: str, prefix: str, path: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix, archive=path, max_staleness=0, tombstone_ttl=1.0) as opened:
        yield opened


@pytest.fixture
def keys(url: str, prefix: str) -> Iterator[Callable[[], set[str]]]:
    """What lies in the server, but customers."""
    with redis.Redis.from_url(url) as client:
        yield lambda: {key.decode() for key in client.scan_iter(f"{prefix}:*", count=10_000) if b"{cust:" not in key}


def archiver(url: str, prefix: str, path: str, step: str) -> subprocess.Popen[str]:
    """A process that archives until that step, and dies there."""
    command = [sys.executable, "-m", "faults.archiver_worker", url, prefix, path, step]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS)


def sweep(url: str, prefix: str, archive: str, **options: Any) -> int:
    """See to all that is due."""

    async def swept() -> int:
        async with AsyncStore.from_url(url, key_prefix=prefix, archive=archive, tombstone_ttl=0.5, **options) as store:
            return await Sweeper(store).sweep()

    return asyncio.run(swept())


def nothing_left(url: str, prefix: str, path: str, keys: Callable[[], set[str]], **options: Any) -> None:
    """Sweep until neither a record nor an entry of the index is there."""
    servers.wait_until(
        lambda: sweep(url, prefix, path, **options) >= 0 and not keys(), "everything has left", timeout=20.0
    )


# 32 A crash on the way


@pytest.mark.parametrize("step", [*(f"+{step}" for step in STEPS), *STEPS])
def test_an_archiver_that_is_killed_at_any_step_leaves_everything_to_the_next(
    url: str, prefix: str, path: str, store: Store, keys: Callable[[], set[str]], step: str
) -> None:
    versions = {}
    with Store.from_url(url, key_prefix=prefix, archive=path, idle=0.3) as callers:
        for number in range(30):
            conversation = callers.conversation(f"c{number}", customer_id=f"cust{number % 3}")
            conversation.state.update(number=number, items=[number])
            conversation.state.increment("turns")
            versions[conversation.id] = conversation.version()
            assert number % 3 == 0 or conversation.end()  # every third caller hangs up
    with archiver(url, prefix, path, step) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        assert process.wait(20) == -9
    nothing_left(url, prefix, path, keys, idle=0.3)
    found = rows(path)
    assert {row.conversation_id: row.version for row in found} == versions
    assert len(found) == 30
    merged = [
        one.id for number in range(3) for one in store.customer(f"cust{number}").conversations(100) if one.ended_at
    ]
    assert sorted(merged) == sorted(versions)


def test_an_archiver_that_is_killed_after_it_wrote_does_not_take_away_what_came_since(
    url: str, prefix: str, path: str, store: Store, keys: Callable[[], set[str]]
) -> None:
    conversation = store.conversation("c1")
    conversation.state.set("n", 1)
    conversation.end()
    with archiver(url, prefix, path, "commit") as process:
        assert process.wait(20) == -9
    assert [row.reason for row in rows(path)] == ["ended"]
    assert conversation.resume()
    last = conversation.state.set("n", 2)
    sweep(url, prefix, path)
    assert conversation.state.get("n") == 2
    conversation.end("again")
    nothing_left(url, prefix, path, keys)
    (row,) = rows(path)
    assert (row.version, row.reason, row.state) == (last, "again", '{"n":2}')


# 33 A write after archiving


def test_a_write_that_comes_late_is_refused_by_the_tombstone_and_then_by_the_archive(
    url: str, prefix: str, path: str, store: Store, keys: Callable[[], set[str]]
) -> None:
    conversation = store.conversation("c1")
    conversation.state.set("n", 1)
    conversation.end()
    with Store.from_url(url, key_prefix=prefix, archive=path) as other:
        writers = [conversation, store.conversation("c1"), other.conversation("c1")]
        for writer in writers:
            with pytest.raises(errors.ConversationEnded):
                writer.state.increment("n")
        assert sweep(url, prefix, path) == 1
        for writer in writers:
            with pytest.raises(errors.ConversationEnded):
                writer.state.increment("n")
        servers.wait_until(lambda: f"{prefix}:{{conv:c1}}" not in keys(), "the tombstone is gone")
        for writer in writers:
            with pytest.raises(errors.ConversationEnded):
                writer.state.increment("n")
        assert f"{prefix}:{{conv:c1}}" not in keys()
        # It goes on whole, or not at all.
        assert other.conversation("c1").resume()
        assert conversation.state.increment("n") == 2


def test_what_begins_anew_while_the_archive_cannot_be_asked_stands_beside_what_was_there(
    url: str, prefix: str, path: str, store: Store, keys: Callable[[], set[str]], postgres: Postgres
) -> None:
    target = postgres.new_database()
    with Store.from_url(url, key_prefix=prefix, archive=target, tombstone_ttl=0.5, idle=5.0) as opened:
        conversation = opened.conversation("c1")
        conversation.state.update(a=1, b=2)
        conversation.end()
        assert sweep(url, prefix, target) == 1
        servers.wait_until(lambda: not keys() - {f"{prefix}:{{due:00}}"}, "the tombstone is gone")
        postgres.stop()
        try:
            conversation.state.set("a", 3)
            conversation.end()
        finally:
            postgres.start()
        assert sweep(url, prefix, target) == 1
        lives = opened._ended.run(lambda archive: archive.lives("c1"))
        assert [life.state for life in lives] == ['{"a":3}', '{"a":1,"b":2}']


# 34 The caller hangs up


def test_who_hangs_up_is_archived_as_abandoned_also_where_no_archiver_ran_for_long(
    url: str, prefix: str, path: str, keys: Callable[[], set[str]]
) -> None:
    with Store.from_url(url, key_prefix=prefix, archive=path, idle=0.4, ttl=0.5) as store:
        conversation = store.conversation("c1", customer_id="ada")
        version = conversation.state.update(step="greeting")
        # Well past its idle time and its ttl nothing has taken it away.
        servers.wait_until(
            lambda: store.archive.backlog().due == 1 and store.archive.backlog().oldest > 1.0, "it is due"
        )
        assert (conversation.state.all(), conversation.ttl()) == ({"step": "greeting"}, None)
        assert sweep(url, prefix, path, idle=0.4) == 1
        (row,) = rows(path)
        assert (row.version, row.reason, row.customer_id) == (version, "abandoned", "ada")
        assert store.customer("ada").get("last_conversation") == "c1"
        with pytest.raises(errors.ConversationEnded):
            conversation.state.set("step", "late")


def test_whose_a_conversation_is_may_be_said_after_it_has_begun(url: str, prefix: str, path: str) -> None:
    with Store.from_url(url, key_prefix=prefix, archive=path, idle=0.4) as store:
        store.conversation("c1").state.set("step", "greeting")
        store.conversation("c1", customer_id="ada").state.set("step", "logged in")
        servers.wait_until(lambda: sweep(url, prefix, path, idle=0.4) == 1, "it is archived as abandoned")
        (row,) = rows(path)
        assert (row.customer_id, store.customer("ada").get("last_conversation")) == ("ada", "c1")


def test_who_is_in_use_is_not_abandoned(url: str, prefix: str, path: str) -> None:
    with Store.from_url(url, key_prefix=prefix, archive=path, idle=1.0) as store:
        written, touched = store.conversation("written"), store.conversation("touched")
        written.state.set("n", 0)
        touched.state.set("n", 0)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            written.state.increment("n")
            assert touched.touch()
            assert sweep(url, prefix, path, idle=1.0) == 0
        assert written.state.get("n") > 0 and touched.exists()


# 35 The database is away


def test_while_the_database_is_away_calls_go_on_and_the_backlog_shows_and_drains(
    url: str, prefix: str, postgres: Postgres, keys: Callable[[], set[str]]
) -> None:
    target = postgres.new_database()
    with Store.from_url(url, key_prefix=prefix, archive=target, tombstone_ttl=1.0) as store:
        store.conversation("before").state.set("n", 0)
        postgres.stop()
        try:
            began = time.monotonic()
            versions = {}
            for number in range(20):
                conversation = store.conversation(f"c{number}")
                versions[conversation.id] = conversation.state.set("n", number)
                conversation.end()
            assert time.monotonic() - began < 3.0
            with pytest.raises(errors.ArchiveError) as failure:
                sweep(url, prefix, target)
            assert failure.value.reason == "unreachable"
            assert store.archive.backlog().due == 20
            with pytest.raises(errors.ArchiveError):
                store.archive.get("c1")
        finally:
            postgres.start()
        assert sweep(url, prefix, target) == 20
        assert store.archive.backlog().due == 0
        assert {one.conversation_id: one.version for one in store.archive.list()} == versions


def test_a_full_server_ends_and_archives_and_has_room_again(path: str) -> None:
    with servers.server() as own:
        with Store.from_url(own.url, archive=path, max_staleness=0) as store:
            for number in range(50):
                store.conversation(f"c{number}").state.set("text", "x" * 10_000)
            servers.fill(own)
            with pytest.raises(errors.StoreFull):
                store.conversation("c1").state.set("more", "x")
            full = int(own.command("INFO", "memory")["used_memory"])
            for number in range(50):
                assert store.conversation(f"c{number}").end()
            assert sweep(own.url, "rs", path) == 50
            assert len(rows(path)) == 50
            # The conversations took half a megabyte; their tombstones, and our connections, take some of it.
            assert full - int(own.command("INFO", "memory")["used_memory"]) > 250_000


# Beside each other


def test_archivers_side_by_side_archive_each_conversation_once(
    url: str, prefix: str, path: str, store: Store, keys: Callable[[], set[str]]
) -> None:
    for number in range(200):
        conversation = store.conversation(f"c{number}", customer_id="ada")
        conversation.state.set("n", number)
        conversation.end()

    async def together() -> int:
        async with AsyncStore.from_url(url, key_prefix=prefix, archive=path, tombstone_ttl=1.0) as opened:
            sweepers = [Sweeper(opened, batch=7) for _ in range(4)]
            return sum(await asyncio.gather(*[sweeper.sweep() for sweeper in sweepers]))

    assert asyncio.run(together()) == 200
    assert len(rows(path)) == 200
    nothing_left(url, prefix, path, keys)
