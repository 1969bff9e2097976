"""The archive: what is saved comes back as it was, whoever saved it, and nothing that goes wrong goes unsaid."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from contract.test_contract_ids import HOSTILE

from redstate import Store, errors
from redstate.archive import ArchivedConversation, SqlArchive, StateArchive

STATE = {
    "step": "greeting",
    "created_at": datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "total": Decimal("19.990"),
    "cart": [{"sku": 1, "tags": {"a", "b"}, "wait": timedelta(seconds=1)}],
    "raw": b"\x00\xff",
    "~": "tilde",
    "é\n": "\U0001f600",
    "big": 2**70,
    "nothing": None,
}

SECRET = "sec" + "ret"  # in two parts, as a traceback quotes this file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


@pytest.fixture
def archive(path: Path) -> Iterator[SqlArchive]:
    with SqlArchive(path) as archive:
        yield archive


@pytest.fixture
def database(path: Path, archive: SqlArchive) -> Iterator[sqlite3.Connection]:
    """The archive's file, past the archive."""
    archive.open()
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def test_a_state_comes_back_with_the_types_it_had(archive: SqlArchive) -> None:
    assert archive.load("c1") is None
    archive.save("c1", STATE)
    found = archive.load("c1")
    assert found == STATE
    assert found is not None and list(found) == list(STATE)
    assert type(found["total"]) is Decimal and str(found["total"]) == "19.990"
    archive.save("c1", {})
    assert archive.load("c1") == {}


def test_a_live_state_can_be_saved_as_it_is(archive: SqlArchive, url: str, prefix: str) -> None:
    with Store.from_url(url, key_prefix=prefix) as store:
        state = store.conversation("c1").state
        state.update(STATE)
        archive.save("c1", state)
    assert archive.load("c1") == STATE


def test_what_is_saved_outlives_the_archive(path: Path) -> None:
    with SqlArchive(path) as first:
        first.save("c1", STATE)
    with SqlArchive(f"sqlite:///{path}") as second:
        assert second.load("c1") == STATE


def test_saving_again_keeps_when_it_was_created_and_whose_it_is(archive: SqlArchive) -> None:
    archive.save("c1", {"n": 1}, customer_id="cust_9")
    (first,) = archive.conversations_of("cust_9")
    archive.save("c1", {"n": 2})
    (second,) = archive.conversations_of("cust_9")
    assert archive.load("c1") == {"n": 2}
    assert (second.conversation_id, second.customer_id) == ("c1", "cust_9")
    assert second.created_at == first.created_at == first.updated_at < second.updated_at
    assert second.updated_at.tzinfo is UTC and abs(datetime.now(UTC) - second.updated_at) < timedelta(minutes=1)
    archive.save("c1", {}, customer_id="other")
    assert archive.conversations_of("cust_9") == []
    assert [each.conversation_id for each in archive.conversations_of("other")] == ["c1"]


def test_conversations_of_a_customer_come_newest_first(archive: SqlArchive) -> None:
    for name in ("c1", "c2", "c3"):
        archive.save(name, {}, customer_id="cust_9")
    archive.save("c1", {})
    archive.save("foreign", {}, customer_id="other")
    archive.save("nobody's", {})
    found = archive.conversations_of("cust_9")
    assert all(type(each) is ArchivedConversation for each in found)
    assert [each.conversation_id for each in found] == ["c1", "c3", "c2"]
    assert archive.conversations_of("cust_9", limit=2) == found[:2]
    assert archive.conversations_of("unknown") == []


def test_a_deleted_conversation_is_gone(archive: SqlArchive) -> None:
    archive.save("c1", {"a": 1})
    archive.save("c2", {"a": 2})
    assert (archive.delete("c1"), archive.delete("c1")) == (True, False)
    assert (archive.load("c1"), archive.load("c2")) == (None, {"a": 2})


def test_hostile_ids_are_kept_apart_and_come_back(archive: SqlArchive) -> None:
    ids = [*HOSTILE, "'; DROP TABLE conversation_state; --", "a%", "a_", ":id", "?"]
    for number, name in enumerate(ids):
        archive.save(name, {"number": number}, customer_id=name)
    for number, name in enumerate(ids):
        assert archive.load(name) == {"number": number}
        (found,) = archive.conversations_of(name)
        assert (found.conversation_id, found.customer_id) == (name, name)


