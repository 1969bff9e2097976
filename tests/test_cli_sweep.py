"""``redstate sweep`` as people and machines meet it: once with a summary, or until a signal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import wait_until

from redstate import Store, errors
from redstate.archive import SqlArchive
from redstate.archive.process import SweepSettings
from redstate.cli import main
from redstate.testing.proxy import FaultProxy

COMMAND = [sys.executable, "-c", "import sys; from redstate.cli import main; sys.exit(main())", "sweep"]


class Process:
    """The running command; ``lines`` are what it has logged so far."""

    def __init__(self, *options: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def logged(self, words: str, count: int = 1) -> list[str]:
        def found() -> list[str]:
            return [line for line in self.lines if words in line]

        wait_until(lambda: len(found()) >= count, f"{count} times {words!r} in {self.lines}", timeout=30)
        return found()

    def ended(self, timeout: float = 30) -> int:
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status


@contextlib.contextmanager
def sweeping(url: str, prefix: str, archive: Path, *options: str) -> Iterator[Process]:
    command = Process("--url", url, "--archive", str(archive), *options, REDSTATE_KEY_PREFIX=prefix)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            os.killpg(command.process.pid, signal.SIGKILL)
        command.ended()


def once(url: str, prefix: str, archive: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--once", "--url", url, "--archive", str(archive), *options], capture_output=True, text=True,
        env={**os.environ, "REDSTATE_KEY_PREFIX": prefix}, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@pytest.fixture
def store(url: str, prefix: str, path: Path) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix, archive=path, idle=0.3) as store:
        yield store


def end(store: Store, *ids: str) -> None:
    for conversation_id in ids:
        store.conversation(conversation_id, customer_id="anna").state.set("step", 1)
        store.conversation(conversation_id).end()


# Once


def test_once_archives_what_is_due_and_says_so(url: str, prefix: str, path: Path, store: Store) -> None:
    end(store, "a", "b")
    done = once(url, prefix, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Archived 2 conversations in ")
    assert done.stdout.endswith(" 0 are still due, 0 go on.\n")
    assert {one.conversation_id for one in store.archive.list()} == {"a", "b"}


def test_once_tells_machines_what_it_did(url: str, prefix: str, path: Path, store: Store) -> None:
    end(store, "a")
    store.conversation("left").state.set("step", 1)
    wait_until(lambda: store.archive.backlog().due == 2, "both are due")
    done = once(url, prefix, path, "--json", "--idle", "0.3")
    told = json.loads(done.stdout)
    assert 0 <= told.pop("seconds") < 60
    assert told == {
        "looked_at": 2, "archived": 2, "abandoned": 1, "erased": 0, "corrupt": 0, "failures": 0,
        "interrupted": False, "due": 0, "oldest": 0, "conversations": 0,
    }  # fmt: skip
    assert done.returncode == 0


def test_once_on_a_terminal_draws_a_bar_and_leaves_the_summary(url: str, prefix: str, path: Path, store: Store) -> None:
    end(store, *map(str, range(20)))
    screen = on_a_terminal(
        [*COMMAND, "--once", "--url", url, "--archive", str(path)], {"REDSTATE_KEY_PREFIX": prefix, "TERM": "xterm"}
    )
    assert "Archiving" in screen and "20/20" in screen
    assert "Archived 20 conversations in " in screen.rpartition("\x1b[2K")[2]


def on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """What a terminal gets to see of a command."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **environment}, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := os.read(ours, 65536):
                shown += piece
        assert process.wait(60) == 0, shown
    os.close(ours)
    return shown.decode()


def test_what_cannot_be_read_stays_and_fails_the_command(url: str, prefix: str, path: Path, store: Store) -> None:
    import redis

    end(store, "good", "bad")
    with redis.Redis.from_url(url) as client:
        client.hset(store.conversation("bad").key, "sstep", b"{no json")
    done = once(url, prefix, path, "--log-format", "text")
    assert done.returncode == 1
    assert "conversation 'bad' cannot be archived, and stays: " in done.stderr
    assert "1 cannot be read and stay in the store; see the log." in done.stdout
    assert [one.conversation_id for one in store.archive.list()] == ["good"]


