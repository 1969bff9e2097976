"""The whole state of a conversation, saved and loaded at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from contract.records import Record
from contract.test_contract_races import in_threads
from contract.test_contract_refusals import refused

from redstate import Store, errors

DAY = 86_400


def test_a_saved_state_replaces_the_one_that_was_there(store: Any, raw: redis.Redis) -> None:
    assert store.load_state("c1") == {}
    state = {"step": "greeting", "since": datetime(2026, 1, 2, tzinfo=UTC), "cart": [{"sku": 1}]}
    first = store.save_state("c1", state)
    assert store.load_state("c1") == state
    conversation = store.conversation("c1")
    conversation.cart.add("sku", 2)
    second = store.save_state("c1", {"step": "done"}, ttl=60)
    assert store.load_state("c1") == {"step": "done"}
    assert conversation.version() == second > first
    assert 59 < conversation.ttl() <= 60
    assert conversation.cart.count() == 2
    store.save_state("c1", {})
    assert store.load_state("c1") == {}
    assert DAY - 1 < conversation.ttl() <= DAY


def test_a_state_that_cannot_be_saved_leaves_every_byte(store: Any, raw: redis.Redis) -> None:
    store.save_state("c1", {"a": 1})
    image = Record(raw, store.conversation("c1").key)
    for state, error in (
        ({"a": 2, "b": object()}, errors.UnsupportedValue),
        ({"": 1}, errors.InvalidField),
        (7, errors.InvalidField),
    ):
        refused(lambda state=state: store.save_state("c1", state), image, error)
    refused(lambda: store.save_state("c1", {}, ttl=0), image, errors.InvalidTTL)
    with pytest.raises(errors.InvalidId):
        store.save_state("", {})


def test_states_saved_at_once_are_never_mixed(open_store: Callable[..., Any], contract_url: str, prefix: str) -> None:
    store = open_store(timeout=60.0)
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60.0) as shared:

        def save(number: int) -> None:
            for turn in range(5):
                shared.save_state("c1", {f"{number}-{turn}-{field}": number for field in range(5)})

        in_threads(8, save)
    fields = list(store.load_state("c1"))
    assert len(fields) == 5 and len({field.rpartition("-")[0] for field in fields}) == 1


@pytest.mark.parametrize("colour", ["sync"])
def test_saving_a_state_cannot_slip_past_a_transaction(store: Any, colour: str) -> None:
    with store.conversation("c1").transaction():
        with pytest.raises(errors.ConfigurationError):
            store.save_state("c1", {"a": 1})
    assert store.load_state("c1") == {}
