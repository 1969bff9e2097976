"""A conversation is merged into its customer once, whoever attempts it, however often and however late."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import servers
from contract.customer_worker import APPENDS, CAP, CONVERSATIONS, THREADS
from contract.facade import Stores
from contract.records import Record
from contract.test_contract_customer import recent

from redstate import errors
from redstate.testing.proxy import FaultProxy

WORKER = Path(__file__).with_name("customer_worker.py")


@pytest.fixture
def customer(store: Any) -> Any:
    return store.customer("cust_9")


@pytest.fixture
def image(raw: redis.Redis, customer: Any, store: Any) -> Record:
    """The record of ``customer``."""
    return Record(raw, customer.key, store.nearcache)


def merged(customer: Any, conversation_id: str, updates: Any) -> bool:
    """By name: a function among the places would be made an awaited one in the asyncio colour."""
    return bool(customer.merge_conversation(conversation_id, updates=updates))


def test_a_conversation_is_merged_once(customer: Any, image: Record) -> None:
    customer.update(tier="gold", visits=1)
    customer.link("c1")
    assert customer.merge_conversation("c1", {"mood": "happy", "tier": "silver"}) is True
    profile = customer.all()
    assert recent(profile.pop("last_interaction"))
    assert profile == {"tier": "silver", "visits": 1, "mood": "happy", "last_conversation": "c1"}
    before = image.image()
    assert customer.merge_conversation("c1", {"mood": "sad"}) is False
    assert image.image() == before


def test_a_merge_needs_neither_link_nor_customer_nor_updates(customer: Any) -> None:
    assert customer.merge_conversation("c1") is True
    (found,) = customer.conversations()
    assert found.id == "c1" and found.ended_at == found.linked_at == customer.get("last_interaction")


def test_a_merge_is_not_repeated_after_other_conversations(customer: Any) -> None:
    for number in range(50):
        assert customer.merge_conversation(f"c{number}", {"a": number}) is True
    assert customer.merge_conversation("c0", {"a": "again"}) is False
    assert (customer.get("a"), customer.get("last_conversation")) == (49, "c49")


def test_a_function_makes_the_updates_of_the_profile(customer: Any) -> None:
    customer.update(visits=1, tags=["a"])

    def grown(profile: dict[str, Any]) -> dict[str, Any]:
        profile["tags"].append("b")
        return {"visits": profile["visits"] + 1, "tags": profile["tags"], "last_conversation": "overruled"}

    assert merged(customer, "c1", grown) is True
    assert (customer.get("visits"), customer.get("tags"), customer.get("last_conversation")) == (2, ["a", "b"], "c1")


def test_a_function_is_called_again_where_another_writer_came_first(
    customer: Any, raw: redis.Redis, store: Any
) -> None:
    customer.update(visits=1)
    seen: list[int] = []

    def meddled(profile: dict[str, Any]) -> dict[str, Any]:
        seen.append(profile["visits"])
        if len(seen) == 1:
            # What another process's change does to the record.
            raw.hset(customer.key, mapping={"svisits": "10", "v": str(customer_version(raw, customer.key) + 1)})
        return {"visits": profile["visits"] + 1}

    assert merged(customer, "c1", meddled) is True
    assert seen == [1, 10]
    assert customer.get("visits") == 11


def customer_version(raw: redis.Redis, key: str) -> int:
    return int(raw.hget(key, "v") or 0)


def test_updates_of_a_dict_do_not_wait_for_other_fields(customer: Any) -> None:
    customer.update(other=1)
    assert customer.merge_conversation("c1", [("pairs", "too")]) is True
    assert customer.get("pairs") == "too"


def test_conversations_are_merged_once_by_threads_of_two_processes(
    contract_url: str, prefix: str, colour: str, open_store: Callable[..., Any]
) -> None:
    command = [sys.executable, str(WORKER), contract_url, prefix]
    names = ("one", "two")
    workers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in names
    ]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    found = [merged for worker in workers for merged in json.loads(worker.communicate(timeout=100)[0])]
    assert sorted(found) == [f"conv-{number}" for number in range(CONVERSATIONS)]
    customer = open_store().customer("cust_9")
    assert customer.get("log") == list(range(1, CONVERSATIONS + 1))
    assert customer.get("visits") == CONVERSATIONS
    assert all(each.ended_at for each in customer.conversations())
    # The newest of what 16 threads appended: nothing twice, and of each thread the last.
    seen = customer.get("seen")
    assert len(seen) == CAP
    for writer in {name for name, _ in seen}:
        turns = [turn for name, turn in seen if name == writer]
        assert turns == list(range(APPENDS))[-len(turns) :]
    events = [(event.data["by"], event.data["turn"]) for event in customer.history(limit=1_000)]
    assert len(events) == len(set(events)) == 2 * THREADS * CONVERSATIONS


def test_a_merge_whose_reply_is_lost_is_made_once(contract_url: str, colour: str, prefix: str) -> None:
    stores = Stores(colour)
    with FaultProxy(contract_url) as proxy:
        customer = stores.open(proxy.url, key_prefix=prefix, timeout=20.0).customer("cust_9")
        customer.update(visits=1)
        proxy.swallow_replies(2, command="EVALSHA")
        assert merged(customer, "c1", lambda profile: {"visits": profile["visits"] + 1}) is True
        assert proxy.stats.swallowed == 2
        assert customer.get("visits") == 2
        assert customer.merge_conversation("c1", {"visits": 0}) is False
        assert customer.get("visits") == 2
        stores.close()


def test_a_merge_of_unknown_outcome_is_resolved_by_repeating_it(
    contract_url: str, open_store: Callable[..., Any], colour: str, prefix: str, raw: redis.Redis
) -> None:
    stores = Stores(colour)
    with FaultProxy(contract_url) as proxy:
        store = stores.open(proxy.url, key_prefix=prefix, timeout=0.5)
        customer = store.customer("cust_9")
        customer.update(visits=1)
        store.customer("other").merge_conversation("c0")  # the server has the scripts from here on
        with proxy.hold_replies(command="EVALSHA"):
            with pytest.raises(errors.OutcomeUnknown):
                merged(customer, "c1", lambda profile: {"visits": profile["visits"] + 1})
            servers.wait_until(lambda: raw.hget(customer.key, "svisits") == b"2", "the merge")
            assert raw.hget(customer.key, "svisits") == b"2"
        stores.close()
    customer = open_store().customer("cust_9")
    assert merged(customer, "c1", lambda profile: {"visits": profile["visits"] + 1}) is False
    assert customer.get("visits") == 2
