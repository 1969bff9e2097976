"""What may only be done by a user who is logged in: judged in the script of the change itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
import servers
from contract.records import Record
from contract.test_contract_races import in_threads
from contract.test_contract_refusals import refused

from redstate import Store, errors

GUARDED: dict[str, Callable[[Any], Any]] = {
    "state set": lambda conv: conv.state.set("a", 1),
    "state update": lambda conv: conv.state.update(a=1, b=2),
    "state increment": lambda conv: conv.state.increment("n"),
    "state append": lambda conv: conv.state.append("list", 1),
    "state delete": lambda conv: conv.state.delete("old"),
    "cart add": lambda conv: conv.cart.add("sku", 1, "1.50"),
    "cart set_quantity": lambda conv: conv.cart.set_quantity("old", 2),
    "cart remove": lambda conv: conv.cart.remove("old"),
    "cart clear": lambda conv: conv.cart.clear(),
    "delete": lambda conv: conv.delete(),
}


@pytest.mark.parametrize("change", GUARDED.values(), ids=list(GUARDED))
def test_a_guarded_change_needs_a_session(conversation: Any, record: Record, change: Callable[[Any], Any]) -> None:
    conversation.state.set("old", 1)
    conversation.cart.add("old")
    assert refused(lambda: change(conversation.if_logged_in), record, errors.NotAuthenticated).reason == "logged out"
    conversation.session.login("user-7", idle=60)
    version = conversation.version()
    change(conversation.if_logged_in)
    assert conversation.version() > version or not conversation.exists()


def test_an_accepted_guarded_change_slides_the_idle_time(conversation: Any) -> None:
    first = conversation.session.login("user-7", ttl=60, idle=30)
    conversation.cart.add("sku")
    assert conversation.session.user() == first
    conversation.if_logged_in.cart.add("sku")
    second = conversation.session.user()
    assert second.idle_expires_at > first.idle_expires_at
    assert second.expires_at == first.expires_at
    with pytest.raises(errors.WrongType):
        conversation.if_logged_in.cart.set_quantity("absent", 1)
    assert conversation.session.user() == second


def test_the_guard_goes_with_the_other_conditions(conversation: Any, record: Record) -> None:
    conversation.session.login("user-7")
    version = conversation.version()
    guarded = conversation.if_logged_in
    refused(lambda: guarded.state.set("a", 1, expected_version=version - 1), record, errors.ConflictError)
    assert guarded.state.set("a", 1, expected_version=version) > version
    conversation.session.logout()
    version = conversation.version()
    refused(lambda: guarded.state.set("a", 1, expected_version=version), record, errors.NotAuthenticated)


def test_a_guarded_change_that_was_answered_is_answered_again_after_the_session(conversation: Any) -> None:
    conversation.session.login("user-7")
    assert conversation.if_logged_in.cart.add("sku", 2, op_id="order-17") == 2
    conversation.session.logout()
    assert conversation.if_logged_in.cart.add("sku", 2, op_id="order-17") == 2
    assert conversation.cart.count() == 2


def test_a_guarded_handle_is_the_same_conversation(conversation: Any) -> None:
    guarded = conversation.if_logged_in
    assert (guarded.id, guarded.key) == (conversation.id, conversation.key)
    conversation.state.set("a", 1)
    assert guarded.state.get("a") == 1
    assert guarded.version() == conversation.version()
    guarded.session.login("user-7")
    assert guarded.session.logout() is True


@pytest.mark.parametrize(
    ("begun", "used"), [("guarded", "guarded"), ("guarded", "plain"), ("plain", "guarded"), ("plain", "nested")]
)
def test_a_transaction_with_a_guarded_part_is_guarded_as_a_whole(
    contract_url: str, prefix: str, raw: redis.Redis, begun: str, used: str
) -> None:
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60) as store:
        plain = store.conversation("c")
        guarded = plain.if_logged_in
        plain.state.set("a", 0)

        def change() -> None:
            with guarded.transaction() if begun == "guarded" else plain.transaction():
                plain.state.set("a", 1)
                if used == "nested":
                    with guarded.transaction():
                        plain.state.set("b", 1)
                else:
                    (guarded if used == "guarded" else plain).state.set("b", 1)

        refused(change, Record(raw, plain.key), errors.NotAuthenticated)
        plain.session.login("user-7")
        change()
        assert dict(plain.state.all()) == {"a": 1, "b": 1}


def test_no_guarded_change_comes_after_a_logout(contract_url: str, prefix: str) -> None:
    with Store.from_url(contract_url, key_prefix=prefix, timeout=60) as store:
        conversation = store.conversation("c")
        conversation.session.login("user-7", idle=60)

        def work(number: int) -> int:
            if number == 0:
                servers.wait_until(lambda: conversation.state.get("n", 0) > 20, "changes are under way")
                conversation.session.logout()
                return int(conversation.state.get("n"))
            accepted = 0
            while True:
                try:
                    conversation.if_logged_in.state.increment("n")
                except errors.NotAuthenticated:
                    return accepted
                accepted += 1

        at_logout, *accepted = in_threads(5, work)
        assert sum(accepted) == at_logout == conversation.state.get("n")
