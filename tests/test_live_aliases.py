"""Values that are kept while the state goes on: through one handle or several, with blocks that are dropped."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from redstate import AsyncStore, Conversation, Store, errors


@pytest.fixture
def conversation(url: str, prefix: str) -> Iterator[Conversation]:
    with Store.from_url(url, key_prefix=prefix) as store:
        yield store.conversation("c")


@pytest.fixture
def handle(url: str, prefix: str) -> Iterator[Callable[[], Any]]:
    """The state by a new handle at each call, as an agent's ``get_state`` gives it."""
    with Store.from_url(url, key_prefix=prefix) as store:
        store.conversation("c").state.update(a=[1], b=[2], cart=[{"sku": "tea"}], n=5)
        yield lambda: store.conversation("c").state


def test_fields_change_places_through_handles_that_come_and_go(handle: Callable[[], Any]) -> None:
    handle()["a"], handle()["b"] = handle()["b"], handle()["a"]
    old = handle()["cart"]
    handle()["cart"] = []
    handle()["last_cart"] = old
    gone = handle()["a"]
    handle().pop("a")
    handle()["order"] = gone
    assert handle() == {"b": [1], "cart": [], "n": 5, "last_cart": [{"sku": "tea"}], "order": [2]}


@pytest.mark.parametrize(
    "replace",
    [
        lambda rows: rows.__setitem__(0, {"id": 9, "x": 0}),
        lambda rows: rows.__setitem__(slice(0, 1), [{"id": 9, "x": 0}]),
        lambda rows: (rows.pop(0), rows.insert(0, {"id": 9, "x": 0})),
        lambda rows: (rows.clear(), rows.append({"id": 9, "x": 0})),
        lambda rows: (rows.remove({"id": 1, "x": 0}), rows.append({"id": 9, "x": 0})),
    ],
    ids=["setitem", "slice", "pop and insert", "clear and append", "remove and append"],
)
def test_an_element_that_was_replaced_is_never_mistaken_for_what_came_in_its_place(
    conversation: Conversation, replace: Callable[[Any], Any]
) -> None:
    state = conversation.state
    state["rows"] = [{"id": 1, "x": 0}]
    kept = state["rows"][0]
    replace(state["rows"])
    with pytest.raises(errors.Detached):
        kept["x"] = 1
    assert state["rows"] == [{"id": 9, "x": 0}]
    assert kept == {"id": 1, "x": 0}


def test_an_element_that_others_replaced_by_another_one_is_not_changed(
    conversation: Conversation, url: str, prefix: str
) -> None:
    conversation.state["rows"] = [{"sku": "tea", "quantity": 1}]
    kept = conversation.state["rows"][0]
    with Store.from_url(url, key_prefix=prefix) as other:
        rows = other.conversation("c").state["rows"]
        rows.clear()
        rows.append({"sku": "cup", "quantity": 1})
    with pytest.raises(errors.Detached):
        kept["quantity"] += 1
    assert conversation.state["rows"] == [{"sku": "cup", "quantity": 1}]


@pytest.mark.parametrize("element", [{"n": 0}, {"sku": "tea", "n": 0}, {"n": 0, "sku": "tea", "size": "L"}], ids=repr)
def test_an_element_that_many_change_where_it_stands_loses_nothing(
    conversation: Conversation, element: dict[str, Any]
) -> None:
    conversation.state["rows"] = [element]

    def work(_: int) -> None:
        for _ in range(20):
            conversation.state["rows"][0]["n"] += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert conversation.state["rows"] == [{**element, "n": 80}]


def test_a_number_of_a_list_is_followed_where_others_moved_it(
    conversation: Conversation, url: str, prefix: str
) -> None:
    conversation.state["l"] = [10, 20]
    rows = conversation.state["l"]
    number = rows[0]
    with Store.from_url(url, key_prefix=prefix) as other:
        other.conversation("c").state["l"].insert(0, 5)
    number += 1
    rows[0] = number
    assert conversation.state["l"] == [5, 11, 20]


def test_assigning_what_others_deleted_puts_it_back(conversation: Conversation, url: str, prefix: str) -> None:
    conversation.state.update(l=[1], d={"x": [1]})
    kept, inner, d = conversation.state["l"], conversation.state["d"]["x"], conversation.state["d"]
    with Store.from_url(url, key_prefix=prefix) as other:
        del other.conversation("c").state["l"]
        del other.conversation("c").state["d"]["x"]
    conversation.state["l"] = kept
    d["x"] = inner
    assert conversation.state == {"d": {"x": [1]}, "l": [1]}


