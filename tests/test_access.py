"""The access list of ARCHITECTURE.md is enough for everything a store does, and not more than that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import servers

from redstate import AsyncStore, Store, errors
from redstate.archive.sweeper import Sweeper
from redstate.calls import hooks, ownership, toolcalls
from redstate.calls.toolcalls import CallName

TEXT = (Path(__file__).resolve().parent.parent / "ARCHITECTURE.md").read_text()
RULES = " ".join(re.search(r"ACL SETUSER redstate (.*?)```", TEXT, re.DOTALL)[1].split()).replace(
    "reset on >SECRET ", ""
)


def everything(store: Store) -> None:
    """One of each call."""
    conversation = store.conversation("c1")
    conversation.state.update(a=1, b=[1])
    conversation.state.set("c", "x")
    conversation.state.append("b", 2)
    conversation.state.increment("a")
    conversation.state.delete("c")
    assert conversation.state.get("a") == 2
    assert conversation.state.all() == {"a": 2, "b": [1, 2]}
    conversation.state["large"] = {"text": "x" * 10_000}
    conversation.state["large"] = {"text": "y" * 10_000}
    conversation.state["large"]["list"] = []
    with conversation.transaction():
        conversation.state["large"]["list"].append("x" * 10_000)
    assert conversation.state.popitem()[0] == "large"
    conversation.state.clear()
    conversation.cart.add("sku", 2, "1.50")
    conversation.cart.set_quantity("sku", 3)
    assert str(conversation.cart.total()) == "4.50"
    conversation.cart.remove("sku")
    conversation.cart.clear()
    assert conversation.exists()
    assert conversation.touch(60)
    assert conversation.ttl() is not None
    conversation.delete()
    conversation.state.set("again", 1, expected_version=0)
    store.ping()
    store.cache.set("a", 1)
    assert store.cache.get_or_set("b", lambda: 2, tags=["t"]) == store.cache.get("b") == 2
    with pytest.raises(ZeroDivisionError):
        store.cache.get_or_set("c", lambda: 1 // 0)
    store.cache.invalidate_tag("t")
    store.cache.delete("a")


def everything_of_an_agent(store: Store) -> None:
    """One of each call by which agents share their work."""
    record, prefix = store.conversation("c2")._record, "rs"
    assert record.ask(ownership.beat(prefix, 60.0, ("lapsed",), ("owner", "heir"))).lapsed == ("lapsed",)
    record.ask(ownership.hold(prefix, "owner", 60_000, "c2", "shop"))
    token = record.ask(ownership.claim(record.key, 60_000, "owner")).token
    call = CallName(record.key, "p" * 16)
    assert record.ask(hooks.claim(record.key, 60_000, "hshop:started", f"{token:016d}a", 15.0)) == "run"
    record.ask(hooks.done(record.key, 60_000, "hshop:started", f"{token:016d}a"))
    assert record.ask(hooks.claim(record.key, 60_000, "hshop:started", f"{token:016d}b", 15.0)) == "done"
    assert record.ask(toolcalls.begin(call, 60_000, token, "a", b"{}")).verdict == "run"
    assert [request for _, request in record.ask(toolcalls.unanswered(record.key))] == [b"{}"]
    assert record.ask(toolcalls.post(call, 60_000, b"{}")).verdict == "wait"
    assert record.ask(toolcalls.finish(call, 60_000, token, "a", b"[]")) == "kept"
    assert record.ask(toolcalls.look(call)).answer == b"[]"
    record.ask(toolcalls.sent(call))
    assert record.ask(ownership.alive(prefix, "owner"))
    assert record.ask(ownership.owner_of(record.key)) == "owner"
    record.ask(ownership.notify(prefix, "owner", "c2"))
    assert record.ask(ownership.mail(prefix, "owner")) == ["c2"]
    record.ask(ownership.read_mail(prefix, "owner", ["c2"]))
    record.ask(ownership.leave(prefix, "owner"))
    assert record.ask(ownership.holdings(prefix, "owner")) == {"c2": "shop"}
    assert record.ask(ownership.claim(record.key, 60_000, "heir", gone="owner")).verdict == "taken"
    record.ask(ownership.drop(prefix, "owner", "c2"))
    record.ask(ownership.drop_all(prefix, "owner"))
    record.ask(ownership.forget(prefix, "owner"))
    assert record.ask(ownership.release(record.key, "heir"))


def everything_of_an_archive(store: Store) -> None:
    """One of each call on the life of a conversation that is kept until it is archived."""
    conversation = store.conversation("c3", customer_id="cust")
    assert conversation.start()
    conversation.state.set("a", 1)
    assert conversation.touch()
    assert conversation.end()
    assert conversation.resume()
    assert conversation.end()
    assert store.archive.backlog().conversations == 1
    assert swept(store) == 1
    assert conversation.resume()
    conversation.state.set("a", 2)
    assert conversation.end()
    assert len(store.customer("cust").export().conversations) == 1
    assert conversation.delete()
    store.conversation("c4", customer_id="cust").state.set("a", 1)
    assert store.customer("cust").erase().conversations == ("c4",)
    assert swept(store) == 0
    assert store.archive.list() == []


def swept(store: Store) -> int:
    async def sweep() -> int:
        async with AsyncStore(store._endpoint, store._settings) as swept:
            return await Sweeper(swept).sweep()

    return asyncio.run(sweep())


ONLY_ARCHIVE = ["zcount", "del", "persist"]


@pytest.fixture
def rules_url() -> Iterator[str]:
    with servers.with_user(*RULES.split()) as running:
        yield running.tcp_url.replace("redis://", f"redis://app:{quote(servers.PASSWORD, safe='')}@")


def test_a_user_with_the_documented_access_can_do_everything(rules_url: str) -> None:
    with Store.from_url(rules_url) as store:
        everything(store)
        everything_of_an_agent(store)


def test_that_user_can_archive(rules_url: str, tmp_path: Path) -> None:
    with Store.from_url(rules_url, archive=str(tmp_path / "archive.db")) as store:
        everything_of_an_archive(store)


def test_without_an_archive_three_commands_less_are_enough() -> None:
    rules = [rule for rule in RULES.split() if rule.removeprefix("+") not in ONLY_ARCHIVE]
    assert len(rules) == len(RULES.split()) - len(ONLY_ARCHIVE)
    with servers.with_user(*rules) as running:
        url = running.tcp_url.replace("redis://", f"redis://app:{quote(servers.PASSWORD, safe='')}@")
        with Store.from_url(url) as store:
            everything(store)
            everything_of_an_agent(store)


@pytest.mark.parametrize("command", ONLY_ARCHIVE)
def test_with_an_archive_each_of_these_commands_is_needed(command: str, tmp_path: Path) -> None:
    with servers.with_user(*RULES.split(), f"-{command}") as running:
        url = running.tcp_url.replace("redis://", f"redis://app:{quote(servers.PASSWORD, safe='')}@")
        with Store.from_url(url, archive=str(tmp_path / "archive.db")) as store:
            with pytest.raises(errors.PermissionDenied):
                everything_of_an_archive(store)
            if command != "zcount":
                assert running.command("EXISTS", store.conversation("c3").key) == 0


def test_that_user_reads_from_memory(rules_url: str) -> None:
    with Store.from_url(rules_url) as store:
        state = store.conversation("c1").state
        state.set("a", 1)
        servers.wait_until(lambda: state.get("a") == 1 and store.nearcache.stats().hits > 0, "memory answers")
        state.set("a", 2)
        servers.wait_until(lambda: store.nearcache.stats().invalidations > 0, "changes are heard of")


def test_that_user_can_do_nothing_outside_its_keys(rules_url: str) -> None:
    with Store.from_url(rules_url, key_prefix="other") as store, pytest.raises(errors.PermissionDenied):
        store.conversation("c1").state.set("a", 1)
    with redis.Redis.from_url(rules_url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.flushall()
