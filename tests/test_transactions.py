"""Several changes in one script, all or nothing, on the condition that what was read still holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from contract.records import Record

from redstate import AsyncStore, Store, errors


@pytest.fixture
def stores(url: str, prefix: str) -> Iterator[list[Store]]:
    with Store.from_url(url, key_prefix=prefix) as one, Store.from_url(url, key_prefix=prefix) as other:
        yield [one, other]


@pytest.fixture
def conversation(stores: list[Store]) -> Any:
    return stores[0].conversation("c")


@pytest.fixture
def state(conversation: Any) -> Any:
    return conversation.state


@pytest.fixture
def elsewhere(stores: list[Store]) -> Any:
    """The same state in another writer's hands."""
    return stores[1].conversation("c").state


@pytest.fixture
def record(url: str, conversation: Any) -> Iterator[Record]:
    with redis.Redis.from_url(url) as raw:
        yield Record(raw, conversation.key)


def test_a_block_is_one_script_one_version_and_one_message(conversation: Any, state: Any, record: Record) -> None:
    state.update(a=1, d={"l": []}, gone=1)
    with conversation.transaction():  # the first of all loads the script
        state["a"] = 1
    with record.raw.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(record.key)
        assert channel.get_message(timeout=10) is None  # the confirmation
        calls = record.raw.info("commandstats")["cmdstat_evalsha"]["calls"]
        with conversation.transaction():
            state["a"] += 1
            state["d"]["l"].append("x")
            state["d"]["k"] = state["a"]
            state.append("list", 1)
            state.increment("n", 5)
            state |= {"b": 2}
            del state["gone"]
            assert record.raw.info("commandstats")["cmdstat_evalsha"]["calls"] == calls
        assert record.raw.info("commandstats")["cmdstat_evalsha"]["calls"] == calls + 1
        assert channel.get_message(timeout=10)["data"] == str(conversation.version()).encode()
        conversation.state["marker"] = 1
        assert channel.get_message(timeout=10)["data"] == str(conversation.version()).encode()
    assert state == {"a": 2, "d": {"l": ["x"], "k": 2}, "list": [1], "n": 5, "b": 2, "marker": 1}


def test_a_block_that_only_reads_or_does_nothing_writes_nothing(conversation: Any, state: Any, record: Record) -> None:
    state.update(a=1, l=[1])
    image = record.image()
    with conversation.transaction():
        assert state["a"] == 1 and list(state) == ["a", "l"] and len(state["l"]) == 1
    with conversation.transaction():
        pass
    with conversation.transaction():
        state["l"].append(2)
        state["l"].remove(2)
    assert record.image() == image


def test_a_block_that_raises_changes_nothing(conversation: Any, state: Any, elsewhere: Any, record: Record) -> None:
    state.update(a=1, d={"n": 1})
    kept = state["d"]
    image = record.image()
    with pytest.raises(ZeroDivisionError), conversation.transaction():
        state.update(a=2, b=3)
        kept["n"] = 2
        assert (kept["n"], state["b"]) == (2, 3)
        assert elsewhere == {"a": 1, "d": {"n": 1}}
        raise ZeroDivisionError
    assert record.image() == image
    assert kept == {"n": 1}
    kept["n"] += 1
    assert elsewhere == {"a": 1, "d": {"n": 2}}


def test_a_change_that_is_refused_inside_does_not_end_the_block(conversation: Any, state: Any) -> None:
    state["l"] = [1]
    with conversation.transaction():
        with pytest.raises(errors.UnsupportedValue):
            state["l"].append(object())
        with pytest.raises(IndexError):
            state["l"].pop(5)
        with pytest.raises(errors.WrongType):
            state.increment("l")
        state["l"].append(2)
    assert state == {"l": [1, 2]}


READS: dict[str, Callable[[Any], Any]] = {
    "brackets": lambda state: state["n"],
    "get": lambda state: state.get("n"),
    "in": lambda state: "n" in state,
    "absent": lambda state: state.get("new"),
    "nested": lambda state: state["d"]["n"],
    "nested iteration": lambda state: list(state["d"]),
    "length of a list": lambda state: len(state["l"]),
    "pop": lambda state: state.pop("n"),
    "nested pop": lambda state: state["l"].pop(),
    "setdefault": lambda state: state.setdefault("new", 0),
    "increment": lambda state: state.increment("n"),
    "iteration": list,
    "length": len,
    "equality": lambda state: state == {},
    "popitem": lambda state: state.popitem(),
    "clear": lambda state: state.clear(),
}


