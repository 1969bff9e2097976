"""``redstate archive list`` and ``erase``: what they tell and do, and how they fail."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from archive_rows import COMMAND, fill, row, rows_of, sweep
from test_cli_sweep import on_a_terminal

from redstate import Store
from redstate.cli import main


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
        "customer_id": "anna", "profile": False, "conversations": [], "archived": 0, "unreadable": [],
    }  # fmt: skip


def test_an_erasure_names_what_it_could_not_tell_whose_it_is(
    url: str, prefix: str, path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("REDSTATE_KEY_PREFIX", prefix)
    with Store.from_url(url, key_prefix=prefix, archive=path) as store:
        store.archive.list()
        store.conversation("a").state.set("customer_id", "anna")
        store.conversation("b").state.set("step", 1)
        with redis.Redis.from_url(url) as raw:
            raw.hset(store.conversation("b").key, "scustomer_id", b"{no json")
    assert main(["archive", "erase", "--customer", "anna", "--yes", "--url", url]) == 0
    said = capsys.readouterr()
    assert "1 conversation in the store" in said.out
    assert said.err == "Of 1 conversation in the store it cannot be told whose, so nothing was done: b\n"


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
