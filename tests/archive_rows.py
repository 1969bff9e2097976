"""An archive on the command line: rows to fill it with, and the command as a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redstate import AsyncStore
from redstate.archive import ArchiveRow, SqlArchive, Sweeper

COMMAND = [sys.executable, "-c", "import sys; from redstate.cli import main; sys.exit(main())", "archive"]
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def row(conversation_id: str, day: int = 0, **changes: Any) -> ArchiveRow:
    """A row that ended a number of days after the first of January."""
    us = round((BEGAN + timedelta(days=day)).timestamp()) * 1_000_000
    given: dict[str, Any] = {
        "conversation_id": conversation_id, "created_us": us, "customer_id": "anna", "version": us + 1,
        "updated_us": us + 1, "ended_us": us + 2, "reason": "ended", "schema_version": None,
        "state": '{"step":1}', "cart": None, "workflow": None, "session": None, "record": b"\x00rest",
    }  # fmt: skip
    return ArchiveRow(**{**given, **changes})


def fill(path: Path, *rows: ArchiveRow) -> None:
    with SqlArchive(path) as archive:
        archive.put(rows)


def rows_of(path: Path) -> list[ArchiveRow]:
    with SqlArchive(path) as archive:
        return list(archive.rows())


def archive(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)


def sweep(url: str, prefix: str, path: Path) -> None:
    """Archive what has ended, and wait until no tombstone is left of it."""

    async def work() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix, archive=path, tombstone_ttl=0.001) as store:
            sweeper = Sweeper(store)
            await sweeper.sweep()
            await sweeper.close()

    asyncio.run(work())
