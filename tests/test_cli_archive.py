"""``redstate archive``: what it lists, writes, reads back and erases, and how it fails."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from servers import wait_until
from test_cli_sweep import on_a_terminal

from redstate import AsyncStore, Store
from redstate.archive import ArchiveRow, SqlArchive, Sweeper
from redstate.cli import main

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


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive that the environment names; it is not there yet."""
    found = tmp_path / "calls.db"
    monkeypatch.setenv("REDSTATE_ARCHIVE", str(found))
    return found


@pytest.fixture
def three(path: Path) -> Path:
    fill(path, row("a"), row("b", 1, customer_id="bert"), row("c", 2, reason="abandoned"))
    return path


def fill(path: Path, *rows: ArchiveRow) -> None:
    with SqlArchive(path) as archive:
        archive.put(rows)


def rows_of(path: Path) -> list[ArchiveRow]:
    with SqlArchive(path) as archive:
        return list(archive.rows())


def archive(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)


@contextlib.contextmanager
def started(*arguments: str, **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*COMMAND, *arguments], start_new_session=True, stderr=subprocess.PIPE, **pipes) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


# list


def test_a_list_for_programs_has_fields_between_tabs_the_latest_first(three: Path, capsys: Any) -> None:
    assert main(["archive", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "conversation\tcustomer\tbegan\tended\treason",
        "c\tanna\t2026-01-03 00:00:00\t2026-01-03 00:00:00\tabandoned",
        "b\tbert\t2026-01-02 00:00:00\t2026-01-02 00:00:00\tended",
        "a\tanna\t2026-01-01 00:00:00\t2026-01-01 00:00:00\tended",
    ]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--customer", "anna"], ["c", "a"]),
        (["--since", "2026-01-02"], ["c", "b"]),
        (["--until", "2026-01-02T01:00:00+01:00"], ["a"]),
        (["--since", "2026-01-02", "--until", "2026-01-03"], ["b"]),
        (["--customer", "nobody"], []),
    ],
)
def test_a_list_can_be_narrowed(options: list[str], ids: list[str], three: Path, capsys: Any) -> None:
    assert main(["archive", "list", "--json", *options]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["conversation_id"] for one in found] == ids


def test_a_list_that_is_cut_off_says_so(three: Path, capsys: Any) -> None:
    assert main(["archive", "list", "--limit", "2"]) == 0
    stdout, stderr = capsys.readouterr()
    assert stdout.count("\n") == 3
    assert stderr == "There are more than these 2: pass a higher --limit, or --since and --until.\n"


def test_a_terminal_gets_a_table_that_no_id_can_disturb(path: Path) -> None:
    fill(path, row("red \x1b[31m", customer_id="[bold]anna\n"))
    screen = on_a_terminal([*COMMAND, "list"], {"TERM": "xterm"})
    assert "Conversation" in screen
    assert "red \\x1b[31m" in screen
    assert "[bold]anna\\n" in screen
    assert "\x1b[31m" not in screen


# export and restore


def test_what_was_exported_can_be_restored_to_the_byte(three: Path, tmp_path: Path) -> None:
    fill(three, row("é \U0001f600", 3, customer_id=None, state='{"text":"caf\\u00e9","n":1.5}', record=None))
    before = rows_of(three)
    done = archive("export")
    assert (done.returncode, done.stderr) == (0, "Exported 4 conversations.\n")
    assert [json.loads(line)["conversation_id"] for line in done.stdout.splitlines()] == [
        one.conversation_id for one in before
    ]
    again = tmp_path / "again.db"
    restored = archive("restore", "-", "--archive", str(again), stdin=done.stdout)
    assert restored.stderr == ("Restored 4 conversations: 4 new, 0 newer than in the archive, 0 known already.\n")
    assert archive("export", "--archive", str(again)).stdout == done.stdout
    after = rows_of(again)
    assert [json.loads(one.state) for one in after] == [json.loads(one.state) for one in before]
    assert [one.record for one in after] == [one.record for one in before]


