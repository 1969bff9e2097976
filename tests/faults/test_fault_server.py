"""Servers that freeze, forget their scripts, die and come back, or refuse: typed errors, and effects exactly once."""

from __future__ import annotations

import asyncio
import http.server
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import servers

from redstate import AsyncStore, Store, errors
from redstate.embedded import EmbeddedServer

QUICK = 2.5  # seconds within which what cannot succeed must say so; a retry until the deadline takes longer


@contextmanager
def frozen(pid: int, seconds: float | None = None) -> Iterator[None]:
    """Stop a process; it goes on at the end, or after so many seconds."""
    os.kill(pid, signal.SIGSTOP)
    thaw = threading.Timer(seconds or 60, os.kill, (pid, signal.SIGCONT))
    thaw.start()
    try:
        yield
    finally:
        thaw.cancel()
        os.kill(pid, signal.SIGCONT)


def refused_quickly(call: Callable[[], Any], error: type[errors.RedstateError]) -> Any:
    """The error that a call must end with at once, not after retries."""
    began = time.monotonic()
    with pytest.raises(error) as caught:
        call()
    assert time.monotonic() - began < QUICK
    return caught.value


# Frozen ---------------------------------------------------------------------------------------------------------------


def test_a_call_outlasts_a_short_freeze(own_server: servers.RunningServer, open_store: Callable[..., Any]) -> None:
    conversation = open_store(own_server.url, timeout=20.0).conversation("c")
    conversation.state.set("n", 0)
    with frozen(own_server.pid, 0.6):
        began = time.monotonic()
        assert conversation.state.increment("n") == 1
        assert time.monotonic() - began > 0.5


def test_a_write_to_a_frozen_server_is_unknown_and_its_op_id_resolves_it(
    own_server: servers.RunningServer, open_store: Callable[..., Any]
) -> None:
    conversation = open_store(own_server.url, timeout=0.3).conversation("c")
    conversation.state.increment("n")
    with frozen(own_server.pid):
        began = time.monotonic()
        with pytest.raises(errors.OutcomeUnknown) as caught:
            conversation.state.increment("n")
        assert 0.25 < time.monotonic() - began < 2.0
    op_id = caught.value.op_id
    assert (caught.value.key, bool(op_id)) == (conversation.key, True)
    assert [conversation.state.increment("n", op_id=op_id) for _ in range(2)] == [2, 2]
    assert conversation.state.increment("n") == 3


def test_a_callers_own_op_id_comes_back_with_the_unknown_outcome(
    own_server: servers.RunningServer, open_store: Callable[..., Any]
) -> None:
    conversation = open_store(own_server.url, timeout=0.3).conversation("c")
    conversation.cart.add("sku")
    with frozen(own_server.pid), pytest.raises(errors.OutcomeUnknown) as caught:
        conversation.cart.add("sku", op_id="order-17")
    assert caught.value.op_id == "order-17"
    assert [conversation.cart.add("sku", op_id="order-17") for _ in range(2)] == [2, 2]


# Scripts gone, server gone --------------------------------------------------------------------------------------------


def test_scripts_that_are_flushed_all_the_time_are_loaded_again(own_server: servers.RunningServer, prefix: str) -> None:
    done = threading.Event()

    def flush() -> None:
        client = redis.Redis(unix_socket_path=own_server.embedded.socket_path)
        while not done.is_set():
            client.script_flush()
        client.close()

    async def in_tasks() -> None:
        async with AsyncStore.from_url(own_server.url, key_prefix=prefix, timeout=60) as store:
            state = store.conversation("c").state

            async def writer() -> None:
                for _ in range(50):
                    await state.increment("n")

            await asyncio.gather(*(writer() for _ in range(8)))

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        asyncio.run(in_tasks())
        with Store.from_url(own_server.url, key_prefix=prefix, timeout=60) as store:
            for _ in range(200):
                store.conversation("c").state.increment("n")
            assert store.conversation("c").state.get("n") == 600
    finally:
        done.set()
        flusher.join()


