"""Ending: once across all processes, merged once, and nothing changes afterwards until it is resumed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import servers
from lifetime.lives import Lives

from redstate import EndedConversation, Step, Store, Workflow, errors
from redstate._keys import due_key
from redstate.calls import lifetime
from redstate.testing.proxy import FaultProxy

FLOW = Workflow("flow", [Step("one", next="two"), Step("two", final=True)])


def filled(store: Any, conversation_id: str = "c1", **options: Any) -> Any:
    conversation = store.conversation(conversation_id, **options)
    conversation.state.update(a=1, items=[1])
    conversation.cart.add("sku", 2, "1.50")
    return conversation


def mutators(store: Any, colour: str) -> dict[str, Callable[[], object]]:
    """Everything that changes a conversation."""
    conversation = store.conversation("c1")
    state, cart, session = conversation.state, conversation.cart, conversation.session
    found: dict[str, Callable[[], object]] = {
        "set": lambda: state.set("a", 2),
        "set with op_id": lambda: state.set("a", 2, op_id="late"),
        "set at a version": lambda: state.set("a", 2, expected_version=conversation.version()),
        "update": lambda: state.update(a=2),
        "delete": lambda: state.delete("a"),
        "increment": lambda: state.increment("a"),
        "append": lambda: state.append("items", 2),
        "clear": state.clear,
        "save_state": lambda: store.save_state("c1", {"b": 1}),
        "add": lambda: cart.add("sku", 1),
        "set_quantity": lambda: cart.set_quantity("sku", 9),
        "remove": lambda: cart.remove("sku"),
        "empty": cart.clear,
        "checkout": lambda: cart.checkout("order-1"),
        "login": lambda: session.login("user", ttl=60),
        "logout": session.logout,
        "move": lambda: conversation.workflow(FLOW).advance("two"),
        "start": conversation.start,
    }
    if colour == "sync":

        def nested() -> None:
            state["items"].append(3)

        def grouped() -> None:
            with conversation.transaction():
                state.set("a", 5)

        found |= {"nested": nested, "transaction": grouped, "item": lambda: state.__setitem__("a", 2)}
        found |= {"del": lambda: state.__delitem__("a"), "pop": lambda: state.pop("a"), "popitem": state.popitem}
    return found


def test_afterwards_every_change_is_refused_and_reads_go_on(
    open_store: Callable[..., Any], colour: str, lives: Lives
) -> None:
    store, other = open_store(), open_store()
    conversation = filled(store)
    version = conversation.version()
    assert conversation.end()
    before = lives.record("c1")
    for each in (store, other):
        for name, change in mutators(each, colour).items():
            with pytest.raises(errors.ConversationEnded):
                change()
                pytest.fail(name)
            assert lives.record("c1") == before, name
        reader = each.conversation("c1")
        assert reader.state.all() == {"a": 1, "items": [1]}
        assert str(reader.cart.total()) == "3.00"
        assert (reader.ended(), reader.exists(), reader.version()) == (True, True, version)
        assert not reader.touch()


def test_ending_again_anywhere_changes_nothing(open_store: Callable[..., Any], lives: Lives) -> None:
    store, other = open_store(), open_store()
    assert not store.conversation("nobody").end()
    assert lives.record("nobody") == {}
    conversation = filled(store)
    assert conversation.end("hangup")
    record = lives.record("c1")
    assert not conversation.end()
    assert not other.conversation("c1").end("other")
    assert lives.record("c1") == record
    lives.nothing_left()
    assert [(row.reason, row.version) for row in lives.rows()] == [("hangup", int(record[b"v"]))]
    assert not conversation.end()


@pytest.mark.parametrize("reason", ["", "two words", "x" * 65, "é", "a\n", None, 7, b"x"], ids=repr)
def test_a_reason_is_one_word(store: Any, lives: Lives, reason: Any) -> None:
    conversation = filled(store)
    with pytest.raises(errors.InvalidInput):
        conversation.end(reason)
    assert not conversation.ended()
    assert conversation.end("x-y_" + "z" * 60)


def test_a_repeat_by_op_id_still_gets_its_first_answer(store: Any) -> None:
    conversation = store.conversation("c1")
    assert conversation.state.increment("n", op_id="one") == 1
    conversation.end()
    assert conversation.state.increment("n", op_id="one") == 1
    assert conversation.applied("one")
    with pytest.raises(errors.ConversationEnded):
        conversation.state.increment("n", op_id="two")


def test_where_the_reply_of_end_is_lost_it_still_says_that_it_ended_it(
    server: Any, prefix: str, path: str, lives: Lives
) -> None:
    with (
        FaultProxy(server.url) as proxy,
        Store.from_url(proxy.url, key_prefix=prefix, archive=path, timeout=20.0, max_staleness=0) as store,
    ):
        conversation = filled(store, customer_id="cust")
        proxy.swallow_replies(1, command="EVALSHA")
        assert conversation.end()
        assert proxy.stats.swallowed == 1
        assert [one.id for one in store.customer("cust").conversations() if one.ended_at] == ["c1"]


def test_the_merge_function_sees_conversation_and_profile(open_store: Callable[..., Any], lives: Lives) -> None:
    def merge(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        return {"turns": profile.get("turns", 0) + ended.state["turns"], "lines": list((ended.cart or {})["lines"])}

    store = open_store(merge=merge)
    for number in (1, 2):
        conversation = store.conversation(f"c{number}", customer_id="cust")
        conversation.state.set("turns", number)
        conversation.cart.add(f"sku{number}")
        assert conversation.end()
        assert lives.record(f"c{number}")[b"m"] == b"1"
    profile = store.customer("cust").all(fresh=True)
    assert (profile["turns"], profile["lines"], profile["last_conversation"]) == (3, ["sku2"], "c2")
    lives.nothing_left(merge=merge)
    assert store.customer("cust").all(fresh=True) == profile


def test_many_end_it_at_once_beside_sweepers_and_it_is_merged_once(
    open_store: Callable[..., Any], colour: str, lives: Lives
) -> None:
    calls: list[str] = []

    def merge(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        return {"merged": [*profile.get("merged", []), ended.conversation_id]}

    stores = [open_store(merge=merge) for _ in range(4)]
    with ThreadPoolExecutor(6) as threads:
        for number in range(10):
            name = f"c{number}"
            stores[0].conversation(name, customer_id="cust").state.set("n", number)
            ends = [threads.submit(one.conversation(name, customer_id="cust").end) for one in stores]
            sweeps = [threads.submit(lives.sweep, merge=merge) for _ in range(2)]
            assert sum(end.result() for end in ends) == 1
            calls += [name for sweep in sweeps if sweep.result()]
    assert sorted(stores[0].customer("cust").get("merged", fresh=True)) == sorted(f"c{n}" for n in range(10))
    lives.nothing_left(merge=merge)
    assert len(lives.rows()) == 10


def broken(ended: EndedConversation, profile: dict[str, Any]) -> Any:
    if ended.conversation_id == "raises":
        raise ZeroDivisionError
    if ended.conversation_id == "raises as a store of its own":
        raise errors.NotAuthenticated("Nobody is logged in")
    if ended.conversation_id == "conflicts":
        raise errors.ConflictError("Somebody was quicker")
    return {"no mapping"} if ended.conversation_id == "no mapping" else {"object": object()}


@pytest.mark.parametrize(
    "name", ["raises", "raises as a store of its own", "conflicts", "no mapping", "cannot be stored"]
)
def test_a_merge_function_that_fails_is_told_to_who_ends_and_holds_up_no_sweeper(
    open_store: Callable[..., Any], lives: Lives, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(merge=broken)
    filled(store, name, customer_id="cust")
    with pytest.raises((ZeroDivisionError, errors.InvalidInput, errors.NotAuthenticated, errors.ConflictError)):
        store.conversation(name, customer_id="cust").end()
    assert store.conversation(name).ended()
    filled(store, "other").end()
    servers.wait_until(lambda: lives.sweep(merge=broken, idle=0.1) and len(lives.rows()) == 2, "both are archived")
    assert store.customer("cust").get("last_conversation", fresh=True) == name
    assert "merge failed" in caplog.text


def test_a_customer_id_in_the_state_that_is_none_is_no_customer(store: Any, lives: Lives) -> None:
    for number, value in enumerate(["x" * 600, "", 7, ["a"], {"b": 1}, None]):
        conversation = store.conversation(f"c{number}")
        conversation.state.set("customer_id", value)
        assert conversation.end()
    lives.nothing_left()
    assert [row.customer_id for row in lives.rows()] == [None] * 6


def test_without_an_archive_it_is_closed_expires_and_can_be_resumed(
    open_store: Callable[..., Any], lives: Lives
) -> None:
    store = open_store(archive=None, ttl=100.0)
    assert not store.conversation("c1").start()
    conversation = filled(store, customer_id="cust")
    assert conversation.end()
    assert 90 < conversation.ttl() <= 100
    assert store.customer("cust").get("last_conversation", fresh=True) == "c1"
    with pytest.raises(errors.ConversationEnded):
        conversation.state.set("a", 2)
    assert conversation.resume()
    assert conversation.state.increment("a") == 2
    assert 90 < conversation.ttl() <= 100
    assert lives.index() == {}
    assert not store.conversation("nobody").resume()
    with pytest.raises(errors.ConfigurationError):
        store.archive  # noqa: B018 - the access is what is tested


def test_what_was_resumed_is_merged_once_more_as_it_ends_again(open_store: Callable[..., Any], lives: Lives) -> None:
    seen: list[tuple[int, bool]] = []

    def merge(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        seen.append((ended.state["a"], ended.merged_at is not None))
        return {"visits": profile.get("visits", 0) + (ended.merged_at is None), "a": ended.state["a"]}

    store = open_store(merge=merge)
    customer, conversation = store.customer("cust"), filled(store, customer_id="cust")
    assert conversation.end()
    assert not conversation.end()
    filled(store, "c2", customer_id="cust").end()
    assert customer.get("last_conversation", fresh=True) == "c2"
    lives.nothing_left(merge=merge)

    assert conversation.resume()
    conversation.state.set("a", 2)
    assert conversation.end()
    lives.nothing_left(merge=merge)
    assert seen == [(1, False), (1, False), (2, True)]
    profile = customer.all(fresh=True)
    assert (profile["visits"], profile["a"], profile["last_conversation"]) == (2, 2, "c1")
    assert [link.id for link in customer.conversations(fresh=True)] == ["c2", "c1"]


def test_what_was_written_before_there_was_an_archive_is_kept_from_its_end_on(
    open_store: Callable[..., Any], lives: Lives
) -> None:
    filled(open_store(archive=None))
    conversation = open_store().conversation("c1", customer_id="cust")
    assert lives.raw.pttl(conversation.key) > 0
    assert conversation.end()
    assert lives.raw.pttl(conversation.key) == -1
    assert list(lives.index()) == ["c1"]
    lives.nothing_left()
    assert [row.customer_id for row in lives.rows()] == ["cust"]


def test_whether_a_change_took_effect_is_told_after_the_end_and_begins_nothing(store: Any, lives: Lives) -> None:
    conversation = filled(store)
    conversation.state.set("a", 2, op_id="made")
    conversation.end()
    assert (conversation.applied("made"), conversation.applied("not-made")) == (True, False)
    lives.nothing_left()
    with pytest.raises(errors.StaleOperation):
        conversation.applied("made")
    assert lives.keys() == set()


def test_a_merge_that_comes_late_merges_neither_twice_nor_in_place_of_another(
    open_store: Callable[..., Any], lives: Lives
) -> None:
    """Whoever ended it stood still; somebody resumed it meanwhile, changed it, and ended it as well."""
    seen: list[int] = []

    def merge(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        seen.append(ended.state["a"])
        return {"a": ended.state["a"]}

    conversation = filled(open_store(merge=merge), customer_id="cust")
    record = conversation._record
    conversation.end()
    first = record.ask(lifetime.ended_at(record.key))
    assert conversation.resume()
    conversation.state.set("a", 2)
    # It ends in a process that dies before the merge.
    record.apply_to_begun(lifetime.end(record.key, "ended", "cust"))
    record.ask(lifetime.merged(record.key, first))
    lives.raw.zadd(due_key(lives.prefix, "c1"), {"c1": 1})
    lives.nothing_left(merge=merge)
    assert seen == [1, 2]
    assert open_store().customer("cust").get("a", fresh=True) == 2


def test_a_late_merge_of_an_end_leaves_a_resumed_conversation_alone(store: Any, url: str, lives: Lives) -> None:
    conversation = filled(store, customer_id="cust")
    conversation.end()
    ended_us = conversation._record.ask(lifetime.ended_at(conversation.key))
    customer = store.customer("cust")
    assert conversation.resume()
    with Store.from_url(url, key_prefix=lives.prefix, archive=lives.path) as late:
        assert late.conversation("c1")._ending.merge(ended_us) == ""
    linked = customer.conversations(fresh=True)
    assert linked[0].ended_at.timestamp() == pytest.approx(ended_us / 1e6, abs=1e-5)
    conversation.state.set("a", 2)
    assert conversation.end()
    assert customer.conversations(fresh=True)[0].ended_at > linked[0].ended_at


def test_a_repeated_end_merges_once_also_where_versions_are_ahead_of_the_clock(store: Any, lives: Lives) -> None:
    conversation = filled(store, customer_id="cust")
    conversation.end()
    lives.poke("c1", "v", b"%016d" % (int(lives.record("c1")[b"v"]) + 3_600_000_000))
    assert conversation.resume()
    for _ in range(3):
        conversation.end()
        marked = store.customer("cust").version()
    conversation.end()
    assert store.customer("cust").version() == marked


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "no-archive"])
def test_what_is_begun_anew_after_it_was_deleted_is_merged_as_well(
    open_store: Callable[..., Any], lives: Lives, archive: bool
) -> None:
    store = open_store(archive=lives.path if archive else None)
    conversation, customer = filled(store, customer_id="cust"), store.customer("cust")
    assert conversation.end()
    assert conversation.resume()
    filled(store, "c2", customer_id="cust").end()
    assert conversation.delete()
    conversation.state.set("a", 3)
    assert conversation.end()
    assert customer.get("last_conversation", fresh=True) == "c1"


def test_an_id_that_is_used_again_after_a_deletion_may_be_anothers(store: Any, lives: Lives) -> None:
    conversation = filled(store, customer_id="ada")
    assert conversation.delete()
    # Whoever holds it still writes for the customer that it knows.
    conversation.state.set("a", 2)
    assert lives.record("c1")[b"g"] == b"ada"
    assert conversation.delete()
    other = store.conversation("c1", customer_id="bob")
    assert not other.start()
    assert lives.record("c1")[b"g"] == b"bob"
