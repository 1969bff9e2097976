"""The archive's tables through their versions: old files keep their rows, newer ones are left alone."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sql
from archive.postgres import Postgres
from archive.rows import row

from redstate import errors
from redstate.archive import SqlArchive
from redstate.archive.tables import conversations

# As the first releases made it, to the letter.
OLD = """
CREATE TABLE conversation_state (
\tconversation_id TEXT NOT NULL,
\tcustomer_id TEXT,
\tstate TEXT NOT NULL,
\tcreated_at DATETIME NOT NULL,
\tupdated_at DATETIME NOT NULL,
\tPRIMARY KEY (conversation_id)
);
CREATE INDEX conversation_state_by_customer ON conversation_state (customer_id, updated_at);
INSERT INTO conversation_state VALUES
 ('c1', 'ada', '{"n":1}', '2026-01-02 03:04:05.000678', '2026-01-02 03:04:06.999999'),
 ('a%b', NULL, '{"n":2}', '2026-01-02 03:04:05.000000', '2026-01-02 03:04:05.000000');
"""


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(OLD)
    connection.close()
    return path


def assert_migrated(archive: SqlArchive) -> None:
    (found,) = archive.conversations_of("ada")
    assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert found.updated_at == datetime(2026, 1, 2, 3, 4, 6, 999_999, tzinfo=UTC)
    assert (found.version, found.ended_at, found.reason) == (0, None, "saved")
    assert (archive.load("c1"), archive.load("a%b"), archive.count()) == ({"n": 1}, {"n": 2}, 2)
    archive.save("c1", {"n": 3})
    assert (archive.load("c1"), archive.count()) == ({"n": 3}, 2)
    archive.put([row("c1")])
    assert len(archive.lives("c1")) == 2


def test_a_file_of_the_first_releases_keeps_its_rows(old_file: Path) -> None:
    with SqlArchive(old_file) as archive:
        assert_migrated(archive)


def test_a_table_that_somebody_made_in_postgres_keeps_its_rows(postgres: Postgres) -> None:
    target = postgres.new_database()
    old = OLD.replace("DATETIME", "TIMESTAMP").replace("state TEXT", "state JSONB")
    postgres.execute(old, database_of(target))
    with SqlArchive(target) as archive:
        assert_migrated(archive)


def database_of(target: str) -> str:
    return str(sql.make_url(target).database)


def test_many_that_open_an_old_file_at_once_migrate_it_once(old_file: Path) -> None:
    def count(_: int) -> int:
        with SqlArchive(old_file, timeout=30) as archive:
            return archive.count()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(count, range(16))) == {2}


def engine_of(target: str) -> sql.Engine:
    url = sql.make_url(target) if "://" in target else sql.URL.create("sqlite", database=target)
    return sql.create_engine(url.set(drivername="postgresql+psycopg") if "://" in target else url)


def test_the_tables_are_what_queries_take_them_for(both: SqlArchive, target: str) -> None:
    both.open()
    engine = engine_of(target)
    found = sql.inspect(engine)
    columns = {column["name"]: column["nullable"] for column in found.get_columns("conversation_state")}
    assert columns == {column.name: column.nullable for column in conversations.columns}
    assert found.get_pk_constraint("conversation_state")["constrained_columns"] == ["conversation_id", "created_at"]
    assert set(found.get_table_names()) == {"conversation_state", "redstate_schema"}
    engine.dispose()


def test_a_database_of_a_newer_redstate_is_refused_and_left_alone(both: SqlArchive, target: str) -> None:
    both.put([row("c1")])
    engine = engine_of(target)
    with engine.begin() as connection:
        connection.execute(sql.text("UPDATE redstate_schema SET version = 99"))
    with SqlArchive(target) as archive:
        for call in (archive.open, lambda: archive.put([row("c1", 2)]), lambda: archive.holds("c1")):
            with pytest.raises(errors.ArchiveError, match="Upgrade redstate") as caught:
                call()
            assert caught.value.reason == "newer" and "99" in caught.value.message
    assert both.find("c1") == row("c1")
    engine.dispose()


def test_a_migration_that_fails_changes_nothing(old_file: Path) -> None:
    connection = sqlite3.connect(old_file, isolation_level=None)
    connection.execute("UPDATE conversation_state SET created_at = 'yesterday' WHERE conversation_id = 'c1'")
    with SqlArchive(old_file) as archive:
        with pytest.raises(errors.ArchiveError):
            archive.open()
        assert connection.execute("SELECT created_at FROM conversation_state").fetchone() == ("yesterday",)
        connection.execute("UPDATE conversation_state SET created_at = updated_at")
        assert archive.count() == 2
    connection.close()