@pytest.mark.parametrize("read", READS)
def test_what_a_block_has_read_must_still_hold(
    conversation: Any, state: Any, elsewhere: Any, record: Record, read: str
) -> None:
    state.update(d={"n": 1}, l=[1, 2], n=1)
    images = []
    with pytest.raises(errors.ConflictError) as caught, conversation.transaction():
        READS[read](state)
        state["mine"] = 1
        elsewhere.update(d={"n": 2, "m": 1}, l=[3], n=2, new=1)
        images.append(record.image())
    assert [record.image()] == images
    assert caught.value.key == conversation.key
    assert "Field ''" not in str(caught.value)


BLIND: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "set": (lambda state: state.__setitem__("l", "ours"), {"l": "ours", "d": {"n": 5}}),
    "append": (lambda state: state.append("l", "ours"), {"l": [0, 1, 2, "ours"], "d": {"n": 5}}),
    "live append": (lambda state: state["l"].append("ours"), {"l": [0, 1, 2, "ours"], "d": {"n": 5}}),
    "insert": (lambda state: state["l"].insert(0, "ours"), {"l": ["ours", 0, 1, 2], "d": {"n": 5}}),
    "several": (lambda state: (state["l"].append(8), state["l"].append(9)), {"l": [0, 1, 2, 8, 9], "d": {"n": 5}}),
    "nested key": (lambda state: state["d"].update(k=1), {"l": [0, 1, 2], "d": {"n": 5, "k": 1}}),
    "sort": (lambda state: state["l"].sort(reverse=True), {"l": [2, 1, 0], "d": {"n": 5}}),
}


@pytest.mark.parametrize("way", BLIND)
def test_changes_that_depend_on_nothing_read_go_onto_the_newest_value(
    conversation: Any, state: Any, elsewhere: Any, way: str
) -> None:
    change, expected = BLIND[way]
    state.update(l=[1, 2], d={"n": 1})
    with conversation.transaction():
        change(state)
        state["mine"] = 1
        elsewhere["l"].insert(0, 0)
        elsewhere["d"]["n"] = 5
    assert elsewhere == {**expected, "mine": 1}


def test_a_change_that_does_not_fit_the_newest_value_is_a_conflict(
    conversation: Any, state: Any, elsewhere: Any, record: Record
) -> None:
    state["l"] = [1]
    images = []
    with pytest.raises(errors.ConflictError) as caught, conversation.transaction():
        state["l"].append(2)
        state["mine"] = 1
        elsewhere["l"] = "no list"
        images.append(record.image())
    assert (caught.value.field, [record.image()]) == ("sl", images)


def test_a_conflict_is_resolved_by_repeating_the_block(conversation: Any, state: Any, elsewhere: Any) -> None:
    state.update(a=10, b=0)
    attempts = []
    while True:
        try:
            with conversation.transaction():
                state["b"] += state["a"]
                state["a"] = 0
                if not attempts:
                    elsewhere["a"] = 20
                attempts.append(1)
            break
        except errors.ConflictError:
            continue
    assert (elsewhere.copy(), len(attempts)) == ({"a": 0, "b": 20}, 2)


def test_fields_come_and_go_inside_a_block_as_in_a_dict(conversation: Any, state: Any, elsewhere: Any) -> None:
    state.update(a=1, b=2, c=3)
    with conversation.transaction():
        assert state.popitem() == ("c", 3)
        assert "new" not in state
        state["d"] = 4
        state["new"] = 5
        del state["a"]
        state["a"] = 6
        assert list(state.items()) == [("b", 2), ("d", 4), ("new", 5), ("a", 6)]
        assert len(state) == 4
    assert list(elsewhere.items()) == [("b", 2), ("d", 4), ("new", 5), ("a", 6)]
    with conversation.transaction():
        state.clear()
        assert state == {} and not state
        with pytest.raises(KeyError):
            state.popitem()
        state["b"] = 1
    assert elsewhere == {"b": 1}


def test_a_block_inside_a_block_joins_it(conversation: Any, stores: list[Store], elsewhere: Any) -> None:
    state = conversation.state
    with conversation.transaction():
        state["a"] = 1
        with stores[0].conversation("c").transaction():
            state["b"] = 2
        assert elsewhere == {}
        with pytest.raises(ZeroDivisionError), conversation.transaction():
            state["c"] = state["b"] + 1
            raise ZeroDivisionError
        # What the inner block did before it raised is dropped; the outer one goes on.
        assert "c" not in state
    assert elsewhere == {"a": 1, "b": 2}


def test_an_object_serves_block_after_block(conversation: Any, state: Any, elsewhere: Any) -> None:
    transaction = conversation.transaction()
    with transaction:
        state["a"] = 1
    elsewhere["a"] = 2
    with pytest.raises(ZeroDivisionError), transaction:
        state["b"] = 1
        raise ZeroDivisionError
    with transaction:
        state["c"] = 1
        with pytest.raises(errors.ConfigurationError), transaction:
            pass
    assert elsewhere == {"a": 2, "c": 1}
    state["d"] = 1
    assert elsewhere["d"] == 1