def restartable(port: int, folder: Path) -> EmbeddedServer:
    """A server on a fixed port that writes everything to disk before it answers."""
    config = {"port": str(port), "dir": str(folder), "appendonly": "yes", "appendfsync": "always"}
    return EmbeddedServer.start(config=config)


def test_calls_survive_a_server_that_is_killed_and_restarted(open_store: Callable[..., Any], tmp_path: Path) -> None:
    port = servers.free_port()
    first = restartable(port, tmp_path)
    conversation = open_store(f"redis://127.0.0.1:{port}", timeout=20.0).conversation("c")
    try:
        assert [conversation.state.increment("n") for _ in range(20)] == list(range(1, 21))
        restarted: list[EmbeddedServer] = []
        first.close()
        restart = threading.Timer(0.2, lambda: restarted.append(restartable(port, tmp_path)))
        restart.start()
        assert [conversation.state.increment("n") for _ in range(20)] == list(range(21, 41))
        restart.join()
    finally:
        first.close()
        for server in restarted:
            server.close()


def test_writes_under_load_are_not_lost_or_doubled_by_a_restart(tmp_path: Path, prefix: str) -> None:
    port = servers.free_port()
    server = restartable(port, tmp_path)

    async def load() -> None:
        async with AsyncStore.from_url(f"redis://127.0.0.1:{port}", key_prefix=prefix, timeout=30.0) as store:
            state = store.conversation("c").state
            values: list[int] = []
            enough = asyncio.Event()

            async def writer() -> None:
                while len(values) + len(writers) <= 800:
                    values.append(await state.increment("n"))
                    if len(values) >= 100:
                        enough.set()

            writers = [asyncio.create_task(writer()) for _ in range(8)]
            await enough.wait()
            nonlocal server
            server.close()
            server = await asyncio.to_thread(restartable, port, tmp_path)
            await asyncio.gather(*writers)
            assert sorted(values) == list(range(1, len(values) + 1))
            assert len(values) >= 793

    try:
        asyncio.run(load())
    finally:
        server.close()


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_read_only_replica_is_named_and_can_be_read(
    own_server: servers.RunningServer, open_store: Callable[..., Any]
) -> None:
    open_store(own_server.url).conversation("c").state.set("a", 1)
    with servers.replica_of(own_server) as replica:
        conversation = open_store(replica.url).conversation("c")
        servers.wait_until(lambda: conversation.state.get("a") == 1, "the write is replicated")
        refused_quickly(lambda: conversation.state.set("a", 2), errors.ReadOnlyServer)
        refused_quickly(lambda: conversation.state.increment("n"), errors.ReadOnlyServer)
        refused_quickly(conversation.delete, errors.ReadOnlyServer)
        assert conversation.state.all() == {"a": 1}


def test_too_few_replicas_refuse_writes(own_server: servers.RunningServer, open_store: Callable[..., Any]) -> None:
    conversation = open_store(own_server.url).conversation("c")
    conversation.state.set("n", 1)
    own_server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    refused_quickly(lambda: conversation.state.increment("n"), errors.WriteRefused)
    refused_quickly(lambda: conversation.state.delete("n"), errors.WriteRefused)
    assert conversation.state.all() == {"n": 1}