@pytest.mark.parametrize("useless", ["", "x" * 513, "\ud800", 7, b"bytes"])
def test_useless_arguments_are_refused(archive: SqlArchive, useless: Any) -> None:
    for call in (
        lambda: archive.save(useless, {}),
        lambda: archive.save("c1", {}, customer_id=useless),
        lambda: archive.load(useless),
        lambda: archive.delete(useless),
        lambda: archive.conversations_of(useless),
    ):
        with pytest.raises(errors.InvalidId):
            call()
    with pytest.raises(errors.InvalidInput):
        archive.conversations_of("c1", limit=0)
    with pytest.raises(errors.InvalidField, match="The state must be a mapping, not NoneType"):
        archive.save("c1", None)


def test_a_state_that_cannot_be_stored_leaves_the_old_one(archive: SqlArchive) -> None:
    archive.save("c1", {"a": 1})
    with pytest.raises(errors.UnsupportedValue) as caught:
        archive.save("c1", {"cart": [{"thing": object()}]})
    assert caught.value.path == "state.cart[0].thing"
    with pytest.raises(errors.InvalidField):
        archive.save("c1", 7)  # type: ignore[arg-type]  # what a caller without types may pass
    assert archive.load("c1") == {"a": 1}


# The file -------------------------------------------------------------------------------------------------------------


def test_the_table_is_the_one_that_is_documented(archive: SqlArchive, database: sqlite3.Connection) -> None:
    archive.save("c1", {"a": 1, "b": [True]}, customer_id="cust_9")
    columns = database.execute("PRAGMA table_info(conversation_state)").fetchall()
    assert [column[1] for column in columns] == [
        *("conversation_id", "customer_id", "state", "created_at", "updated_at"),
        *("version", "ended_at", "reason", "cart", "workflow", "session", "schema_version", "record"),
    ]
    (row,) = database.execute("SELECT conversation_id, customer_id, state, typeof(state) FROM conversation_state")
    assert (row[:2], json.loads(row[2]), row[3]) == (("c1", "cust_9"), {"a": 1, "b": [True]}, "text")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "state", ["", "garbage", '{"a":', "[1]", "7", "null", '{"~":["no such tag"]}', b"\xff", b"{}x"]
)
def test_a_corrupt_row_is_said_and_stays(archive: SqlArchive, database: sqlite3.Connection, state: Any) -> None:
    archive.save("c1", {"secret": 1}, customer_id="cust_9")
    archive.save("c2", {"a": 2}, customer_id="cust_9")
    # Bytes as text that is no UTF-8, which SQLite lets pass.
    database.execute("UPDATE conversation_state SET state = CAST(? AS TEXT) WHERE conversation_id = 'c1'", (state,))
    for _ in range(2):
        with pytest.raises(errors.CorruptState) as caught:
            archive.load("c1")
        assert (caught.value.key, caught.value.field) == ("c1", "state")
        assert "HGET" not in str(caught.value)
    assert archive.load("c2") == {"a": 2}
    assert len(archive.conversations_of("cust_9")) == 2
    archive.save("c1", {"mended": True})
    assert archive.load("c1") == {"mended": True}


def test_a_locked_database_is_said_and_nothing_is_written(path: Path, database: sqlite3.Connection) -> None:
    with SqlArchive(path, timeout=0.05) as archive:
        archive.save("c1", {"a": 1})
        database.execute("BEGIN IMMEDIATE")
        for change in (lambda: archive.save("c1", {"a": SECRET}), lambda: archive.delete("c1")):
            with pytest.raises(errors.ArchiveError) as caught:
                change()
            assert caught.value.reason == "locked"
            told = "".join(traceback.format_exception(caught.value))
            assert SECRET not in told and caught.value.__context__ is None
        assert archive.load("c1") == {"a": 1}  # readers do not wait for writers
        database.execute("ROLLBACK")
        archive.save("c1", {"a": 2})
        assert archive.load("c1") == {"a": 2}


