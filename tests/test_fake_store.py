"""Fake stores: private, empty, gone without a trace, and plain about what they cannot do."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import servers

from redstate import AsyncStore, Limits, Store, errors
from redstate._replies import ReplyError, server_error
from redstate.testing import fake_async_store, fake_store
from redstate.testing.fake import FakeServer


@pytest.fixture
def raw() -> Iterator[redis.Redis]:
    """A plain client of an imitation."""
    with FakeServer() as server, redis.Redis.from_url(server.url) as client:
        yield client


def threads_and_files() -> tuple[set[int | None], int]:
    return {thread.ident for thread in threading.enumerate()}, len([*Path("/proc/self/fd").iterdir()])


def test_a_fake_store_is_a_store() -> None:
    with fake_store() as store:
        assert type(store) is Store
        conversation = store.conversation("c")
        conversation.state.update(step="greeting", turns=0)
        assert conversation.state.increment("turns") == 1
        assert conversation.cart.add("sku-1", 2, "19.99") == 2
        assert str(conversation.cart.total()) == "39.98"
        assert conversation.state.get("step") == "greeting"


def test_a_fake_async_store_is_an_async_store() -> None:
    async def scenario() -> None:
        async with fake_async_store() as store:
            assert type(store) is AsyncStore
            state = store.conversation("c").state
            assert sorted(await asyncio.gather(*(state.increment("n") for _ in range(50)))) == [*range(1, 51)]

    asyncio.run(scenario())


def test_each_is_private_and_empty() -> None:
    with fake_store() as one, fake_store() as other:
        one.conversation("c").state.set("a", 1)
        assert other.conversation("c").exists() is False
        assert other.address != one.address


def test_further_stores_reach_the_same_imitation_by_its_address() -> None:
    async def read(url: str) -> int:
        async with AsyncStore.from_url(url) as store:
            return await store.conversation("c").state.get("a")

    with fake_store() as store:
        store.conversation("c").state.set("a", 1)
        assert asyncio.run(read(f"redis://{store.address}")) == 1


def test_the_options_are_those_of_every_store() -> None:
    with fake_store(key_prefix="mine", ttl=60, limits=Limits(max_fields=1)) as store:
        conversation = store.conversation("c")
        conversation.state.set("a", 1)
        assert conversation.key == "mine:{conv:c}"
        assert 50 < conversation.ttl() <= 60
        with pytest.raises(errors.TooLarge):
            conversation.state.set("b", 1)


def test_a_setting_that_cannot_work_starts_nothing() -> None:
    before = threads_and_files()
    for opener in (fake_store, fake_async_store):
        with pytest.raises(errors.ConfigurationError):
            opener(timeout=-1)
    assert threads_and_files() == before


def test_nothing_is_left_after_closing() -> None:
    def use() -> None:
        with fake_store() as store:
            store.conversation("c").state.set("a", 1)
            store.close()  # twice is harmless

    async def use_async() -> None:
        async with fake_async_store() as store:
            await store.conversation("c").state.set("a", 1)

    use()  # whatever is imported or opened once for all
    asyncio.run(use_async())
    before = threads_and_files()
    for _ in range(3):
        use()
        asyncio.run(use_async())
    assert threads_and_files() == before


def test_a_client_that_is_still_connected_does_not_keep_the_server() -> None:
    server = FakeServer()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
        server.close()
        with pytest.raises(redis.ConnectionError):
            client.ping()


def test_a_process_ends_although_a_fake_store_was_never_closed() -> None:
    code = (
        "from redstate.testing import fake_store\n"
        "store = fake_store()\n"
        "print(store.conversation('c').state.increment('n'))\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr


def close_in_child(store: Store) -> None:
    store.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_that_closes_the_store_leaves_it_to_its_parent() -> None:
    with fake_store() as store:
        store.conversation("c").state.set("a", 1)
        child = multiprocessing.get_context("fork").Process(target=close_in_child, args=(store,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert store.conversation("c").state.get("a") == 1


@pytest.mark.parametrize("absent", ["fakeredis", "lupa"])
@pytest.mark.parametrize("opener", [fake_store, fake_async_store])
def test_without_its_packages_the_extra_is_named(opener: object, absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(errors.MissingExtra, match=absent) as caught:
        opener()  # type: ignore[operator]
    assert caught.value.extra == "testing"
    assert 'pip install "redstate[testing]"' in caught.value.next_step


# The imitation behind a socket ----------------------------------------------------------------------------------------


def test_a_connection_outlives_error_replies(raw: redis.Redis) -> None:
    with raw.client() as client:
        number = client.client_id()
        for _ in range(3):
            with pytest.raises(redis.ResponseError):
                client.execute_command("NO-SUCH-COMMAND")
        assert client.client_id() == number


def test_the_codes_of_errors_arrive_as_from_a_server() -> None:
    with FakeServer() as fake, servers.server() as server:
        for words in (
            ("EVALSHA", "0" * 40, "0"),
            ("EVAL", "return redis.error_reply('RSCONFLICT 7')", "0"),
            ("EVAL", "redis.call('HSET', KEYS[1], 'f', 'v') return redis.call('LPUSH', KEYS[1], 'x')", "1", "mixed"),
            ("SELECT", "99999"),
            ("NO-SUCH-COMMAND",),
            ("HGET", "one"),
        ):
            assert refusal(fake.url, *words) == refusal(server.tcp_url, *words)


def refusal(url: str, *words: str) -> list[bytes]:
    """The code of an error, and what follows it where that is ours."""
    with socket.create_connection(("127.0.0.1", servers.port_of(url))) as plain:
        plain.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        line = plain.recv(65_536).split()
    return line[: 2 if line[0].startswith(b"-RS") else 1]


def test_large_replies_arrive_whole(raw: redis.Redis) -> None:
    raw.set("large", "x" * 16_000_000)
    assert len(raw.get("large") or b"") == 16_000_000


def test_pipelined_commands_are_answered_in_order(raw: redis.Redis) -> None:
    with raw.pipeline(transaction=False) as pipeline:
        for number in range(500):
            pipeline.set("k", number)
            pipeline.get("k")
        assert pipeline.execute()[1::2] == [b"%d" % number for number in range(500)]


def test_published_versions_reach_a_subscriber() -> None:
    with FakeServer() as server, Store.from_url(server.url) as store, redis.Redis.from_url(server.url) as raw:
        conversation = store.conversation("c")
        with raw.pubsub(ignore_subscribe_messages=True) as listener:
            listener.subscribe(conversation.key)
            servers.wait_until(lambda: raw.pubsub_numsub(conversation.key)[0][1] == 1, "the subscription stands")
            version = conversation.state.set("a", 1)
            found: list[bytes] = []
            servers.wait_until(
                lambda: found.extend(m["data"] for m in [listener.get_message(timeout=0.1)] if m) or found, "a message"
            )
        assert found == [b"%d" % version]


def test_a_command_that_the_imitation_lacks_is_refused_with_a_reason(raw: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError) as caught:
        raw.execute_command("INFO")
    error = server_error(ReplyError(f"ERR {caught.value.args[0]}"))
    assert type(error) is errors.ServerRefused
    assert (error.code, "imitation" in error.next_step) == ("UNKNOWN", True)


def test_garbage_is_answered_and_hung_up_on() -> None:
    with FakeServer() as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"*1\r\n!garbage\r\n")
            assert client.recv(1000).startswith(b"-ERR ")
            assert client.recv(1000) == b""