def test_a_server_that_cannot_persist_refuses_writes(open_store: Callable[..., Any], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with servers.server(dir=str(data), save="3600 1000000", appendonly="no") as server:
        conversation = open_store(server.url).conversation("c")
        conversation.state.set("n", 1)
        shutil.rmtree(data)
        server.command("BGSAVE")
        servers.wait_until(
            lambda: server.command("INFO", "persistence")["rdb_last_bgsave_status"] == "err", "the save has failed"
        )
        refused_quickly(lambda: conversation.state.increment("n"), errors.WriteRefused)
        refused_quickly(lambda: conversation.state.delete("n"), errors.WriteRefused)
        assert conversation.state.all() == {"n": 1}


def test_a_loading_server_is_waited_for(open_store: Callable[..., Any]) -> None:
    with servers.loading_server() as loading:
        conversation = open_store(loading.url, timeout=0.2).conversation("c")
        with pytest.raises(errors.ServerLoading):
            conversation.state.set("a", 1)
        with pytest.raises(errors.ServerLoading):
            conversation.state.get("a")
        patient = open_store(loading.url, timeout=30.0).conversation("c")
        finish = threading.Timer(0.1, servers.finish_loading, (loading,))
        finish.start()
        try:
            assert patient.state.increment("n") == 1
        finally:
            finish.join()


def test_a_full_server_takes_no_writes_but_reads_and_deletes(
    own_server: servers.RunningServer, open_store: Callable[..., Any]
) -> None:
    store = open_store(own_server.url)
    conversation, other = store.conversation("c"), store.conversation("other")
    conversation.state.update(a="x" * 100, n=1, list=[])
    conversation.cart.add("sku", 1, "1")
    conversation.cart.add("gone", 1)
    before = (conversation.version(), conversation.state.all(), conversation.cart.lines())
    servers.fill(own_server)
    for change in (
        lambda: conversation.state.set("a", "y"),
        lambda: conversation.state.increment("n"),
        lambda: conversation.state.append("list", 1),
        lambda: conversation.cart.add("sku"),
        lambda: conversation.cart.set_quantity("sku", 5),
        lambda: other.state.set("a", 1),
        lambda: other.cart.add("sku"),
    ):
        refused_quickly(change, errors.StoreFull)
        assert (conversation.version(), conversation.state.all(), conversation.cart.lines()) == before
    assert not other.exists()
    assert conversation.cart.remove("gone") is True
    assert conversation.state.delete("a") == 1
    assert conversation.cart.clear() == 1
    assert conversation.delete() is True
    assert not conversation.exists()


# Credentials and permissions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", servers.server_kinds())
@pytest.mark.parametrize("credentials", ["", ":wrong@", "nobody:wrong@"], ids=["none", "wrong", "unknown user"])
def test_wrong_credentials_fail_at_once(open_store: Callable[..., Any], kind: str, credentials: str) -> None:
    with servers.with_password(kind) as server:
        conversation = open_store(f"redis://{credentials}127.0.0.1:{server.port}", timeout=20.0).conversation("c")
        for call in (lambda: conversation.state.set("a", 1), lambda: conversation.state.get("a")):
            error = refused_quickly(call, errors.AuthenticationFailed)
            assert "wrong" not in str(error).replace("wrong user", "")
        assert server.command("DBSIZE") == 0


# The access list that the documentation asks for, without what only later features need.
ACCESS = (
    "~*",
    "&*",
    "-@all",
    "+hget",
    "+hmget",
    "+hgetall",
    "+hexists",
    "+hlen",
    "+hset",
    "+hdel",
    "+hkeys",
    "+hincrby",
    "+pexpire",
    "+pttl",
    "+time",
    "+publish",
    "+ping",
    "+select",
    "+evalsha",
    "+script|load",
)


def with_access(server: servers.RunningServer, *without: str) -> str:
    server.command("ACL", "SETUSER", "app", "reset", "on", ">secret", *(rule for rule in ACCESS if rule not in without))
    return f"redis://app:secret@127.0.0.1:{server.port}"


@pytest.fixture(scope="module", params=servers.server_kinds())
def acl_server(request: pytest.FixtureRequest) -> Iterator[servers.RunningServer]:
    with servers.server(request.param) as running:
        yield running


def use_everything(conversation: Any) -> None:
    conversation.state.update(a=1, n=1)
    conversation.state.increment("n")
    conversation.state.append("list", 1)
    conversation.cart.add("sku", 1, "2")
    conversation.cart.set_quantity("sku", 2)
    conversation.state.get("a"), conversation.state.all(), conversation.cart.total(), conversation.version()
    conversation.ttl(), conversation.touch()
    conversation.cart.remove("sku"), conversation.cart.clear(), conversation.state.delete("a")
    assert conversation.delete() is True


def test_the_access_list_suffices(acl_server: servers.RunningServer, open_store: Callable[..., Any]) -> None:
    acl_server.command("SCRIPT", "FLUSH")
    use_everything(open_store(with_access(acl_server)).conversation("c"))


@pytest.mark.parametrize("lacking", ["+evalsha", "+hmget", "+time", "+hset", "+pexpire", "+publish", "&*", "~*"])
def test_a_missing_permission_is_named_at_once_and_nothing_is_written(
    acl_server: servers.RunningServer, open_store: Callable[..., Any], prefix: str, lacking: str
) -> None:
    open_store(acl_server.tcp_url).conversation("c").state.set("loaded", 1)
    image = acl_server.command("HGETALL", f"{prefix}:{{conv:c}}")
    rules = {"&*": ("&*",), "~*": ("~*",)}.get(lacking, (lacking,))
    store = open_store(with_access(acl_server, *rules), timeout=20.0)
    for name in ("c", "new"):
        error = refused_quickly(lambda name=name: store.conversation(name).state.set("a", 1), errors.PermissionDenied)
        if lacking.startswith("+"):
            assert lacking[1:] in str(error).lower() or "a command" in str(error)
    assert acl_server.command("HGETALL", f"{prefix}:{{conv:c}}") == image
    assert acl_server.command("EXISTS", f"{prefix}:{{conv:new}}") == 0


# Nobody there ---------------------------------------------------------------------------------------------------------


def test_an_absent_server_is_named_at_once(open_store: Callable[..., Any], tmp_path: Path) -> None:
    port = servers.free_port()
    for url, address in (
        (f"redis://127.0.0.1:{port}", f"127.0.0.1:{port}"),
        (f"unix://{tmp_path}/absent.sock", f"unix:{tmp_path}/absent.sock"),
    ):
        conversation = open_store(url, timeout=20.0).conversation("c")
        for call in (lambda c=conversation: c.state.set("a", 1), lambda c=conversation: c.state.get("a")):
            error = refused_quickly(call, errors.ServerUnavailable)
            assert error.address == address and address in str(error)


def test_a_host_that_does_not_resolve_is_named(open_store: Callable[..., Any]) -> None:
    conversation = open_store("redis://no-such-host.invalid:6379", timeout=20.0).conversation("c")
    with pytest.raises(errors.ServerUnavailable) as caught:
        conversation.state.get("a")
    assert "no-such-host.invalid:6379" in str(caught.value)


class _Counting(http.server.ThreadingHTTPServer):
    daemon_threads = True
    connections = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class _Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """The test's output is for the test."""


def test_a_port_that_speaks_http_is_found_out_without_a_storm_of_connections(open_store: Callable[..., Any]) -> None:
    with _Counting(("127.0.0.1", 0), _Quiet) as web:
        threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            conversation = open_store(f"redis://127.0.0.1:{web.server_port}", timeout=10.0).conversation("c")
            refused_quickly(lambda: conversation.state.get("a"), errors.ServerUnavailable)
            refused_quickly(lambda: conversation.state.set("a", 1), errors.ServerUnavailable)
            assert web.connections <= 20
        finally:
            web.shutdown()


def test_a_port_that_hangs_up_at_once_is_found_out_without_a_storm_of_connections(
    open_store: Callable[..., Any],
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = 0

    def hang_up() -> None:
        nonlocal accepted
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return
            accepted += 1

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        conversation = open_store(f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout=10.0).conversation("c")
        refused_quickly(lambda: conversation.state.set("a", 1), errors.ServerUnavailable)
        assert accepted <= 20
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
