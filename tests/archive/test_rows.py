"""Rows of the archive, on SQLite and PostgreSQL: each life once, the newest version of it, whoever writes when."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from archive.rows import BEGAN, row
from contract.test_contract_ids import HOSTILE

from redstate import errors
from redstate.archive import ArchiveRow, SqlArchive
from redstate.archive.tables import LAST_MOMENT, escaped, unescaped
from redstate.calls.moments import moment

TESTS = Path(__file__).resolve().parent.parent
FULL = ArchiveRow(
    conversation_id="c1", created_us=BEGAN + 123_456, customer_id="ada", version=BEGAN + 999_999,
    updated_us=BEGAN + 999_998, ended_us=BEGAN + 999_997, reason="abandoned", schema_version=3,
    state='{"b":1, "a":1.50,"nul":"\\u0000","b":2}', cart='[{"sku":"é"}]', workflow="{}", session="{ }",
    record=b"\0\xff\\x",
)  # fmt: skip


def test_a_row_comes_back_to_the_byte_and_the_microsecond(both: SqlArchive) -> None:
    assert (both.find("c1"), both.holds("c1"), both.lives("c1")) == (None, False, [])
    least = row("c2", ended_us=None)
    both.put([FULL, least])
    assert (both.find("c1"), both.holds("c1"), both.lives("c1")) == (FULL, True, [FULL])
    assert both.find("c2") == least


def test_the_first_and_the_last_moment_come_back(both: SqlArchive) -> None:
    first = ArchiveRow("first", 0, None, 0, 0, 0, "ended", None, "{}", None, None, None, None)
    last = ArchiveRow(
        "last", *(LAST_MOMENT, None, LAST_MOMENT, LAST_MOMENT, LAST_MOMENT), "ended", None, "{}", *[None] * 4
    )
    both.put([first, last])
    assert (both.find("first"), both.find("last")) == (first, last)
    assert both.list()[0].ended_at == moment(LAST_MOMENT)


def test_versions_never_go_backwards(both: SqlArchive) -> None:
    both.put([row("c1", 5)])
    both.put([row("c1", 4), row("c1", 5, state="other")])
    assert both.find("c1") == row("c1", 5)
    both.put([row("c1", 6, reason="abandoned", record=b"r")])
    assert both.find("c1") == row("c1", 6, reason="abandoned", record=b"r")


def test_of_versions_in_one_put_the_highest_stays(both: SqlArchive) -> None:
    both.put([row("c1", 2), row("c1", 9, customer_id="ada"), row("c2"), row("c1", 3)])
    assert both.lives("c1") == [row("c1", 9, customer_id="ada")]
    assert both.count() == 2


def test_whose_it_was_stays_where_nobody_says(both: SqlArchive) -> None:
    both.put([row("c1", 1, customer_id="ada")])
    both.put([row("c1", 2)])
    assert both.find("c1") == row("c1", 2, customer_id="ada")
    both.put([row("c1", 3, customer_id="eve")])
    assert both.list(customer_id="ada") == [] and len(both.list(customer_id="eve")) == 1


def test_two_lives_of_one_id_stay_two_rows(both: SqlArchive) -> None:
    both.put([row("c1", 7), row("c1", 2, life=1)])
    both.put([row("c1", 8)])
    assert both.lives("c1") == [row("c1", 2, life=1), row("c1", 8)]
    assert both.find("c1") == row("c1", 2, life=1)
    both.save("c1", {"n": "saved"})
    assert both.load("c1") == {"n": "saved"}
    assert both.lives("c1")[1] == row("c1", 8)
    assert both.delete("c1") and both.lives("c1") == []


def test_saving_a_state_leaves_how_it_ended_and_raises_the_version(both: SqlArchive) -> None:
    ahead = LAST_MOMENT - 10
    both.put([row("c1", record=b"r"), row("c2", version=ahead - BEGAN)])
    both.save("c1", {"n": 2})
    found = both.find("c1")
    assert found is not None and (found.reason, found.ended_us, found.record) == ("ended", BEGAN + 1, b"r")
    assert found.version == found.updated_us > BEGAN + 1
    both.save("c2", {})
    found = both.find("c2")
    assert found is not None and found.version == ahead + 1
    both.save("c3", {})
    found = both.find("c3")
    assert found is not None and (found.reason, found.ended_us) == ("saved", None)
    assert found.version == found.created_us == found.updated_us


def test_threads_that_save_a_new_conversation_begin_one_life(both: SqlArchive) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: both.save("c1", {"n": number}), range(40)))
    assert len(both.lives("c1")) == 1


def test_a_put_that_fails_writes_nothing(both: SqlArchive) -> None:
    broken: Any = None
    with pytest.raises(errors.ArchiveError) as caught:
        both.put([row("c1"), row("c2", state=broken), row("c3")])
    assert caught.value.__context__ is None
    assert both.count() == 0
    both.put([])


@pytest.mark.parametrize("changes", [{"version": -(2**60)}, {"version": 2**63}, {"updated_us": 1.5}, {"ended_us": "x"}])
def test_numbers_that_cannot_be_are_refused(both: SqlArchive, changes: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInput):
        both.put([row("c1"), row("c2", **changes)])
    assert not both.holds("c1")


@pytest.mark.parametrize("useless", ["", "x" * 513, "\ud800", 7])
def test_useless_ids_are_refused(both: SqlArchive, useless: Any) -> None:
    for call in (
        lambda: both.put([row(useless)]),
        lambda: both.put([row("c1", customer_id=useless)]),
        lambda: both.find(useless),
        lambda: both.holds(useless),
        lambda: both.lives(useless),
        lambda: both.list(customer_id=useless),
        lambda: both.rows(conversation_id=useless),
        lambda: both.count(customer_id=useless),
        lambda: both.delete_of(useless),
        lambda: both.delete_row(useless, 1, 1),
    ):
        with pytest.raises(errors.InvalidId):
            call()


def test_text_that_is_no_unicode_is_refused_without_showing_it(both: SqlArchive) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        both.put([row("c1", state='"hush\ud800"')])
    assert "hush" not in str(caught.value) and caught.value.__context__ is None


def test_hostile_ids_are_kept_apart_and_come_back(both: SqlArchive) -> None:
    ids = [*HOSTILE, "%00", "%25", "%2500", "\0\0", "a\0b", "a%00b", "'; DROP TABLE x; --", "%s", "$1", ":id", "?"]
    both.put([row(name, number + 1, customer_id=name) for number, name in enumerate(ids)])
    assert [both.find(name) for name in ids] == [
        row(name, number + 1, customer_id=name) for number, name in enumerate(ids)
    ]
    assert [both.list(customer_id=name)[0].conversation_id for name in ids] == ids
    assert {each.conversation_id for each in both.rows(batch=3)} == set(ids)
    assert all(both.delete(name) for name in ids)


def test_no_two_ids_are_escaped_to_one() -> None:
    names = ["".join(parts) for parts in (("\0",), ("%00",), ("%2500",), ("%25", "00"), ("%", "\0"), ("%%00",))]
    assert len({escaped(name) for name in names}) == len(set(names))
    assert [unescaped(escaped(name)) for name in names] == names


# Lists ----------------------------------------------------------------------------------------------------------------


def test_lists_are_newest_first_and_filtered(both: SqlArchive) -> None:
    both.put([
        row("c1", 1, customer_id="ada"),
        row("c2", 1, life=3, customer_id="ada"),
        row("c3", 1, life=2, customer_id="eve", ended_us=None),
        row("c1", 1, life=1, customer_id="ada", updated_us=BEGAN + 9_000_000),  # changed after it had ended
    ])  # fmt: skip
    assert [each.conversation_id for each in both.list()] == ["c2", "c3", "c1", "c1"]
    assert [each.conversation_id for each in both.list(limit=2)] == ["c2", "c3"]
    newest = both.list(customer_id="ada")[0]
    assert (newest.created_at, newest.ended_at) == (moment(BEGAN + 3_000_000), moment(BEGAN + 3_000_001))
    assert (newest.version, newest.reason, newest.customer_id) == (BEGAN + 3_000_001, "ended", "ada")
    assert both.list(customer_id="eve")[0].ended_at is None
    since, until = moment(BEGAN + 1_000_001), moment(BEGAN + 3_000_001)
    assert [each.conversation_id for each in both.list(since=since, until=until)] == ["c3", "c1"]
    assert both.count(since=since, until=until) == both.count(customer_id="ada", since=since) == 2
    assert both.count(conversation_id="c1") == 2
    assert [each.created_us for each in both.rows(conversation_id="c1", customer_id="ada", until=until)] == [
        BEGAN, BEGAN + 1_000_000
    ]  # fmt: skip


def test_moments_without_a_time_zone_are_refused(both: SqlArchive) -> None:
    naive: Any
    for naive in (datetime.now(UTC).replace(tzinfo=None), "2026-01-01", 7):
        for call in (both.list, both.rows, both.count):
            with pytest.raises(errors.InvalidInput, match="has no time zone"):
                call(since=naive)
            with pytest.raises(errors.InvalidInput, match="has no time zone"):
                call(until=naive)
    useless: Any
    for useless in (0, -1, 1.5):
        with pytest.raises(errors.InvalidInput):
            both.list(limit=useless)
        with pytest.raises(errors.InvalidInput):
            both.rows(batch=useless)


@pytest.mark.parametrize("batch", [1, 7, 20, 500])
def test_all_rows_come_once_in_their_order(both: SqlArchive, batch: int) -> None:
    everything = [row(f"c{number:02}", life=life) for number in range(10) for life in range(2)]
    both.put(everything[::-1])
    assert list(both.rows(batch=batch)) == everything
    assert both.count() == 20


def test_rows_are_neither_doubled_nor_left_out_while_others_write(both: SqlArchive) -> None:
    both.put([row(f"c{number:02}") for number in range(20)])
    found = []
    for number, each in enumerate(both.rows(batch=2)):
        found.append(each.conversation_id)
        both.put([row(f"a{number}"), row(f"c{number:02}", 2), row(f"c{19 - number:02}", 3)])
    assert found == [f"c{number:02}" for number in range(20)]


# Deleting -------------------------------------------------------------------------------------------------------------


def test_a_life_is_deleted_in_the_version_that_was_seen_only(both: SqlArchive) -> None:
    one, other = row("c1", 5), row("c1", 5, life=1)
    both.put([one, other])
    assert not both.delete_row("c1", one.created_us, one.version - 1)
    assert not both.delete_row("c1", one.created_us + 1, one.version)
    assert both.delete_row("c1", one.created_us, one.version)
    assert not both.delete_row("c1", one.created_us, one.version)
    assert both.lives("c1") == [other]
    with pytest.raises(errors.InvalidInput):
        both.delete_row("c1", -1, 1)


def test_all_of_a_customer_is_deleted(both: SqlArchive) -> None:
    both.put(
        [row("c1", customer_id="ada"), row("c1", life=1, customer_id="ada"), row("c2"), row("c3", customer_id="e")]
    )
    assert (both.delete_of("ada"), both.delete_of("ada")) == (2, 0)
    assert [each.conversation_id for each in both.rows()] == ["c2", "c3"]
    assert (both.delete("c2"), both.delete("c2")) == (True, False)


# Processes ------------------------------------------------------------------------------------------------------------


def putter(target: str, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "archive.putter", target, what]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=TESTS)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_processes_that_open_at_once_and_put_the_same_rows_do_not_harm_each_other(target: str) -> None:
    processes = [putter(target, "same") for _ in range(3)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        go(process)
    for process in processes:
        _, complaints = process.communicate(timeout=100)
        assert process.returncode == 0, complaints[-2000:]
    with SqlArchive(target) as archive:
        assert {each.version for each in archive.rows()} == {BEGAN + 20}
        assert archive.count() == 100


def test_a_process_killed_while_it_puts_leaves_whole_batches(target: str) -> None:
    with putter(target, "forever") as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        go(process)
        while (told := process.stdout.readline()) != "9\n":
            assert told
        process.kill()
    with SqlArchive(target) as archive:
        count = archive.count()
        assert count % 100 == 0 and count >= 1000
        sizes = {archive.count(customer_id=f"batch-{batch}") for batch in range(count // 100)}
        assert sizes == {100}


def test_states_are_json_that_others_can_read(both: SqlArchive) -> None:
    both.save("c1", {"step": "greeting"})
    found = both.find("c1")
    assert found is not None and json.loads(found.state) == {"step": "greeting"}