def test_a_writer_waits_for_another(archive: SqlArchive, database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as thread:
        saved = thread.submit(archive.save, "c1", {"a": 1})
        assert archive.load("c1") is None
        database.execute("COMMIT")
        saved.result(10)
    assert archive.load("c1") == {"a": 1}


def test_files_that_cannot_be_archives_are_said(tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"no database at all " * 100)
    for path, reason in ((tmp_path / "missing" / "x.db", "unopenable"), (tmp_path, "unopenable"), (junk, "damaged")):
        with pytest.raises(errors.ArchiveError) as caught:
            SqlArchive(path).open()
        assert caught.value.reason == reason
        assert str(path) in caught.value.message and reason in caught.value.message
        assert isinstance(caught.value, errors.StoreError)
    assert junk.read_bytes() == b"no database at all " * 100


@pytest.mark.parametrize(
    "url",
    [
        "",
        ":memory:",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://h/d",
        "postgresql+psycopg2://h/d",
        "sqlite+aiosqlite:///x.db",
        "://",
        None,
        7,
        b"x",
    ],
)
def test_what_names_no_database_is_refused(url: Any) -> None:
    with pytest.raises(errors.ConfigurationError):
        SqlArchive(url)


def test_nothing_is_opened_before_the_first_use(path: Path) -> None:
    with SqlArchive(path) as archive:
        assert not path.exists()
        archive.open()
        assert path.exists()


def test_a_timeout_that_cannot_be_is_refused(path: Path) -> None:
    with pytest.raises(errors.ConfigurationError):
        SqlArchive(path, timeout=0)


def test_a_closed_archive_says_so(path: Path) -> None:
    archive = SqlArchive(path)
    archive.save("c1", {})
    archive.close()
    archive.close()
    with pytest.raises(errors.StoreClosed):
        archive.load("c1")


# Threads and processes ------------------------------------------------------------------------------------------------

PROCESS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from redstate.archive import SqlArchive

path, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with SqlArchive(path, timeout=60) as archive, ThreadPoolExecutor(4) as threads:
    def save(number):
        for turn in range(10):
            archive.save("shared", {"by": name, "again": name}, customer_id="cust_9")
            archive.save(f"{name}-{number}", {"turn": turn}, customer_id="cust_9")
            state = archive.load("shared")
            assert state["by"] == state["again"]
    list(threads.map(save, range(4)))
"""


def test_threads_of_two_processes_open_and_share_one_new_file(path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(path)]
    workers = [
        subprocess.Popen(
            [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        _, complaints = worker.communicate(timeout=100)
        assert worker.returncode == 0, complaints[-2000:]
    with SqlArchive(path) as archive:
        names = {f"{name}-{number}" for name, number in itertools.product(("one", "two"), range(4))}
        assert {each.conversation_id for each in archive.conversations_of("cust_9", limit=100)} == {"shared", *names}
        assert all(archive.load(name) == {"turn": 9} for name in names)


def test_who_opens_a_new_file_waits_for_another_who_is_about_to_write_it(path: Path) -> None:
    # SQLite itself does not wait here, whatever its timeout: two that make a file a log would wait for each other.
    with sqlite3.connect(path, isolation_level=None) as other, ThreadPoolExecutor(1) as threads:
        other.execute("BEGIN IMMEDIATE")
        with SqlArchive(path, timeout=60) as archive:
            opening = threads.submit(archive.open)
            with pytest.raises(TimeoutError):
                opening.result(timeout=0.2)
            other.execute("ROLLBACK")
            opening.result(timeout=60)


def test_who_waits_for_a_new_file_longer_than_its_timeout_says_so(path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as other, SqlArchive(path, timeout=0.2) as archive:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(errors.ArchiveError, match="Another process holds the archive's lock") as caught:
            archive.open()
        assert time.monotonic() - began >= 0.2
        other.execute("ROLLBACK")
    assert caught.value.reason == "locked"


@pytest.mark.parametrize("options", ["nolock=1", "vfs=unix-none"])
def test_a_file_that_can_have_no_log_is_used_without_one(path: Path, options: str) -> None:
    with SqlArchive(f"sqlite:///file:{path}?uri=true&{options}", timeout=0.2) as archive:
        archive.save("c1", {"a": 1})
        assert archive.load("c1") == {"a": 1}


def test_a_forked_child_has_connections_of_its_own(both: SqlArchive) -> None:
    archive = both
    archive.save("parent", {"a": 1})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            archive.save("child", {"b": 2})
            status = 0 if archive.load("parent") == {"a": 1} else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    archive.save("parent", {"a": 3})
    assert (archive.load("parent"), archive.load("child")) == ({"a": 3}, {"b": 2})


# The interface --------------------------------------------------------------------------------------------------------


def test_the_sql_archive_has_the_interface(archive: SqlArchive) -> None:
    assert isinstance(archive, StateArchive)


def test_the_interface_needs_no_sqlalchemy_and_the_archive_says_so() -> None:
    code = """
import sys
sys.modules["sqlalchemy"] = None
from importlib import util
found = util.find_spec
util.find_spec = lambda name, *rest: None if name == "sqlalchemy" else found(name, *rest)
from redstate import errors
from redstate.archive import ArchivedConversation, StateArchive
try:
    from redstate.archive import SqlArchive
except errors.MissingExtra as error:
    print(error.extra, error)
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("archive ")
    assert 'pip install "redstate[archive]"' in ran.stdout


def test_importing_the_interface_does_not_import_sqlalchemy() -> None:
    code = "import sys, redstate.archive; print('sqlalchemy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "False\n"
    import redstate.archive

    with pytest.raises(AttributeError):
        redstate.archive.nothing  # noqa: B018 - the access is what is tested
