"""What the tests of the archive ask for: an archive on each kind of database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive.postgres import Postgres, runtime_folder

from redstate.archive import SqlArchive


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for this process; only tests that ask for it start it."""
    with pytest.MonkeyPatch.context() as patch:
        if "XDG_RUNTIME_DIR" not in os.environ:
            patch.setenv("XDG_RUNTIME_DIR", str(runtime_folder()))
        server = Postgres(Path(tempfile.mkdtemp(prefix="rs-pg-")))
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database."""
    return str(request.param)


@pytest.fixture
def target(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A path or URL of a database that is empty."""
    if kind == "sqlite":
        return str(tmp_path / "archive.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def both(target: str) -> Iterator[SqlArchive]:
    """An archive on each kind of database."""
    with SqlArchive(target, timeout=20) as archive:
        yield archive
