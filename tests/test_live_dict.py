"""The state as a dict: what is not reached by random operations on a model."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from decimal import Decimal
from typing import Any

import pytest
import redis
from contract.records import Record

from redstate import Limits, Store, errors


@pytest.fixture
def conversations(url: str, prefix: str) -> Iterator[list[Any]]:
    """One conversation, as two stores hold it."""
    with Store.from_url(url, key_prefix=prefix) as one, Store.from_url(url, key_prefix=prefix) as other:
        yield [one.conversation("c"), other.conversation("c")]


@pytest.fixture
def state(conversations: list[Any]) -> Any:
    return conversations[0].state


@pytest.fixture
def elsewhere(conversations: list[Any]) -> Any:
    return conversations[1].state


@pytest.fixture
def record(url: str, conversations: list[Any]) -> Iterator[Record]:
    with redis.Redis.from_url(url) as raw:
        yield Record(raw, conversations[0].key)


def test_it_is_taken_for_what_it_behaves_as(state: Any) -> None:
    state.update(d={"k": 1}, l=[1], n=1, f=1.5, m=Decimal("1.5"), s="x")
    kinds = {name: type(value) for name, value in state.copy().items()}
    assert isinstance(state, dict) and isinstance(state, MutableMapping) and isinstance(state["d"], Mapping)
    for name, kind in kinds.items():
        assert isinstance(state[name], kind)
    with pytest.raises(TypeError, match="unhashable"):
        hash(state["d"])


def test_a_copy_shares_nothing_with_the_state(state: Any) -> None:
    state["d"] = {"l": [1]}
    for taken in (state.copy(), copy.deepcopy(state), pickle.loads(pickle.dumps(state)), dict(state).copy()):
        assert taken == {"d": {"l": [1]}}
        if type(taken["d"]) is dict:
            taken["d"]["l"].append(2)
    taken = state["d"].copy()
    taken["l"].append(2)
    assert state == {"d": {"l": [1]}}


def test_what_was_put_in_stays_the_callers(state: Any) -> None:
    value = {"l": [1]}
    state["d"] = value
    state["d"]["again"] = value
    value["l"].append(2)
    assert state == {"d": {"l": [1], "again": {"l": [1]}}}


def test_code_in_c_sees_what_is_there(state: Any, elsewhere: Any) -> None:
    state.update(d={"a": [1]}, l=["x"])
    kept_dict, kept_list = state["d"], state["l"]
    elsewhere["d"]["a"].append(2)
    elsewhere["l"].append("y")
    assert json.loads(json.dumps(kept_dict)) == {"a": [1, 2]}
    assert json.dumps(state) == '{"d": {"a": [1, 2]}, "l": ["x", "y"]}'
    assert ",".join(kept_list) == "x,y"
    assert "{l}".format_map(state) == "{l}".format(**state) == "['x', 'y']"
    assert {**kept_dict} == dict(kept_dict) == {"a": [1, 2]}


def test_the_newest_of_many_fields_is_popped_first(state: Any) -> None:
    names = [f"field-{number:03}" for number in range(250)]
    state.update(dict.fromkeys(names, 0))
    state[names[7]] = 1  # keeps its place
    del state[names[3]]
    state[names[3]] = 2  # comes last now
    assert list(state) == [*names[:3], *names[4:], names[3]]
    assert [state.popitem() for _ in range(3)] == [(names[3], 2), (names[249], 0), (names[248], 0)]
    assert len(state) == 247
    state.clear()
    assert not state
    with pytest.raises(KeyError, match="dictionary is empty"):
        state.popitem()


def test_as_many_fields_as_the_highest_cap_allows_are_cleared_at_once(url: str, prefix: str) -> None:
    with Store.from_url(url, key_prefix=prefix, limits=Limits(max_fields=3_500)) as store:
        state = store.conversation("c").state
        state.update({f"f{number}": number for number in range(3_500)})
        assert state.popitem() == ("f3499", 3_499)
        state.clear()
        assert state == {}


def test_order_survives_every_way_to_make_a_field(state: Any) -> None:
    state["z"] = 1
    state.increment("n")
    state.append("list", 1)
    state.setdefault("d", {})
    state.edit("a", lambda now: now + 1, 0)
    state.update(b=1, z=2)
    assert list(state) == ["z", "n", "list", "d", "a", "b"]
    assert state.delete("list", "z") == 2
    state["list"] = 1
    assert list(state) == list(state.copy()) == ["n", "d", "a", "b", "list"]


def test_iteration_goes_over_what_there_was(state: Any) -> None:
    state.update(a=1, b=2)
    for name in state:
        state[name + "2"] = 0
    for name in state.keys():  # noqa: SIM118 - the view
        state.pop(name)
    assert state == {}


def test_a_kept_value_stays_live(state: Any, elsewhere: Any) -> None:
    state["d"] = {"inner": {"n": 1}, "l": []}
    inner, items = state["d"]["inner"], state["d"]["l"]
    elsewhere["d"]["inner"]["n"] = 2
    elsewhere["d"]["l"].append("theirs")
    assert inner == {"n": 2} and items == ["theirs"]
    inner["m"] = 3
    items.append("ours")
    assert elsewhere == {"d": {"inner": {"n": 2, "m": 3}, "l": ["theirs", "ours"]}}


OTHER_PROCESS = """
import sys, redstate
with redstate.Store.from_url(sys.argv[1], key_prefix=sys.argv[2]) as store:
    state = store.conversation("c").state
    state["d"]["rows"].insert(0, {"id": 0})
    state["d"]["n"] += 5