def test_code_in_c_sees_what_this_handle_appended(conversation: Conversation) -> None:
    conversation.state["l"] = [1]
    kept = conversation.state["l"]
    kept.append(2)
    assert orjson.dumps(kept) == b"[1,2]"


def test_the_state_itself_is_rebuilt_as_a_plain_dict(conversation: Conversation) -> None:
    @dataclasses.dataclass
    class Holder:
        state: Any

    conversation.state["a"] = [1]
    assert dataclasses.asdict(Holder(conversation.state)) == {"state": {"a": [1]}}


# An emptied state -----------------------------------------------------------------------------------------------------


def test_an_emptied_state_is_saved_read_and_popped_like_a_new_one(url: str, prefix: str) -> None:
    with Store.from_url(url, key_prefix=prefix) as store:
        conversation = store.conversation("c")
        conversation.state["a"] = 1
        del conversation.state["a"]
        with conversation.transaction():
            assert len(conversation.state) == 0
            conversation.state["b"] = 1
        conversation.state.clear()
        conversation.state.clear()
        store.save_state("c", {"x": 1})
        assert conversation.state == {"x": 1}
        assert conversation.state.popitem() == ("x", 1)
        store.save_state("c", {})
        assert conversation.state == {}


# Transactions ---------------------------------------------------------------------------------------------------------


def test_edit_in_a_block_stores_what_it_returned(conversation: Conversation) -> None:
    calls = iter(range(100))
    with conversation.transaction():
        returned = conversation.state.edit("a", lambda _: next(calls))
        assert conversation.state["a"] == returned
    assert conversation.state["a"] == returned == 0


def test_a_block_that_is_dropped_leaves_kept_values_alive(conversation: Conversation) -> None:
    state = conversation.state
    state.update(q={"a": 1}, n=5)
    kept = state["q"]
    with pytest.raises(ZeroDivisionError), conversation.transaction():
        state["q"] = {"other": 1}
        assert kept == {"a": 1}
        raise ZeroDivisionError
    kept["z"] = 9
    assert state["q"] == kept == {"a": 1, "z": 9}


def test_an_addition_counts_until_it_was_made(conversation: Conversation, url: str, prefix: str) -> None:
    state = conversation.state
    state["n"] = 5
    number = state["n"]
    number += 1
    with Store.from_url(url, key_prefix=prefix) as other:
        other.conversation("c").state["n"] = "text"
    with pytest.raises(TypeError):
        state["n"] = number
    with Store.from_url(url, key_prefix=prefix) as other:
        other.conversation("c").state["n"] = 100
    state["n"] = number
    assert state["n"] == 101


def test_a_change_that_outlives_its_block_is_refused_and_not_swallowed(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as store:
            conversation = store.conversation("c")
            async with conversation.transaction():
                late = asyncio.create_task(conversation.state.increment("n"))
                await asyncio.sleep(0)
            with pytest.raises(errors.ConfigurationError, match="ended"):
                await late
            assert await conversation.state.all() == {}

    asyncio.run(scenario())


def test_the_block_of_a_task_is_its_own(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as store:
            conversation = store.conversation("c")
            inside, go_on = asyncio.Event(), asyncio.Event()

            async def child() -> None:
                with pytest.raises(ZeroDivisionError):
                    async with conversation.transaction():
                        await conversation.state.set("c1", 1)
                        inside.set()
                        await go_on.wait()
                        await conversation.state.set("c2", 1)
                        raise ZeroDivisionError

            async with conversation.transaction():
                task = asyncio.create_task(child())
                await inside.wait()
                await conversation.state.set("parent", 1)
            go_on.set()
            await task
            assert await conversation.state.all() == {"parent": 1}

    asyncio.run(scenario())


def test_gathered_changes_are_part_of_the_block(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as store:
            conversation = store.conversation("c")
            with pytest.raises(ZeroDivisionError):
                async with conversation.transaction():
                    await asyncio.gather(conversation.state.set("a", 1), conversation.state.append("l", 1))
                    raise ZeroDivisionError
            assert await conversation.state.all() == {}

    asyncio.run(scenario())


def test_a_block_that_ends_in_another_context_leaves_nothing_open(conversation: Conversation) -> None:
    def block() -> Iterator[None]:
        with conversation.transaction():
            conversation.state["a"] = 1
            yield

    import contextvars

    generator = block()
    contextvars.copy_context().run(next, generator)
    assert next(generator, "done") == "done"
    conversation.state["b"] = 2
    assert conversation.state == {"a": 1, "b": 2}


def test_deleting_one_name_twice_counts_once(conversation: Conversation) -> None:
    conversation.state.update(a=1)
    with conversation.transaction():
        assert conversation.state.delete("a", "a") == 1