def test_an_export_takes_only_what_was_asked_for(three: Path) -> None:
    assert archive("export", "--customer", "bert").stdout.count("\n") == 1
    assert archive("export", "--conversation", "a").stdout.count("\n") == 1
    assert archive("export", "--since", "2026-01-02").stdout.count("\n") == 2
    nothing = archive("export", "--customer", "nobody")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "Exported 0 conversations.\n")


def test_a_file_appears_when_it_is_complete_and_is_nobody_elses(three: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "calls.jsonl"
    target.parent.mkdir()
    target.write_text("of yesterday")
    done = archive("export", "-o", str(target))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"Exported 3 conversations to {target}.\n")
    assert target.read_text().count("\n") == 3
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_interrupted_leaves_no_file(number: signal.Signals, path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for thousand in range(0, 20_000, 1000):
        fill(path, *(row(f"{thousand + one:06}") for one in range(1000)))
    with started("export", "-o", str(folder / "calls.jsonl")) as process:
        wait_until(lambda: any(one.stat().st_size for one in folder.iterdir()), "it writes", timeout=30)
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert list(folder.iterdir()) == []


def test_a_reader_that_goes_away_ends_an_export_quietly(path: Path) -> None:
    for thousand in range(0, 5000, 1000):
        fill(path, *(row(f"{thousand + one:06}", state='{"text":"%s"}' % ("x" * 500)) for one in range(1000)))
    with started("export", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["conversation_id"] == "000000"
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""


@pytest.mark.parametrize("where", ["/nowhere/at/all.jsonl", "/dev/full", "."])
def test_what_cannot_be_written_is_told(where: str, three: Path, capsys: Any) -> None:
    assert main(["archive", "export", "-o", where]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"error: {where} cannot be written: ")
    assert stderr.count("\n") == 1


def test_an_export_to_a_file_draws_a_bar_on_a_terminal(three: Path, tmp_path: Path) -> None:
    screen = on_a_terminal([*COMMAND, "export", "-o", str(tmp_path / "out.jsonl")], {"TERM": "xterm"})
    assert "Exporting" in screen and "3/3" in screen
    assert screen.endswith(f"Exported 3 conversations to {tmp_path / 'out.jsonl'}.\r\n")


def test_restoring_again_changes_nothing_and_older_lines_replace_nothing(three: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    assert main(["archive", "export", "-o", str(old)]) == 0
    newer = row("a", version=row("a").version + 1, state='{"step":2}')
    fill(three, newer)
    for _ in range(2):
        done = archive("restore", str(old))
        assert done.stderr == "Restored 3 conversations: 0 new, 0 newer than in the archive, 3 known already.\n"
    assert rows_of(three)[0] == newer
    new = archive("export").stdout
    fill(tmp_path / "there.db", row("a"))
    done = archive("restore", "-", "--archive", str(tmp_path / "there.db"), stdin=new)
    assert done.stderr == "Restored 3 conversations: 2 new, 1 newer than in the archive, 0 known already.\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no json", "it is no JSON"),
        ("[1]", "the line is none that an export has"),
        ('{"conversation_id": "x"}', "state is none that an export has"),
        ({"conversation_id": ""}, "conversation_id is none"),
        ({"created_at": "yesterday"}, "created_at is none"),
        ({"created_at": "1066-10-14T00:00:00+00:00"}, "A moment or version is no number"),
        ({"version": "1"}, "version is none"),
        ({"record": "%"}, "record is none"),
        ({"cart": []}, "cart is none"),
    ],
)
def test_a_line_that_is_none_is_named_and_nothing_of_its_batch_is_written(
    line: str | dict[str, Any], reason: str, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    good = archive("export").stdout.splitlines()
    bad = line if isinstance(line, str) else json.dumps({**json.loads(good[0]), **line})
    file = tmp_path / "bad.jsonl"
    file.write_text("\n".join([*good[:2], "", bad, good[2]]))
    target = tmp_path / "target.db"
    assert main(["archive", "restore", str(file), "--archive", str(target)]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"error: line 4 of {file} cannot be restored: {reason}")
    assert stderr.count("\n") == 1
    with SqlArchive(target) as opened:
        assert opened.count() == 0


def test_batches_before_a_bad_line_stay_and_are_told(path: Path, tmp_path: Path, capsys: Any) -> None:
    fill(path, *(row(f"{one:04}") for one in range(700)))
    file = tmp_path / "lines.jsonl"
    assert main(["archive", "export", "-o", str(file)]) == 0
    with file.open("a") as lines:
        lines.write("{}\n")
    capsys.readouterr()
    target = tmp_path / "target.db"
    assert main(["archive", "restore", str(file), "--archive", str(target)]) == 2
    assert "error: line 701 of " in (stderr := capsys.readouterr().err)
    assert stderr.endswith("500 lines before it were restored\n")
    with SqlArchive(target) as opened:
        assert opened.count() == 500


def test_a_restore_draws_a_bar_on_a_terminal(three: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert main(["archive", "export", "-o", str(file)]) == 0
    screen = on_a_terminal([*COMMAND, "restore", str(file)], {"TERM": "xterm"})
    assert "Restoring" in screen and "bytes" in screen
    assert screen.endswith("3 known already.\r\n")


def test_restored_live_the_conversations_go_on(url: str, prefix: str, path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("REDSTATE_KEY_PREFIX", prefix)
    with Store.from_url(url, key_prefix=prefix, archive=path) as store:
        conv = store.conversation("a", customer_id="anna")
        conv.state.set("step", 7)
        conv.end()
        sweep(url, prefix, path)
        lines = archive("export").stdout
        store.archive.delete("a")
        done = archive("restore", "-", "--live", "--url", url, stdin=lines)
        assert done.stderr.endswith(" 1 new, 0 newer than in the archive, 0 known already. 1 go on in the store.\n")
        assert store.conversation("a").state.get("step", fresh=True) == 7
        store.conversation("a").state.set("step", 8)


def sweep(url: str, prefix: str, path: Path) -> None:
    """Archive what has ended, and wait until no tombstone is left of it."""

    async def work() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix, archive=path, tombstone_ttl=0.001) as store:
            sweeper = Sweeper(store)
            await sweeper.sweep()
            await sweeper.close()

    asyncio.run(work())


# erase


def test_a_customer_is_erased_everywhere_once_and_it_says_so(
    url: str, prefix: str, path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("REDSTATE_KEY_PREFIX", prefix)
    with Store.from_url(url, key_prefix=prefix, archive=path) as store:
        for one in ("a", "b"):
            store.conversation(one, customer_id="anna").state.set("step", 1)
        store.conversation("a").end()
        sweep(url, prefix, path)
        capsys.readouterr()
        assert main(["archive", "erase", "--customer", "anna", "--yes", "--url", url]) == 0
        assert capsys.readouterr().out == (
            "Erased customer anna: the profile, 1 conversation in the store, 1 conversation in the archive.\n"
        )
        assert rows_of(path) == []
        assert store.customer("anna").all(fresh=True) == {}
    assert main(["archive", "erase", "--customer", "anna", "--yes", "--url", url]) == 0
    assert capsys.readouterr().out == "Nothing was known of customer anna.\n"
    assert main(["archive", "erase", "--customer", "anna", "--yes", "--json", "--url", url]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "customer_id": "anna", "profile": False, "conversations": [], "archived": 0,
    }  # fmt: skip


@pytest.mark.parametrize("moment", ["going on", "ended", "archived", "going on again"])
def test_a_conversation_is_erased_wherever_it_is(
    moment: str, url: str, prefix: str, path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("REDSTATE_KEY_PREFIX", prefix)
    with Store.from_url(url, key_prefix=prefix, archive=path) as store:
        store.archive.list()
        conv = store.conversation("a", customer_id="anna")
        conv.state.set("step", 1)
        if moment != "going on":
            conv.end()
        if moment in ("archived", "going on again"):
            sweep(url, prefix, path)
        if moment == "going on again":
            assert store.conversation("a").resume()
        capsys.readouterr()
        assert main(["archive", "erase", "--conversation", "a", "--yes", "--json", "--url", url]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "conversation_id": "a", "store": moment != "archived", "archive": moment.startswith(("arch", "going on a")),
        }  # fmt: skip
        assert rows_of(path) == []
        assert not store.conversation("a").exists()
        sweep(url, prefix, path)
        assert rows_of(path) == []
        assert not store.conversation("a").resume()
    capsys.readouterr()
    assert main(["archive", "erase", "--conversation", "a", "--yes", "--url", url]) == 0
    assert capsys.readouterr().out == "There was no conversation a.\n"


@pytest.mark.parametrize(("answer", "status", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 1), (b"\n", 1, 1)])
def test_on_a_terminal_it_asks_first(answer: bytes, status: int, left: int, url: str, path: Path) -> None:
    fill(path, row("a"))
    command = [*COMMAND, "erase", "--conversation", "a", "--url", url]
    shown, ended = answered(command, answer)
    assert "Erase conversation a for good? [y/N]: " in shown
    assert ended == status
    assert ("Nothing was erased." in shown) == (status == 1)
    assert len(rows_of(path)) == left


def answered(command: list[str], answer: bytes) -> tuple[str, int]:
    """What a terminal shows of a command that is answered, and its status."""
    ours, theirs = os.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        os.write(ours, answer)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(ours, 65536):
                shown += piece
        status = process.wait(60)
    os.close(ours)
    return shown.decode(), status


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list"], "there is no archive at "),
        (["export"], "there is no archive at "),
        (["erase", "--customer", "a", "--yes"], "no server is named"),
        (["erase", "--customer", "a", "--yes", "--url", "redis://h"], "there is no archive at "),
        (["erase", "--yes"], "either --customer or --conversation"),
        (["erase", "--customer", "a", "--conversation", "b"], "either --customer or --conversation"),
        (["list", "--archive", "mysql://u:s3cret@h/d"], "an SQLite file or a PostgreSQL database"),
        (["list", "--since", "yesterday"], "'yesterday' is no time"),
        (["list", "--limit", "0"], "--limit"),
        (["restore", "nothing.jsonl"], "nothing.jsonl cannot be read: No such file"),
        (["restore", "/"], "/ cannot be read: Is a directory"),
        (["restore", "-", "--url", "redis://h"], "--url goes with --live"),
        (["restore", "-", "--live"], "no server is named"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_the_impossible_is_refused_in_one_line_and_makes_no_archive(
    arguments: list[str], told: str, path: Path, capsys: Any
) -> None:
    assert main(["archive", *arguments]) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert told in stderr
    assert "s3cret" not in stderr
    assert not path.exists()


def test_without_a_terminal_erasing_has_to_be_confirmed_by_an_option(
    three: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["archive", "erase", "--customer", "anna", "--url", "redis://127.0.0.1:1"]) == 2
    assert "pass --yes" in capsys.readouterr().err
    assert len(rows_of(three)) == 3


def test_no_archive_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("REDSTATE_ARCHIVE", raising=False)
    assert main(["archive", "list"]) == 2
    assert capsys.readouterr().err.startswith("error: no archive is named. Set REDSTATE_ARCHIVE or pass --archive: ")


def test_a_file_that_is_no_database_is_told(path: Path, capsys: Any) -> None:
    path.write_text("no database " * 100)
    assert main(["archive", "list"]) == 1
    assert capsys.readouterr().err.startswith("error: The archive's file is no SQLite database")