def test_once_without_a_database_fails_in_one_line_and_loses_nothing(
    url: str, prefix: str, tmp_path: Path, path: Path, store: Store
) -> None:
    end(store, "a")
    done = once(url, prefix, tmp_path / "no folder" / "calls.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: The archive's file cannot be opened")
    assert done.stderr.count("\n") == 1
    assert once(url, prefix, path).stdout.startswith("Archived 1 conversation in ")


def test_the_merge_function_is_found_in_the_current_folder(
    url: str, prefix: str, path: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles.py").write_text("def merge(ended, profile):\n    return {'steps': ended.state['step']}\n")
    monkeypatch.chdir(tmp_path)
    store.conversation("left", customer_id="anna").state.set("step", 4)
    wait_until(lambda: store.archive.backlog().due == 1, "it is due")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
    assert once(url, prefix, path, "--merge", "profiles:merge", "--idle", "0.3").returncode == 0
    assert store.customer("anna").get("steps", fresh=True) == 4


# Until a signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_sweeps_until_a_signal_and_tells_what_it_did(
    number: signal.Signals, url: str, prefix: str, path: Path, store: Store
) -> None:
    with sweeping(url, prefix, path, "--poll", "0.01") as command:
        (line,) = command.logged("sweeping ")
        begun = json.loads(line)["message"]
        assert begun == f"sweeping {store.address} (prefix {prefix}) into {path}; abandoned after 1800 s"
        end(store, "a", "b")
        wait_until(lambda: len(store.archive.list()) == 2, "both are archived", timeout=30)
        (line,) = command.logged('"event": "archived"')
        assert json.loads(line)["message"] == "archived: 2, of these abandoned: 0; due: 0"
        command.process.send_signal(number)
        assert command.ended() == 0
        assert json.loads(command.lines[-1])["message"] == "stopped; archived: 2, of these abandoned: 0"
        assert len(command.lines) == 3


def test_a_second_ctrl_c_ends_it_at_once(url: str, prefix: str, path: Path) -> None:
    with FaultProxy(url) as proxy, sweeping(proxy.url, prefix, path) as command:
        command.logged("sweeping ")
        with proxy.hold_replies(command="EVALSHA"):
            proxy.wait_until(lambda stats: stats.held > 0)  # it waits for the server, and does not end by itself
            command.process.send_signal(signal.SIGINT)
            command.process.send_signal(signal.SIGINT)
            began = time.monotonic()
            # Two signals that come together can be taken as one: an impatient user goes on.
            while command.process.poll() is None:
                command.process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.process.wait(0.05)
            assert command.ended() == 130
            assert time.monotonic() - began < 4


