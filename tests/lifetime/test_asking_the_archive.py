"""Before a conversation begins, the archive is asked for one of that id: beside all other work, and not for long."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
import servers
from archive.rows import row

from redstate import errors
from redstate.archive import SqlArchive
from redstate.archive.threads import ArchiveThread, LoopArchive, ThreadArchive

BLIND = "conversations begin without a look into the archive for "


@pytest.fixture
def archived(path: str) -> list[str]:
    """The ids of conversations that lie in the archive already."""
    ids = [f"old-{number}" for number in range(5000)]
    with SqlArchive(path) as archive:
        archive.put([row(one, 1) for one in ids])
    return ids


@contextmanager
def busy(thread: ArchiveThread) -> Iterator[Future[bool]]:
    """Have the thread work at something that takes long."""
    done = threading.Event()
    work = thread.submit(lambda archive: done.wait(60))
    servers.wait_until(work.running, "it is at work")
    try:
        yield work
    finally:
        done.set()


def blind(caplog: pytest.LogCaptureFixture) -> list[float]:
    """For how many seconds at a time it was said that the archive is not asked."""
    found = (re.match(f"{BLIND}(.*) s: ", record.message) for record in caplog.records)
    return [float(match[1]) for match in found if match]


def test_a_long_list_keeps_nobody_from_asking(
    store: Any, archived: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with busy(store._ended.thread) as work:
        for one in archived[:3]:
            with pytest.raises(errors.ConversationEnded):
                store.conversation(one).state.set("a", 1)
        assert store.conversation("new").state.set("a", 1)
        assert not work.done()
    assert blind(caplog) == []


def test_a_slow_archive_is_asked_again_soon_and_each_time_later(
    store: Any, archived: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    ids = iter(archived)

    def refused() -> bool:
        try:
            store.conversation(next(ids)).state.set("a", 1)
        except errors.ConversationEnded:
            return True
        return False

    assert refused()
    with busy(store._looks.thread):
        assert not refused()
        assert blind(caplog) == [1]
        servers.wait_until(lambda: not refused() and len(blind(caplog)) == 2, "it is asked again")
        assert blind(caplog) == [1, 2]
    servers.wait_until(refused, "it answers")
    assert len(blind(caplog)) == 2
    with busy(store._looks.thread):
        servers.wait_until(lambda: not refused(), "it is slow again")
        assert blind(caplog) == [1, 2, 1]


def test_a_database_that_fails_is_left_alone_for_ten_seconds(
    open_store: Callable[..., Any], tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(archive=str(tmp_path / "not there" / "archive.db"))
    assert store.conversation("c1").state.set("a", 1)
    assert blind(caplog) == [10]


def test_what_has_not_had_its_turn_in_time_is_not_done(store: Any, colour: str, archived: list[str]) -> None:
    done: list[SqlArchive] = []
    with busy(store._looks.thread) as work:
        error = late(store, colour, done.append, 0.01)
    assert (error.reason, error.message) == ("timeout", "The archive did not answer within 0.01 s")
    work.result()
    store._looks.thread.submit(lambda archive: None).result()
    assert done == []


def test_a_driver_that_gives_up_in_its_own_time_is_a_timeout_of_the_archive(store: Any, colour: str) -> None:
    def gives_up(archive: SqlArchive) -> None:
        raise TimeoutError

    error = late(store, colour, gives_up, None)
    assert (error.reason, error.message) == ("timeout", "The archive did not answer in time")


def late(store: Any, colour: str, work: Callable[[SqlArchive], object], timeout: float | None) -> errors.ArchiveError:
    """What is raised where the archive does not do some work in time."""
    archive: LoopArchive | ThreadArchive = store._looks
    with pytest.raises(errors.ArchiveError) as caught:
        if colour == "sync":
            archive.run(work, timeout)
        else:
            store._runner.run(archive.run(work, timeout))
    return caught.value


def test_both_threads_end_with_the_store(open_store: Callable[..., Any], archived: list[str]) -> None:
    store = open_store()
    store.conversation("new").state.set("a", 1)
    assert store.archive.get("new") is None
    threads = [one for one in threading.enumerate() if one.name.startswith("redstate-archive")]
    assert len(threads) == 2
    store.close()
    assert not any(one.is_alive() for one in threads)
