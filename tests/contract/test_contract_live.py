"""Nested values of the state, awaited in one colour and plain Python in the other, over every kind of server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from contract.records import Record

from redstate import AsyncStore, Limits, Store, errors


class Twin:
    """``state["a"]["b"].append(1)`` in both colours: runs the awaited one to its end, and takes results as plain."""

    def __init__(self, target: Any, run: Callable[[Any], Any]) -> None:
        self._target = target
        self._run = run

    def __getitem__(self, step: Any) -> Twin:
        return Twin(self._target[step], self._run)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._run(self._target(*arguments, **named))

    def __getattr__(self, name: str) -> Any:
        return Twin(getattr(self._target, name), self._run)

    def read(self) -> Any:
        """The value at this place."""
        return self._run(self._target)


@pytest.fixture
def run(
    contract_url: str, prefix: str, colour: str, store_options: dict[str, Any]
) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """A conversation of the colour, and what makes a plain value of its results."""
    if colour == "sync":
        with Store.from_url(contract_url, key_prefix=prefix, timeout=20.0, **store_options) as store:
            yield store.conversation("conv_123"), lambda value: getattr(value, "__redstate_plain__", lambda: value)()
        return
    with asyncio.Runner() as runner:
        store = AsyncStore.from_url(contract_url, key_prefix=prefix, timeout=20.0, **store_options)

        async def awaited(value: Any) -> Any:
            return await value if hasattr(value, "__await__") else value

        yield store.conversation("conv_123"), lambda value: runner.run(awaited(value))
        runner.run(store.close())


@pytest.fixture
def twin(run: tuple[Any, Callable[[Any], Any]]) -> Twin:
    conversation, finish = run
    return Twin(conversation.state, finish)


def test_lists_change_in_place(twin: Twin) -> None:
    twin.update(l=[3], d={"l": [[1], [2]]})
    for items in (twin["l"], twin["d"]["l"][1]):
        items.append(5)
        items.extend([7, 6])
        items.insert(0, 9)
        items.remove(5)
        items.sort(reverse=True)
        items.reverse()
        items.pop()
        items.append({"x": (1,)})
    assert twin["l"].read() == [3, 6, 7, {"x": (1,)}]
    assert twin["d"].read() == {"l": [[1], [2, 6, 7, {"x": (1,)}]]}
    assert twin["l"].pop(0) == 3
    twin["d"]["l"][0].clear()
    assert twin["d"]["l"].read() == [[], [2, 6, 7, {"x": (1,)}]]


def test_dicts_change_in_place(twin: Twin) -> None:
    twin.set("d", {"inner": {"a": 1}})
    inner = twin["d"]["inner"]
    inner.update({"b": 2}, c=3)
    inner.update([("d", 4)])
    assert inner.setdefault("a", 9) == 1
    assert inner.setdefault("l", []) == []
    inner["l"].append(1)
    assert inner.pop("b") == 2
    assert inner.pop("b", None) is None
    assert inner.get("never", 7) == 7
    assert inner.read() == {"a": 1, "c": 3, "d": 4, "l": [1]}
    assert inner.popitem() == ("l", [1])
    inner.clear()
    assert twin["d"].read() == {"inner": {}}


def test_the_root_has_the_methods_of_a_dict(twin: Twin) -> None:
    twin.update({"b": 1}, a=2)
    twin.update([("c", 3)])
    assert twin.setdefault("a", 9) == 2
    assert twin.setdefault("l", []) == []
    assert list(twin.keys()) == ["b", "a", "c", "l"]
    assert list(twin.items()) == [("b", 1), ("a", 2), ("c", 3), ("l", [])]
    assert list(twin.values()) == [1, 2, 3, []]
    assert twin.popitem() == ("l", [])
    assert twin.pop("a") == 2
    assert twin.pop("a", "default") == "default"
    assert twin.has("b") and not twin.has("a")
    assert twin.copy() == {"b": 1, "c": 3}
    twin.clear()
    assert twin.copy() == {}
    for call in (lambda: twin.pop("a"), twin.popitem):
        with pytest.raises(KeyError):
            call()


def test_the_root_empties_and_fills_in_order_past_the_size_of_a_compact_hash(twin: Twin) -> None:
    names = [f"field-{number}" for number in range(600)]
    twin.update(dict.fromkeys(names, 0))
    assert list(twin.keys()) == names
    assert [twin.popitem()[0] for _ in range(5)] == names[:-6:-1]
    twin.delete("field-0", "field-3")
    twin.set("field-0", 1)
    assert list(twin.keys()) == ["field-1", "field-2", *names[4:-5], "field-0"]


def read(twin: Twin, *path: Any) -> Any:
    for step in path:
        twin = twin[step]
    return twin.read()


def test_places_that_are_not_there_are_the_errors_of_dict_and_list(twin: Twin) -> None:
    twin.update(d={"l": []}, n=1)
    for act, error in (
        (lambda: read(twin, "never"), KeyError),
        (lambda: read(twin, "d", "never"), KeyError),
        (lambda: read(twin, "d", "l", 0), IndexError),
        (lambda: twin["d"]["l"].remove(1), ValueError),
        (lambda: twin["d"]["l"].pop(0), IndexError),
        (lambda: twin["d"].pop("never"), KeyError),
        (lambda: twin["d"].append(1), AttributeError),
        (lambda: twin["n"].append(1), AttributeError),
        (lambda: read(twin, "n", "x"), TypeError),
    ):  # in one colour the brackets raise, in the other what is awaited
        with pytest.raises(error):
            act()
    assert twin.copy() == {"d": {"l": []}, "n": 1}


def test_awaited_values_are_set_deleted_and_counted(run: tuple[Any, Callable[[Any], Any]], colour: str) -> None:
    if colour == "sync":
        return  # brackets do it there
    conversation, finish = run
    twin = Twin(conversation.state, finish)
    twin.set("d", {"l": [0, 1, 2, 3], "k": 1})
    twin["d"].set("new", 5)
    twin["d"]["l"].set(-1, "last")
    twin["d"]["l"].delete(slice(0, 2))
    twin["d"].delete("k")
    assert twin["d"].read() == {"l": [2, "last"], "new": 5}
    assert (twin["d"].length(), twin["d"]["l"].length()) == (2, 2)
    assert twin["d"].has("new") and not twin["d"].has("k") and twin["d"]["l"].has("last")
    assert (twin["d"]["l"].get(0), twin["d"]["l"].get(9, "x")) == (2, "x")
    for call in (lambda: twin["d"].delete("k"), lambda: twin["d"]["l"].set(7, 1), lambda: twin["gone"].get("x")):
        with pytest.raises(LookupError):
            call()


def test_awaited_values_inside_are_added_to_and_edited(run: tuple[Any, Callable[[Any], Any]], colour: str) -> None:
    if colour == "sync":
        return  # brackets do it there
    conversation, finish = run
    twin = Twin(conversation.state, finish)
    twin.set("d", {"n": 1, "l": [1.5], "s": "x"})
    assert (twin["d"].increment("n"), twin["d"].increment("new", 5), twin["d"]["l"].increment(0, 2)) == (2, 5, 3.5)
    assert twin["d"].edit("n", lambda now: now * 10) == 20
    default: list[int] = []
    assert twin["d"].edit("m", lambda now: [*now, 1], default) == [1]
    assert twin["d"].read() == {"n": 20, "l": [3.5], "s": "x", "new": 5, "m": [1]}
    for call, error in (
        (lambda: twin["d"].increment("s"), TypeError),
        (lambda: twin["d"].increment("n", "x"), TypeError),
        (lambda: twin["d"]["l"].increment(7), IndexError),
        (lambda: twin["gone"].increment("n"), KeyError),
    ):
        with pytest.raises(error):
            call()
    with pytest.raises(AttributeError, match="append"):
        twin["d"].append(1)


@pytest.mark.parametrize("colour", ["async"])
def test_a_forgotten_await_says_what_to_write(run: tuple[Any, Callable[[Any], Any]], colour: str) -> None:
    conversation, finish = run
    state, value = conversation.state, conversation.state["d"]["l"]
    Twin(state, finish).set("d", {"l": [1]})

    async def loop(over: Any) -> None:
        async for _ in over:
            pass

    for act, words in (
        (lambda: bool(value), r"await state\['d'\]\['l'\]$"),
        (lambda: list(value), r"await state\['d'\]\['l'\]$"),
        (lambda: asyncio.run(loop(value)), r"await state\['d'\]\['l'\]$"),
        (lambda: 1 in value, r"await state\['d'\]\['l'\]\.has\(\.\.\.\)$"),
        (lambda: len(value), r"await state\['d'\]\['l'\]\.length\(\)$"),
        (lambda: value == [1], r"await state\['d'\]\['l'\]$"),
        (lambda: value != [1], r"await state\['d'\]\['l'\]$"),
        (lambda: value in ["x"], r"await state\['d'\]\['l'\]$"),
        (lambda: bool(state), r"await state\.all\(\)$"),
        (lambda: list(state), r"await state\.keys\(\)$"),
        (lambda: "d" in state, r"await state\.has\(\.\.\.\)$"),
        (lambda: len(state), r"await state\.length\(\)$"),
        (lambda: state == {}, r"await state\.all\(\)$"),
    ):
        with pytest.raises(TypeError, match=words):
            act()


@pytest.mark.parametrize("colour", ["async"])
def test_values_are_awaited_together(run: tuple[Any, Callable[[Any], Any]], colour: str) -> None:
    conversation, finish = run
    Twin(conversation.state, finish).update(a=1, b=2)

    async def both() -> list[Any]:
        return await asyncio.gather(conversation.state["a"], conversation.state["b"])

    assert finish(both()) == [1, 2]


def test_edit_makes_a_value_of_the_newest(twin: Twin) -> None:
    assert twin.edit("n", lambda now: now + 1, 0) == 1
    assert twin.edit("n", lambda now: now + 1, 0) == 2
    with pytest.raises(ZeroDivisionError):
        twin.edit("n", lambda now: 1 // 0)
    default: list[int] = []
    assert twin.edit("l", lambda now: [*now, 1], default) == [1]
    assert default == []
    assert twin.copy() == {"n": 2, "l": [1]}


def test_refused_changes_change_nothing(open_store: Any, record: Record) -> None:
    conversation = open_store(limits=Limits(max_value_bytes=200, max_depth=4)).conversation("conv_123")
    conversation.state.update(d={"l": [1]}, n="text")
    image = record.image()
    state = conversation.state
    deep: Any = [[[[[]]]]]
    for change, error in (
        (lambda: state.set("d", object()), errors.UnsupportedValue),
        (lambda: state.edit("d", lambda now: now["l"].append(object()) or now), errors.UnsupportedValue),
        (lambda: state.edit("d", lambda now: {**now, "big": "x" * 300}), errors.TooLarge),
        (lambda: state.edit("d", lambda now: {**now, "deep": deep}), errors.TooLarge),
        (lambda: state.setdefault("new", deep), errors.TooLarge),
        (lambda: state.pop("never"), KeyError),
        (lambda: state.increment("n"), errors.WrongType),
        (lambda: state.append("d", 1), errors.WrongType),
    ):
        with pytest.raises(error):
            change()
        assert record.image() == image


def test_a_transaction_is_all_or_nothing(run: tuple[Any, Callable[[Any], Any]], colour: str, record: Record) -> None:
    conversation, finish = run
    finish(conversation.state.update(a=1, gone=1, l=[1]))
    image = record.image()

    async def awaited(fail: bool) -> None:
        async with conversation.transaction():
            await conversation.state.set("a", 2)
            await conversation.state.delete("gone")
            await conversation.state["l"].append(2)
            await conversation.state.set("gone", 3)
            assert await conversation.state.all() == {"a": 2, "l": [1, 2], "gone": 3}
            assert record.image() == image
            if fail:
                raise ZeroDivisionError

    def blocking(fail: bool) -> None:
        with conversation.transaction():
            conversation.state["a"] = 2
            del conversation.state["gone"]
            conversation.state["l"].append(2)
            conversation.state["gone"] = 3
            assert conversation.state == {"a": 2, "l": [1, 2], "gone": 3}
            assert record.image() == image
            if fail:
                raise ZeroDivisionError

    block = blocking if colour == "sync" else awaited
    with pytest.raises(ZeroDivisionError):
        finish(block(True))
    assert record.image() == image
    finish(block(False))
    assert list(finish(conversation.state.items())) == [("a", 2), ("l", [1, 2]), ("gone", 3)]
