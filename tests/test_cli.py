"""The command line, as people and machines meet it: what it prints, where, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from redstate import Store, __version__
from redstate.cli import main
from redstate.demo.facts import KEY_PREFIX
from redstate.embedded import EmbeddedServer

SMALL = ("--conversations", "4", "--concurrency", "2", "--workers", "2", "--calm")
COMMAND = [sys.executable, "-c", "import sys; from redstate.cli import main; sys.exit(main())"]


def redstate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=100, check=False)


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, as a shell starts it."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[str], beginning: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(beginning):
            return line
    pytest.fail(f"it ended without a line that begins with {beginning!r}")


def descendants(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task")
    found: set[int] = set()
    for task in tasks.iterdir() if tasks.exists() else ():
        for child in map(int, (task / "children").read_text().split()):
            found |= {child} | descendants(child)
    return found


def alive(pids: set[int]) -> set[int]:
    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    return {pid for pid in pids if runs(pid)}


# The demo


@pytest.fixture(scope="module")
def other_server() -> Iterator[str]:
    with EmbeddedServer.start(tcp=True) as server:
        assert server.tcp_url is not None
        yield server.tcp_url


@pytest.fixture(scope="module")
def kept(other_server: str) -> subprocess.CompletedProcess[str]:
    return redstate("demo", *SMALL, "--url", other_server, "--keep", "--json")


def test_json_on_stdout_is_nothing_but_json(kept: subprocess.CompletedProcess[str]) -> None:
    result = json.loads(kept.stdout)
    assert kept.returncode == 0, kept.stderr
    assert result["ok"] is True
    assert (result["conversations"], result["workers"]) == (4, 2)
    assert result["answered"] == sum(result["calls_by_worker"].values()) >= 4 * 12
    assert [check["violations"] for check in result["checks"]] == [[]] * len(result["checks"])
    assert 0 < result["p50_ms"] <= result["p99_ms"]
    assert result["calls_per_second"] > 0


def test_progress_goes_to_stderr_in_plain_lines(kept: subprocess.CompletedProcess[str], other_server: str) -> None:
    assert "Starting 2 worker processes\nDriving 4 conversations with " in kept.stderr
    assert f"redstate demo --verify {other_server}\n" in kept.stderr
    assert "\x1b" not in kept.stderr


def test_verify_computes_the_same_result_from_the_server_alone(
    kept: subprocess.CompletedProcess[str], other_server: str
) -> None:
    again = redstate("demo", "--verify", other_server, "--json")
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads(again.stdout) == json.loads(kept.stdout)


def test_verify_of_damaged_data_names_the_damage_and_fails(
    kept: subprocess.CompletedProcess[str], other_server: str
) -> None:
    conversation_id = f"{json.loads(kept.stdout)['run']}-00003"
    with Store.from_url(other_server, key_prefix=KEY_PREFIX) as store:
        # The demo's conversations have ended.
        assert store.conversation(conversation_id).resume()
        store.conversation(conversation_id).state.increment("pages")
        result = redstate("demo", "--verify", other_server)
    assert result.returncode == 1
    assert f"  {conversation_id}: field pages is 5, not 4\n" in result.stdout
    assert "2 violations" in " ".join(result.stdout.split())


def test_options_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("REDSTATE_DEMO_WORKERS", "none")
    assert main(["demo"]) == 2
    assert "--workers" in capsys.readouterr().err


# Ctrl-C


@pytest.mark.parametrize("moment", ["Starting", "Driving"])
def test_ctrl_c_ends_it_quietly_and_leaves_no_process(moment: str) -> None:
    with started("demo", "--workers", "2", "--conversations", "1000") as process:
        read_until(process, moment)
        family = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)  # an impatient user
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (130, "interrupted\n")
        assert alive(family) == set()


def test_a_private_server_serves_by_default_and_if_kept_can_be_verified_until_ctrl_c() -> None:
    with started("demo", *SMALL, "--keep") as process:
        url = read_until(process, "Check it again with: redstate demo --verify ").split()[-1]
        read_until(process, "The server goes on")
        assert redstate("demo", "--verify", url).returncode == 0
        family = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")
        assert alive(family) == set()
    assert redstate("demo", "--verify", url).returncode == 2
    words = " ".join(stdout.split())
    assert re.search(r"2 processes served 4 conversations, 2 at a time: \d+ tool calls in [\d.]+ s\.", words)
    assert "took effect exactly once" in words
    assert words.count("holds") == 8
    assert re.search(r"served by worker [12]", words)


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo", "--workers", "0"], "--workers"),
        (["demo", "--conversations", "0"], "--conversations"),
        (["demo", "--concurrency", "-1"], "--concurrency"),
        (["demo", "--timeout", "soon"], "--timeout"),
        (["demo", "--url", "localhost:6379"], "scheme"),
        (["demo", "--url", "redis://127.0.0.1:1"], "Cannot connect to 127.0.0.1:1"),
        (["demo", "--url", "redis://:secret@127.0.0.1:1"], "Cannot connect to 127.0.0.1:1"),
        (["demo", "--verify", "redis://127.0.0.1:1"], "Cannot connect to 127.0.0.1:1"),
        (["demo", "--verify", "redis://127.0.0.1:1", "--keep"], "--verify"),
        (["demo", "--colour"], "--colour"),
        (["serve"], "serve"),
    ],
)
def test_the_impossible_is_refused_in_one_line(arguments: list[str], told: str, capsys: Any) -> None:
    assert main(arguments) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert told in stderr
    assert "secret" not in stderr


def test_verify_on_a_server_without_a_run_says_how_to_make_one(capsys: Any) -> None:
    with EmbeddedServer.start() as server:
        assert main(["demo", "--verify", server.url]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: There is no demo run on ")
    assert stderr.endswith("redstate demo --keep\n")


# The command itself


def test_version(capsys: Any) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"redstate {__version__}\n"


def test_help_names_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from redstate.cli import main; status = main(['--help']); "
        "print([name for name in ('rich.console', 'conversimple', 'websockets', 'redstate.demo') "
        "if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert re.search(
        r"archive +Look into.*\n +demo +Serve conversations.*\n +run +Serve the agents.*\n"
        r" +sweep +Archive conversations.*\n +workflow +Look at",
        done.stdout,
    )
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; from redstate.cli import main; sys.exit(main(['--version']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the redstate command needs {missing}, which is not installed. "
        'Install it with: pip install "redstate[cli]"\n'
    )