"""


def test_a_kept_value_sees_what_another_process_did(state: Any, url: str, prefix: str) -> None:
    state["d"] = {"rows": [{"id": 1}], "n": 1}
    nested, row, number = state["d"], state["d"]["rows"][0], state["d"]["n"]
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, url, prefix], check=True, timeout=60)
    number += 1
    nested["n"] = number
    row["seen"] = True
    assert nested == {"rows": [{"id": 0}, {"id": 1, "seen": True}], "n": 7}


@pytest.mark.parametrize("way", ["del", "pop", "replace", "clear", "inside"])
def test_a_kept_value_that_is_gone_says_so(state: Any, elsewhere: Any, record: Record, way: str) -> None:
    state.update(d={"inner": {"n": 1}}, other=1)
    inner = state["d"]["inner"]
    {"del": lambda: elsewhere.__delitem__("d"), "pop": lambda: elsewhere.pop("d"),
     "replace": lambda: elsewhere.set("d", {"inner": 1}), "clear": elsewhere.clear,
     "inside": lambda: elsewhere["d"].pop("inner")}[way]()  # fmt: skip
    image = record.image()
    for change in (lambda: inner.update(n=2), lambda: inner.pop("n"), lambda: inner.setdefault("m", []), inner.clear):
        with pytest.raises(errors.Detached) as caught:
            change()
        assert caught.value.field == "d"
    assert record.image() == image


def test_keys_that_a_field_cannot_have_are_not_there(state: Any) -> None:
    for key in ("", 5, None, "x" * 300, ("a",)):
        assert key not in state
        with pytest.raises(KeyError) as caught:
            state[key]
        assert caught.value.args == (key,)
        with pytest.raises(KeyError):
            del state[key]
    for key in ([], {}, set()):
        with pytest.raises(TypeError):
            state[key]


def test_nested_keys_may_be_what_a_dict_takes(state: Any) -> None:
    state["d"] = {1: "int", (1, "a"): "tuple", None: "none"}
    state["d"][2.5] = "float"
    del state["d"][None]
    assert state["d"] == {1: "int", (1, "a"): "tuple", 2.5: "float"}
    assert state["d"].pop((1, "a")) == "tuple"


def test_one_live_value_goes_into_another_as_it_is(state: Any) -> None:
    state.update(a={"l": [1]}, n=3, f=0.5)
    state["b"] = state["a"]
    state["c"] = {"x": [state["a"]["l"], state["n"]], state["n"]: (state["f"],), "s": {state["n"]}}
    state["a"]["self"] = state["a"]
    assert state["b"] == {"l": [1]}
    assert state.copy()["c"] == {"x": [[1], 3], 3: (0.5,), "s": {3}}
    assert state["a"] == {"l": [1], "self": {"l": [1]}}


HUGE = "x" * 2_000


def too_deep() -> Any:
    deep: Any = []
    for _ in range(8):
        deep = [deep]
    return deep


REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda state, bad: state.__setitem__("new", bad),
    "update": lambda state, bad: state.update(d={}, new=bad),
    "ior": lambda state, bad: state.__ior__({"new": bad, "d": {}}),
    "setdefault": lambda state, bad: state.setdefault("new", bad),
    "edit": lambda state, bad: state.edit("d", lambda now: {**now, "bad": bad}),
    "append": lambda state, bad: state.append("l", bad),
    "dict set": lambda state, bad: state["d"].__setitem__("new", bad),
    "dict update": lambda state, bad: state["d"].update(n=2, new=bad),
    "dict ior": lambda state, bad: state["d"].__ior__({"n": 2, "new": bad}),
    "dict setdefault": lambda state, bad: state["d"].setdefault("new", bad),
    "list append": lambda state, bad: state["l"].append(bad),
    "list extend": lambda state, bad: state["l"].extend([1, bad]),
    "list iadd": lambda state, bad: state["l"].__iadd__([1, bad]),
    "list insert": lambda state, bad: state["l"].insert(0, bad),
    "list set": lambda state, bad: state["l"].__setitem__(0, bad),
    "list slice": lambda state, bad: state["l"].__setitem__(slice(None), [1, bad]),
    "deep append": lambda state, bad: state["d"]["l"][0].append(bad),
    "deep extend": lambda state, bad: state["d"]["l"][0].extend([1, bad]),
    "deep setdefault": lambda state, bad: state["d"]["l"][0][0].setdefault("x", []).append(bad),
}


@pytest.mark.parametrize(
    ("bad", "error"),
    [(object(), errors.UnsupportedValue), (float("nan"), errors.UnsupportedValue), (HUGE, errors.TooLarge),
     (too_deep(), errors.TooLarge), (list(range(60)), errors.TooLarge)],
    ids=["class", "nan", "bytes", "depth", "items"],
)  # fmt: skip
@pytest.mark.parametrize("way", REFUSED)
def test_a_value_that_cannot_be_stored_changes_nothing(
    url: str, prefix: str, way: str, bad: Any, error: type[errors.RedstateError]
) -> None:
    limits = Limits(max_value_bytes=1_000, max_depth=7, max_items=50)
    with Store.from_url(url, key_prefix=prefix, limits=limits) as store, redis.Redis.from_url(url) as raw:
        conversation = store.conversation("c")
        conversation.state.update(d={"n": 1, "l": [[{"x": []}]]}, l=[0])
        record = Record(raw, conversation.key)
        image = record.image()
        with pytest.raises(error):
            REFUSED[way](conversation.state, bad)
        assert record.image() == image
        with conversation.transaction(), pytest.raises(error):
            REFUSED[way](conversation.state, bad)
        assert record.image() == image


def test_a_conversation_over_its_caps_changes_nothing(url: str, prefix: str) -> None:
    limits = Limits(max_fields=3, max_conversation_bytes=10_000)
    with Store.from_url(url, key_prefix=prefix, limits=limits) as store, redis.Redis.from_url(url) as raw:
        conversation = store.conversation("c")
        state = conversation.state
        state.update(d={"l": []}, l=[], n=1)
        record = Record(raw, conversation.key)
        image = record.image()
        big = "x" * 10_000
        for change in (
            lambda: state.__setitem__("more", 1), lambda: state.setdefault("more", []),
            lambda: state.edit("more", lambda now: 1), lambda: state.update(n=2, more=1),
            lambda: state["d"].__setitem__("k", big), lambda: state["d"]["l"].append(big),
            lambda: state["l"].append(big), lambda: state["l"].insert(0, big), lambda: state.__setitem__("n", big),
        ):  # fmt: skip
            with pytest.raises(errors.TooLarge):
                change()
            assert record.image() == image
            with pytest.raises(errors.TooLarge), conversation.transaction():
                change()
            assert record.image() == image


def test_what_an_operation_refuses_changes_nothing(state: Any, record: Record) -> None:
    state.update(d={"n": 1}, l=[1, "a"], s="x")
    image = record.image()
    for change in (
        state["l"].sort, lambda: state["l"].remove(9), lambda: state["l"].pop(7),
        lambda: state["l"].__setitem__(slice(0, 2, 2), [1, 2]), lambda: state["d"].pop("k"),
        lambda: state["d"].update([("n", 2), 5]), lambda: state["d"].__delitem__("k"), lambda: state.pop("k"),
        lambda: state["l"].extend(1 // number for number in (1, 0)),
        lambda: state["l"].sort(key=lambda item: 1 // 0), lambda: state.edit("s", lambda now: now + 1),
        lambda: state.set("s", 1, expected_version=1), lambda: state.increment("s"), lambda: state.append("s", 1),
    ):  # fmt: skip
        with pytest.raises((LookupError, TypeError, ValueError, ZeroDivisionError, errors.Rejected)):
            change()
        assert record.image() == image
