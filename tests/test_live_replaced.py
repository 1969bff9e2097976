"""A live value whose place was given another one: no part of the state any more, as an object that a dict let go of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from redstate import Store, errors


@pytest.fixture
def state(url: str, prefix: str) -> Iterator[Any]:
    with Store.from_url(url, key_prefix=prefix) as store:
        state = store.conversation("c").state
        state.update(current={"a": 1}, a=[1], b=[2], n=5, d={"x": [1], "y": [2], "n": 5})
        yield state


def test_what_was_there_before_can_be_put_elsewhere(state: Any) -> None:
    old = state["current"]
    old["k"] = 1
    state["current"] = {"new": 1}
    state["previous"] = old
    assert (state["previous"], state["current"], old) == ({"a": 1, "k": 1}, {"new": 1}, {"a": 1, "k": 1})


def test_two_fields_and_two_keys_change_places(state: Any) -> None:
    state["a"], state["b"] = state["b"], state["a"]
    d = state["d"]
    d["x"], d["y"] = d["y"], d["x"]
    assert (state["a"], state["b"], d["x"], d["y"]) == ([2], [1], [2], [1])


@pytest.mark.parametrize(
    "let_go",
    [
        lambda state: state.delete("a"),
        lambda state: state.pop("a"),
        lambda state: state.clear(),
        lambda state: state.update(a=[7]),
        lambda state: state.edit("a", lambda items: [7]),
        lambda state: state.__setitem__("a", [7]),
    ],
    ids=["delete", "pop", "clear", "update", "edit", "setitem"],
)
def test_what_was_let_go_shows_what_it_was_and_cannot_be_changed(state: Any, let_go: Any) -> None:
    kept = state["a"]
    kept.append(2)
    let_go(state)
    before = state.all()
    assert kept == [1, 2]
    for change in (lambda: kept.append(3), kept.pop, kept.sort):
        with pytest.raises(errors.Detached):
            change()
    assert state.all() == before
    state["a"] = kept
    assert state["a"] == [1, 2]


def test_what_lies_in_it_is_let_go_too(state: Any) -> None:
    inner = state["d"]["x"]
    state["d"] = {"x": [9]}
    assert inner == [1]
    with pytest.raises(errors.Detached):
        inner.append(2)
    assert state["d"] == {"x": [9]}


def test_a_number_that_was_overwritten_meanwhile_is_assigned_and_not_added(state: Any) -> None:
    for holder in (state, state["d"]):
        number = holder["n"]
        number += 1
        holder["n"] = 0
        holder["n"] = number
        assert holder["n"] == 6


def test_a_change_by_another_handle_is_a_change_and_lets_nothing_go(state: Any, url: str, prefix: str) -> None:
    kept = state["a"]
    with Store.from_url(url, key_prefix=prefix) as other:
        other.conversation("c").state["a"] = [1, 2, 3]
    assert kept == [1, 2, 3]
    kept.append(4)
    assert state["a"] == [1, 2, 3, 4]


def test_changing_in_place_lets_nothing_go(state: Any) -> None:
    kept, d = state["a"], state["d"]
    state["a"] += [2]
    state["a"] *= 2
    d["x"] += [2]
    d |= {"z": 1}
    kept.append(3)
    d["y"].append(3)
    assert (state["a"], state["d"]["x"], state["d"]["y"]) == ([1, 2, 1, 2, 3], [1, 2], [2, 3])


def test_functions_that_rebuild_containers_by_their_type_get_plain_ones(state: Any) -> None:
    @dataclasses.dataclass
    class Holder:
        items: list[int]
        mapping: dict[str, Any]

    found = dataclasses.asdict(Holder(state["a"], state["d"]))
    assert found == {"items": [1], "mapping": {"x": [1], "y": [2], "n": 5}}
    assert (type(found["items"]), type(found["mapping"])) == (list, dict)


def test_a_kept_dict_that_was_empty_is_live_for_json_too(state: Any) -> None:
    state["e"] = {}
    kept = state["e"]
    assert json.dumps(kept) == "{}"
    state["e"]["z"] = 1
    assert json.dumps(kept) == '{"z": 1}'


def test_a_list_that_grew_past_the_cap_on_items_can_be_made_smaller(url: str, prefix: str) -> None:
    from redstate import Limits

    with Store.from_url(url, key_prefix=prefix, limits=Limits(max_items=3)) as store:
        state = store.conversation("c").state
        state["list"] = [1]
        for number in range(5):
            state["list"].append(number)  # the script does not count
        with pytest.raises(errors.TooLarge):
            state["list"].insert(0, 1)
        assert [state["list"].pop() for _ in range(4)] == [4, 3, 2, 1]
        state["list"].insert(0, 1)
        assert state["list"] == [1, 1, 0]
