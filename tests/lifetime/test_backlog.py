"""What waits for an archiver, as the index tells it: asked in a few goes, and refused where it cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import servers
from lifetime.lives import Lives

from redstate import Backlog, errors
from redstate.testing.proxy import FaultProxy


def due_keys(prefix: str) -> list[str]:
    return [f"{prefix}:{{due:{part:02d}}}" for part in range(64)]


def test_it_counts_all_parts_and_tells_for_how_long_the_first_waits(store: Any, lives: Lives) -> None:
    assert store.archive.backlog() == Backlog(0, 0, 0.0)
    for number in range(200):
        store.conversation(f"c{number}").state.set("a", number)
    assert store.archive.backlog() == Backlog(200, 0, 0.0)
    for number in range(150):
        store.conversation(f"c{number}").end()
    found = store.archive.backlog()
    assert (found.conversations, found.due) == (200, 150)
    servers.wait_until(lambda: store.archive.backlog().oldest > found.oldest + 0.1, "it waits")


def test_its_questions_leave_in_three_goes(
    open_store: Callable[..., Any], colour: str, url: str, prefix: str, lives: Lives
) -> None:
    plain = open_store()
    for number in range(500):
        plain.conversation(f"c{number}").state.set("a", number)
        plain.conversation(f"c{number}").end()
    with FaultProxy(url) as proxy, ThreadPoolExecutor(1) as thread:
        store = _through(open_store, proxy)
        assert store.archive.backlog().due == 500
        before = proxy.stats.requests
        counts, firsts = proxy.hold_replies(command="ZCOUNT"), proxy.hold_replies(command="ZRANGEBYSCORE")
        asked = thread.submit(store.archive.backlog)
        proxy.wait_until(lambda stats: stats.held == 128)
        counts.release()
        proxy.wait_until(lambda stats: stats.held == 128 + 64)
        firsts.release()
        assert asked.result().due == 500
        assert proxy.stats.requests - before == 1 + 128 + 64


def _through(open_store: Callable[..., Any], proxy: FaultProxy) -> Any:
    return open_store(url=proxy.url, max_staleness=0)


@pytest.mark.parametrize("fault", ["swallow_replies", "swallow_requests"])
def test_a_connection_that_breaks_in_between_is_got_over(open_store: Callable[..., Any], url: str, fault: str) -> None:
    open_store().conversation("c1").start()
    with FaultProxy(url) as proxy:
        store = _through(open_store, proxy)
        getattr(proxy, fault)(after=70, command="ZCOUNT")
        assert store.archive.backlog().conversations == 1
        assert proxy.stats.swallowed >= 1


def test_an_answer_that_does_not_come_in_time_is_told(open_store: Callable[..., Any], url: str) -> None:
    with FaultProxy(url) as proxy:
        store = open_store(url=proxy.url, max_staleness=0, timeout=0.3)
        store.ping()
        proxy.drop_replies(None, command="ZCOUNT")
        with pytest.raises(errors.CallTimeout, match=r"was not answered within 0\.3 s"):
            store.archive.backlog()


def test_an_index_that_redstate_did_not_write_is_told(store: Any, lives: Lives, prefix: str) -> None:
    key = due_keys(prefix)[7]
    lives.raw.set(key, "text")
    with pytest.raises(errors.CorruptState) as caught:
        store.archive.backlog()
    assert caught.value.key == key
    lives.raw.delete(key)
    lives.raw.zadd(key, {b"\xff\x00": 5.0})
    assert store.archive.backlog().due == 1
    lives.raw.zadd(key, {"c": "-inf"})
    with pytest.raises(errors.CorruptState) as caught:
        store.archive.backlog()
    assert caught.value.key == key
