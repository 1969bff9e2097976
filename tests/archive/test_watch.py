"""How a sweeper gets on is told all the time; where that comes to an end, the log says so."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from servers import wait_until

from redstate import AsyncStore
from redstate._call import Query
from redstate._child import Reports
from redstate._keys import due_part_key
from redstate.archive.figures import SweepFigures
from redstate.archive.process import _Watch


@pytest.mark.parametrize("broken", [False, True], ids=["cancelled", "broken"])
def test_a_task_that_tells_and_dies_is_logged(
    url: str, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: bool
) -> None:
    reading, writing = os.pipe()

    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix, archive=tmp_path / "archive.db") as store:
            tasks = _Watch(store, SweepFigures(), Reports(writing)).start()
            assert b'"report"' in await asyncio.to_thread(os.read, reading, 4096)
            if broken:
                os.dup2(reading, writing)  # which cannot be written to
                await asyncio.to_thread(wait_until, lambda: caplog.records, "it is logged")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())
    os.close(reading)
    os.close(writing)
    told = [(record.levelname, record.message, bool(record.exc_info)) for record in caplog.records]
    assert told == ([("ERROR", "the sweeper goes on without its task 'tell'", True)] if broken else [])


def test_an_index_that_cannot_be_read_is_said_once_and_looked_at_again(
    url: str, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix, archive=tmp_path / "archive.db") as store:
            watch = _Watch(store, SweepFigures(), None)
            key = due_part_key(prefix, 7)
            record = store._record("", ttl_ms=1, timeout=5.0)
            await record.ask(_raw("SET", key, "text"))
            for _ in range(2):
                await watch._look()
                assert watch._due() == "due: unknown"
            await record.ask(_raw("DEL", key))
            await watch._look()
            assert watch._due() == "due: 0"

    asyncio.run(scenario())
    (told,) = [record.message for record in caplog.records]
    assert told.startswith("the backlog cannot be told: ") and "{due:07}" in told


def _raw(*words: str) -> Query[object]:
    return Query(words[1], words, lambda reply: reply)
