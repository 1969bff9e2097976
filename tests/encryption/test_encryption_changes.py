"""Changes of encrypted values lose nothing, whoever else makes some."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from servers import wait_until

import redstate
from redstate.errors import ConflictError, WrongType

THREADS, ROUNDS = 8, 12


def race(work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for _ in range(ROUNDS):
                work(number)
        except BaseException as failure:  # noqa: BLE001 - raised by who waits
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def repeated(block: Callable[[], None]) -> None:
    while True:
        try:
            return block()
        except ConflictError:
            continue


@pytest.mark.parametrize("staleness", [0.0, 3.0], ids=["server", "memory"])
@pytest.mark.parametrize("fields", [None, {"n", "list", "nested", "moved"}], ids=["all", "named"])
def test_eight_threads_lose_nothing(
    open_store: Callable[..., redstate.Store], fields: set[str] | None, staleness: float
) -> None:
    stores = [open_store("old", fields=fields, max_staleness=staleness) for _ in range(2)]
    states = [stores[number % 2].conversation("c").state for number in range(THREADS)]
    conversations = [stores[number % 2].conversation("c") for number in range(THREADS)]
    states[0].update(nested={"list": [], "n": 0}, moved=[])

    def work(number: int) -> None:
        state = states[number]
        state.increment("n")
        state["n"] += 1
        state.append("list", number)
        state["list"].append(number)
        state["list"].extend([number])
        state["nested"]["list"].append(number)
        state["nested"]["n"] += 1
        state.edit("edited", lambda found: found + 1, 0)
        state.setdefault("first", number)

        def block() -> None:
            with conversations[number].transaction():
                state["moved"].append(number)
                state.increment("n", 10)

        repeated(block)

    race(work)
    found = states[0].all(fresh=True)
    total = THREADS * ROUNDS
    assert (found["n"], found["edited"], found["nested"]["n"]) == (12 * total, total, total)
    for items, times in ((found["list"], 3), (found["nested"]["list"], 1), (found["moved"], 1)):
        assert sorted(items) == sorted(list(range(THREADS)) * ROUNDS * times)


def test_taking_out_gives_each_value_to_one_thread(store: redstate.Store) -> None:
    state = store.conversation("c").state
    total = THREADS * ROUNDS
    state.update({f"f{number}": [number] for number in range(total)})
    state["queue"] = list(range(total))
    taken: list[Any] = []
    race(lambda number: taken.append(state["queue"].pop()))
    assert sorted(taken) == list(range(total))
    del state["queue"]
    taken.clear()
    race(lambda number: taken.append(state.popitem()[1][0]))
    assert sorted(taken) == list(range(total)) and not state


def test_an_operation_id_appends_once(open_store: Callable[..., redstate.Store]) -> None:
    conversation = open_store("old").conversation("c")
    first = conversation.state.append("list", "a", op_id="op-1")
    assert conversation.state.append("list", "a", op_id="op-1") == first
    conversation.state["list"] = "no list any more"
    assert conversation.state.append("list", "a", op_id="op-1") == first
    with pytest.raises(WrongType):
        conversation.state.append("list", "a", op_id="op-2")
    conversation.state["list"] = ["a"]
    with pytest.raises(ConflictError):
        conversation.state.append("list", "b", expected_version=first)
    conversation.state.append("list", "b", expected_version=conversation.version())
    assert conversation.state["list"] == ["a", "b"]


def test_counters_are_counted_by_the_server_unless_they_are_named(
    open_store: Callable[..., redstate.Store], raw: redis.Redis
) -> None:
    everything, named = open_store("old"), open_store("old", fields={"n"})
    state = everything.conversation("c").state
    assert [state.increment("n"), state.increment("n", -3, op_id="op"), state.increment("n", -3, op_id="op")] == [
        1,
        -2,
        -2,
    ]
    assert raw.hget(everything.conversation("c").key, "sn") == b"-2"

    state = named.conversation("c").state
    assert state["n"] == -2
    assert state.increment("n", 5) == 3
    assert raw.hget(named.conversation("c").key, "sn") != b"3"
    assert state.increment("n", expected_version=named.conversation("c").version()) == 4
    with pytest.raises(ConflictError):
        state.increment("n", expected_version=1)
    with pytest.raises(WrongType, match="leave the field out") as caught:
        state.increment("n", op_id="op-2")
    assert caught.value.field == "n"
    state["n"] -= 1
    assert state["n"] == 3
    with named.conversation("c").transaction():
        state.increment("n")
        state.increment("other")
    assert state.all() == {"n": 4, "other": 1}
    with pytest.raises(WrongType):
        state.increment("n", 2**63 - 1)
    state["n"] = "text"
    with pytest.raises(WrongType):
        state.increment("n")


def test_what_changes_nothing_writes_nothing(store: redstate.Store, raw: redis.Redis) -> None:
    conversation = store.conversation("c")
    state = conversation.state
    state.update(text="a", nested={"list": [1]})
    before = raw.hgetall(conversation.key)
    state.edit("text", lambda text: text)
    state["nested"].setdefault("list", [])
    state["nested"]["list"].sort()
    state.setdefault("text", "b")
    with conversation.transaction():
        state["nested"].setdefault("list", [])
    assert raw.hgetall(conversation.key) == before


def test_a_transaction_changes_a_container_anew_where_others_came_first(
    open_store: Callable[..., redstate.Store],
) -> None:
    one, two = open_store("old").conversation("c"), open_store("old").conversation("c")
    one.state["list"] = []
    with one.transaction():
        one.state["list"].append("mine")
        two.state["list"].append("theirs")
    assert one.state["list"] == ["theirs", "mine"]


# From memory ----------------------------------------------------------------------------------------------------------


def test_memory_answers_decrypted(open_store: Callable[..., redstate.Store]) -> None:
    store = open_store("old", max_staleness=3.0)
    conversation = store.conversation("c")
    conversation.state.update(text="a", moment={1, 2}, nested={"list": [1]})

    def served() -> bool:
        conversation.state["text"]
        return conversation.state.peek("text") == "a"

    wait_until(served, "memory answers")
    hits = store.nearcache.stats().hits
    for _ in range(3):
        assert conversation.state["text"] == "a"
        assert conversation.state["moment"] == {1, 2}
        assert conversation.state["nested"]["list"] == [1]
        assert conversation.state.get("nested") == {"list": [1]}
    assert store.nearcache.stats().hits > hits
    conversation.state["moment"].add(3)
    assert conversation.state["moment"] == {1, 2}
    conversation.state["nested"]["list"].append(2)
    conversation.state["text"] = "b"
    assert (conversation.state["text"], conversation.state["nested"]) == ("b", {"list": [1, 2]})


def test_stores_with_other_keys_share_no_memory(open_store: Callable[..., redstate.Store]) -> None:
    one, same, other = (open_store(*ids, max_staleness=3.0) for ids in (("old",), ("old",), ()))
    assert one.nearcache.local.copies is same.nearcache.local.copies
    assert one.nearcache.local.copies is not other.nearcache.local.copies


def test_a_watch_is_told_of_new_values_not_of_new_ciphertexts(open_store: Callable[..., redstate.Store]) -> None:
    store = open_store("new", "old", max_staleness=3.0)
    open_store("old").customer("cust").update(tier="gold", name="Ada")
    seen: list[dict[str, Any]] = []
    with store.customer("cust").on_change(lambda change: seen.append(change.changed)):
        assert store.customer("cust").reencrypt() == 2
        wait_until(lambda: len(seen) == 1, "the re-encryption was told of")
        store.customer("cust").update(tier="silver")
        wait_until(lambda: len(seen) == 2, "the change was told of")
    assert seen == [{}, {"tier": "silver"}]
