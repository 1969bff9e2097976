"""What only a server can do wrong: it stops, refuses, or makes one wait. Nothing that is said holds a credential."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from archive.postgres import Postgres
from archive.rows import row
from servers import wait_until

from redstate import errors
from redstate.archive import SqlArchive

PASSWORD = "hush" + "hush"  # in two parts, as a traceback quotes this file


def refused(call: Callable[[], Any]) -> str:
    """The reason of the refusal, of which nothing shows what nobody should see."""
    with pytest.raises(errors.ArchiveError) as caught:
        call()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.data)
    assert PASSWORD not in told and caught.value.__context__ is None
    return caught.value.reason


def test_a_server_that_stopped_is_said_and_after_its_start_all_works_again(postgres: Postgres) -> None:
    with SqlArchive(postgres.new_database()) as archive:
        archive.put([row("c1")])
        postgres.stop()
        try:
            for _ in range(2):
                assert refused(lambda: archive.put([row("c2", state=f'"{PASSWORD}"')])) == "unreachable"
                assert refused(lambda: archive.holds("c1")) == "unreachable"
        finally:
            postgres.start()
        assert archive.find("c1") == row("c1")
        archive.put([row("c2")])
        assert archive.count() == 2


def test_a_connection_that_the_server_ended_is_replaced(postgres: Postgres) -> None:
    with SqlArchive(postgres.new_database()) as archive:
        archive.put([row("c1")])
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                         " AND backend_type = 'client backend'")  # fmt: skip
        assert archive.holds("c1")


def test_a_server_that_nobody_runs_is_said_without_the_password() -> None:
    url = f"postgresql://ada:{PASSWORD}@127.0.0.1:1/shop"
    with SqlArchive(url, timeout=2) as archive:
        assert PASSWORD not in repr(archive) and "127.0.0.1:1/shop" in repr(archive)
        assert refused(archive.open) == "unreachable"
        with pytest.raises(errors.ArchiveError, match=r"127\.0\.0\.1:1/shop"):
            archive.count()


def test_a_wrong_password_and_a_missing_database_are_said(postgres: Postgres) -> None:
    postgres.execute("CREATE ROLE guarded LOGIN PASSWORD 'another'")
    rules = postgres.hba.read_text()
    postgres.hba.write_text("local all guarded scram-sha-256\n" + rules)
    try:
        postgres.execute("SELECT pg_reload_conf()")
        for user in (f"guarded:{PASSWORD}", "guarded", "nobody_at_all"):
            with SqlArchive(postgres.url("postgres", user)) as archive:
                assert refused(archive.open) == "auth"
    finally:
        postgres.hba.write_text(rules)
        postgres.execute("SELECT pg_reload_conf()")
    with SqlArchive(postgres.url("no_such_database")) as archive:
        assert refused(archive.open) == "unopenable"


def test_a_user_who_may_only_read_reads(postgres: Postgres) -> None:
    target = postgres.new_database()
    database = target.partition("@/")[2].partition("?")[0]
    with SqlArchive(target) as archive:
        archive.put([row("c1")])
    postgres.execute("CREATE ROLE reader LOGIN")
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database)
    with SqlArchive(postgres.url(database, "reader")) as archive:
        assert archive.holds("c1")
        assert refused(lambda: archive.put([row("c2", state=f'"{PASSWORD}"')])) == "permission"
    postgres.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with SqlArchive(target) as archive:
        assert archive.holds("c1")
        assert refused(lambda: archive.save("c1", {"a": PASSWORD})) == "read-only"


def test_who_waits_too_long_for_a_lock_is_told(postgres: Postgres) -> None:
    target = postgres.new_database()
    with SqlArchive(target, timeout=0.2) as archive:
        archive.put([row("c1")])
        with psycopg.connect(target) as other:
            other.execute("UPDATE conversation_state SET reason = 'held'")
            assert refused(lambda: archive.put([row("c1", 2), row("c2")])) == "timeout"
            assert archive.find("c1") == row("c1")
            other.rollback()
        archive.put([row("c1", 2)])
        assert (archive.find("c1"), archive.holds("c2")) == (row("c1", 2), False)


def test_who_stands_still_in_a_transaction_writes_nothing_any_more(postgres: Postgres) -> None:
    target = postgres.new_database()
    with SqlArchive(target, timeout=0.2) as archive, psycopg.connect(target, autocommit=True) as other:
        archive.open()
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

        def stand_still() -> None:
            wait_until(lambda: other.execute(others).fetchone() == (0,), "its connection is gone")

        assert refused(lambda: archive.put([row("c1")], stand_still)) in ("timeout", "unreachable")
        assert not archive.holds("c1")
        archive.put([row("c1")])
        assert archive.holds("c1")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_the_scheme_is_taken(postgres: Postgres, scheme: str) -> None:
    with SqlArchive(postgres.new_database().replace("postgresql", scheme)) as archive:
        assert archive.count() == 0


@pytest.mark.parametrize(
    "rest", ["a@b@host/shop", "a/b@c@host/shop", "a?b@c@host/shop", "@@host/shop", "/shop", ":7/shop"]
)
def test_a_url_that_cannot_be_read_is_refused_without_showing_it(rest: str) -> None:
    url = f"postgresql://ada:{PASSWORD}{rest}"
    with pytest.raises(errors.ConfigurationError) as caught:
        SqlArchive(url)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)) and caught.value.__context__ is None


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(errors.MissingExtra, match=r'pip install "redstate\[postgres\]"') as caught:
        SqlArchive(f"postgresql://ada:{PASSWORD}@host/shop")
    assert caught.value.extra == "postgres" and caught.value.__context__ is None