def test_it_goes_on_when_the_database_is_back(url: str, prefix: str, tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "later"
    with sweeping(url, prefix, folder / "calls.db", "--poll", "0.01") as command:
        command.logged("conversations wait in the store: The archive's file cannot be opened")
        end(store, "a")
        command.logged("archiving goes on in ")
        folder.mkdir()
        with SqlArchive(folder / "calls.db") as archive:
            wait_until(lambda: archive.holds("a"), "it is archived", timeout=30)


def test_killed_at_any_moment_it_leaves_everything_to_the_next(url: str, prefix: str, path: Path, store: Store) -> None:
    ids = [str(number) for number in range(60)]
    for tens in range(0, 60, 10):
        with sweeping(url, prefix, path, "--poll", "0.01", "--batch", "3", "--lease", "1") as command:
            command.logged("sweeping ")
            end(store, *ids[tens : tens + 10])
            command.process.kill()
    with sweeping(url, prefix, path, "--poll", "0.01", "--lease", "1") as command:
        wait_until(lambda: store.archive.backlog().conversations == 0, "all have left", timeout=30)
    with SqlArchive(path) as archive:
        assert sorted(row.conversation_id for row in archive.rows()) == sorted(ids)


def test_it_stands_back_behind_other_processes(url: str, prefix: str, path: Path) -> None:
    with sweeping(url, prefix, path, "--nice", "7") as command:
        command.logged("sweeping ")
        for thread in Path(f"/proc/{command.process.pid}/task").iterdir():
            assert os.getpriority(os.PRIO_PROCESS, int(thread.name)) == os.getpriority(os.PRIO_PROCESS, 0) + 7


def test_it_can_take_only_what_other_processes_leave() -> None:
    told = subprocess.run([sys.executable, "-c", _STANDING_BACK], capture_output=True, text=True, check=True).stdout
    # A policy of Linux; elsewhere the lowest priority.
    assert told.split() == [str(getattr(os, "SCHED_IDLE", 19))] * 2


_STANDING_BACK = """
import os, threading
from redstate.archive.process import SweepSettings
SweepSettings(nice=20).stand_back()
tell = lambda: print(os.sched_getscheduler(0) if hasattr(os, "SCHED_IDLE") else os.nice(0))
tell()
thread = threading.Thread(target=tell)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("value", ["21", "-1", "much", "", "\u00b2"])
def test_how_far_it_stands_back_must_be_a_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDSTATE_SWEEP_NICE", value)
    with pytest.raises(errors.ConfigurationError, match="REDSTATE_SWEEP_NICE is no whole number from 0 to 20"):
        SweepSettings().stand_back()


def test_no_line_tells_a_password(prefix: str) -> None:
    command = Process(
        "--url", "redis://shop:s3cret-words@127.0.0.1:1", "--log-level", "DEBUG",
        "--archive", "postgresql://shop:s3cret-words@127.0.0.1:1/calls", REDSTATE_KEY_PREFIX=prefix,
    )  # fmt: skip
    command.logged("archiving goes on in ", 2)
    command.process.terminate()
    assert command.ended() == 0
    assert "into 127.0.0.1:1/calls;" in command.lines[0]
    assert "s3cret" not in "".join(command.lines)


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "error: no server is named. Set REDSTATE_URL or pass --url\n"),
        (["--once"], "error: no server is named. Set REDSTATE_URL or pass --url\n"),
        (["--url", "redis://h"], "error: no archive is named. Set REDSTATE_ARCHIVE or pass --archive: "),
        (["--url", "nonsense", "--archive", "a.db"], "scheme"),
        (["--url", "redis://h", "--archive", "mysql://u:s3cret@h/d"], "an SQLite file or a PostgreSQL database"),
        (["--url", "redis://h", "--archive", "a.db", "--merge", "shop"], "'shop' names no merge function"),
        (["--url", "redis://h", "--archive", "a.db", "--merge", "nowhere.at:all"], "There is no module nowhere"),
        (["--url", "redis://h", "--archive", "a.db", "--merge", "json:nothing"], "json has no nothing"),
        (["--batch", "0"], "--batch"),
        (["--idle", "0"], "--idle"),
        (["--nice", "21"], "--nice"),
        (["--json"], "--json goes with --once"),
    ],
)
def test_the_impossible_is_refused_in_one_line(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDSTATE_ARCHIVE", raising=False)
    command = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (command.returncode, command.stdout) == (2, "")
    assert command.stderr.startswith("error: ")
    assert command.stderr.count("\n") == 1
    assert told in command.stderr
    assert "s3cret" not in command.stderr


def test_a_merge_function_of_the_environment_counts_for_every_store(
    url: str, prefix: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles_of_shop.py").write_text("def merge(ended, profile):\n    return {'steps': 1}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, value in {
        "URL": url,
        "KEY_PREFIX": prefix,
        "ARCHIVE": str(path),
        "MERGE": "profiles_of_shop:merge",
    }.items():
        monkeypatch.setenv(f"REDSTATE_{name}", value)
    with Store.from_env() as store:
        end(store, "a")
        assert store.customer("anna").get("steps", fresh=True) == 1


def test_options_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("REDSTATE_SWEEP_BATCH", "none")
    assert main(["sweep"]) == 2
    assert "--batch" in capsys.readouterr().err