def test_two_conversations_and_two_stores_do_not_mix(stores: list[Store], url: str, prefix: str) -> None:
    one, two = stores[0].conversation("c"), stores[0].conversation("d")
    other = stores[1].conversation("c")
    with Store.from_url(url, key_prefix=prefix + "x") as foreign, one.transaction(), two.transaction():
        one.state["a"] = 1
        two.state["b"] = 2
        other.state["c"] = 3
        foreign.conversation("c").state["d"] = 4
        assert other.state == {"c": 3} and foreign.conversation("c").state == {"d": 4}
        assert stores[1].conversation("d").state == {}
    assert other.state == {"c": 3, "a": 1}
    assert stores[1].conversation("d").state == {"b": 2}


def test_other_threads_are_not_drawn_in(conversation: Any, state: Any, elsewhere: Any) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(int).result()
        with conversation.transaction():
            state["a"] = 1
            threads.submit(state.set, "b", 2).result(10)
            assert elsewhere == {"b": 2}
    assert elsewhere == {"b": 2, "a": 1}


def test_each_thread_has_its_own_block(conversation: Any, state: Any, elsewhere: Any) -> None:
    state["l"] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait(10)
        for turn in range(5):
            with conversation.transaction():
                state["l"].append([number, turn])
                state[f"last-{number}"] = turn

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert sorted(elsewhere["l"]) == [[number, turn] for number in range(4) for turn in range(5)]
    assert all(elsewhere[f"last-{number}"] == 4 for number in range(4))


def test_tasks_have_blocks_of_their_own(url: str, prefix: str, elsewhere: Any) -> None:
    async def run() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as store:
            conversation = store.conversation("c")
            late: list[asyncio.Task[int]] = []
            closed = asyncio.Event()

            async def straggler() -> int:
                await closed.wait()
                return await conversation.state.set("late", 1)

            async def block(number: int) -> None:
                async with conversation.transaction():
                    await conversation.state.set(f"a{number}", number)
                    await asyncio.sleep(0)
                    assert await conversation.state.get(f"a{number}") == number
                    await conversation.state.set(f"b{number}", number)

            await asyncio.gather(*(block(number) for number in range(1, 5)))
            async with conversation.transaction():
                late.append(asyncio.create_task(straggler()))
                await conversation.state.set("l", [1])
                await conversation.state["l"].append(2)
                assert await conversation.state["l"] == [1, 2]
            closed.set()
            assert await late[0] > 0  # it outlived the block, and writes for itself

    asyncio.run(run())
    found = elsewhere.copy()
    assert {found.pop(f"{kind}{number}") for kind in "ab" for number in range(1, 5)} == {1, 2, 3, 4}
    assert found == {"l": [1, 2], "late": 1}


def outsiders(conversation: Any) -> dict[str, Callable[[], Any]]:
    state, cart = conversation.state, conversation.cart
    return {
        "cart": lambda: cart.add("sku", 1, "1"), "quantity": lambda: cart.set_quantity("sku", 2),
        "checkout": lambda: cart.checkout("order"), "clear": cart.clear, "delete": conversation.delete,
        "login": lambda: conversation.session.login("user"), "logout": conversation.session.logout,
        "version": lambda: state.set("a", 2, expected_version=1), "op": lambda: state.update({"a": 2}, op_id="x"),
        "increment": lambda: state.increment("n", expected_version=1),
        "append": lambda: state.append("l", 1, op_id="x"), "del": lambda: state.delete("a", expected_version=1),
    }  # fmt: skip


def test_what_cannot_be_part_of_a_block_is_refused_in_it(conversation: Any, state: Any, record: Record) -> None:
    conversation.cart.add("sku", 1, "1")
    state.update(a=1, n=1, l=[])
    image = record.image()
    for change in outsiders(conversation).values():
        with conversation.transaction(), pytest.raises(errors.ConfigurationError):
            change()
        assert record.image() == image


def test_a_change_for_a_user_who_is_logged_in_stays_one(conversation: Any, state: Any, record: Record) -> None:
    state["a"] = 1
    image = record.image()
    with pytest.raises(errors.NotAuthenticated), conversation.transaction():
        state["b"] = 1
        conversation.if_logged_in.state["secret"] = 1
    assert record.image() == image
    conversation.session.login("user")
    with conversation.transaction():
        conversation.if_logged_in.state["secret"] = 1
    assert state["secret"] == 1
