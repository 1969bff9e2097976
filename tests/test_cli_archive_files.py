"""``redstate archive export`` and ``restore``: what they write and read, and how they fail."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archive_rows import COMMAND, archive, fill, row, rows_of, sweep
from servers import wait_until
from test_cli_sweep import on_a_terminal

from redstate import Store
from redstate.archive import SqlArchive
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


@contextlib.contextmanager
def started(*arguments: str, **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*COMMAND, *arguments], start_new_session=True, stderr=subprocess.PIPE, **pipes) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


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


def test_a_row_that_is_no_json_is_told_and_leaves_no_file(path: Path, tmp_path: Path, capsys: Any) -> None:
    fill(path, row("a"), row("b", state="no json: s3cret"))
    target = tmp_path / "out.jsonl"
    assert main(["archive", "export", "-o", str(target)]) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: The archive's row of conversation 'b' holds no JSON in state. ")
    assert "s3cret" not in stderr
    assert not target.exists()
