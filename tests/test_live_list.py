"""Lists inside the state: elements that are kept while others change the list around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
def rows(conversations: list[Any]) -> Any:
    """A list of rows in the state."""
    conversations[0].state["rows"] = [{"id": number} for number in range(4)]
    return conversations[0].state["rows"]


@pytest.fixture
def theirs(rows: Any, conversations: list[Any]) -> Any:
    """The same list in another writer's hands."""
    return conversations[1].state["rows"]


@pytest.fixture
def record(url: str, conversations: list[Any]) -> Iterator[Record]:
    with redis.Redis.from_url(url) as raw:
        yield Record(raw, conversations[0].key)


MOVES: dict[str, Callable[[Any], Any]] = {
    "insert before": lambda rows: rows.insert(0, {"id": 9}),
    "insert several": lambda rows: rows.__setitem__(slice(1, 1), [{"id": 8}, {"id": 9}]),
    "insert behind": lambda rows: rows.insert(3, {"id": 9}),
    "append": lambda rows: rows.append({"id": 9}),
    "remove before": lambda rows: rows.pop(0),
    "remove behind": lambda rows: rows.pop(),
    "remove all others": lambda rows: rows.__setitem__(slice(None), [{"id": 2}]),
    "reverse": lambda rows: rows.reverse(),
    "sort": lambda rows: rows.sort(key=lambda row: -row["id"]),
    "swap": lambda rows: rows.__setitem__(slice(None), [rows[2], rows[1], rows[0], rows[3]]),
    "one goes, one comes": lambda rows: (rows.pop(0), rows.append({"id": 9})),
    "change the neighbours": lambda rows: (rows[1].update(n=1), rows[3].update(n=1)),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("seen", [False, True], ids=["list not looked at", "list looked at"])
def test_a_kept_element_is_followed_wherever_it_goes(rows: Any, theirs: Any, move: str, seen: bool) -> None:
    kept = rows[2]
    MOVES[move](theirs)
    if seen:
        len(rows)  # what is known of the list is then newer than what is known of the element
    kept["mine"] = True
    assert [row["id"] for row in theirs if "mine" in row] == [2]
    assert kept == {"id": 2, "mine": True}


CHANGED: dict[str, Callable[[Any], Any]] = {
    "where it stands": lambda rows: None,
    "others too": lambda rows: rows[0].update(n=1),
    "something before it": lambda rows: rows.insert(0, {"id": 9}),
    "something behind it": lambda rows: rows.append({"id": 9}),
    "one gone, one come": lambda rows: (rows.pop(0), rows.append({"id": 9})),
}


@pytest.mark.parametrize("look", [False, True], ids=["list not looked at", "list looked at"])
@pytest.mark.parametrize("change", CHANGED)
def test_an_element_that_others_change_is_still_itself(rows: Any, theirs: Any, change: str, look: bool) -> None:
    kept = rows[2]
    theirs[2]["n"] = 1
    CHANGED[change](theirs)
    if look:
        len(rows)  # what is known of the list is then newer than what is known of the element
    assert kept == {"id": 2, "n": 1}
    kept["mine"] = True
    assert [row for row in theirs if "mine" in row] == [{"id": 2, "n": 1, "mine": True}]


@pytest.mark.parametrize("look", [False, True], ids=["list not looked at", "list looked at"])
@pytest.mark.parametrize(
    "move",
    [
        lambda rows: rows.pop(2),
        lambda rows: (rows.pop(2), rows.append({"id": 9})),
        lambda rows: (rows.pop(2), rows.insert(0, {"id": 9})),
        lambda rows: rows.__setitem__(slice(1, 3), [{"id": 9}]),
        lambda rows: rows.clear(),
    ],
    ids=["gone", "one came behind", "one came before", "two gone, one came", "cleared"],
)
def test_a_change_never_falls_on_a_neighbour(
    rows: Any, theirs: Any, record: Record, move: Callable[[Any], Any], look: bool
) -> None:
    kept, inner = rows[2], rows[2]
    move(theirs)
    if look:
        len(rows)
    image = record.image()
    for change in (lambda: kept.update(mine=1), lambda: kept.setdefault("mine", []), lambda: inner.pop("id")):
        with pytest.raises(errors.Detached):
            change()
    assert record.image() == image
    assert kept["id"] == 2  # it can still be looked at, as an object in memory could


def test_equal_neighbours_are_told_apart_by_what_stands_around_them(conversations: list[Any]) -> None:
    state, elsewhere = (one.state for one in conversations)
    state["l"] = [[], [], []]
    last = state["l"][2]
    elsewhere["l"].insert(0, [9])
    last.append(1)
    assert elsewhere["l"] == [[9], [], [], [1]]


def test_elements_of_elements_are_followed_too(conversations: list[Any]) -> None:
    state, elsewhere = (one.state for one in conversations)
    state["l"] = [[[1], [2]], [[3], [4]]]
    kept = state["l"][1][1]
    elsewhere["l"].insert(0, [])
    elsewhere["l"][2].insert(0, [0])
    kept.append("x")
    assert elsewhere["l"] == [[], [[1], [2]], [[0], [3], [4, "x"]]]
    elsewhere["l"].pop(1)
    kept.append("y")
    assert elsewhere["l"] == [[], [[0], [3], [4, "x", "y"]]]


def test_two_elements_change_places(rows: Any) -> None:
    rows[0], rows[3] = rows[3], rows[0]
    assert [row["id"] for row in rows] == [3, 1, 2, 0]


def test_an_element_comes_out_whole_and_stays_the_callers(rows: Any) -> None:
    taken = rows.pop(1)
    taken["id"] = "changed"
    assert type(taken) is dict
    assert rows == [{"id": 0}, {"id": 2}, {"id": 3}]


def test_changes_of_what_was_read_reach_the_state(rows: Any) -> None:
    for row in rows:
        row["seen"] = True
    for row in rows[1:3]:
        row["twice"] = True
    rows[-1]["tags"] = []
    rows[-1]["tags"] += ["a"]
    rows[-1]["tags"].append("b")
    assert rows == [
        {"id": 0, "seen": True},
        {"id": 1, "seen": True, "twice": True},
        {"id": 2, "seen": True, "twice": True},
        {"id": 3, "seen": True, "tags": ["a", "b"]},
    ]


def test_own_changes_show_in_every_handle_that_is_kept(conversations: list[Any], rows: Any) -> None:
    again, first = conversations[0].state["rows"], rows[0]
    rows.append({"id": 4})
    again[0]["n"] = 1
    assert len(again) == len(rows) == 5
    assert first == rows[0] == {"id": 0, "n": 1}


def test_a_list_that_another_writer_replaced_goes_on(conversations: list[Any], rows: Any) -> None:
    conversations[1].state["rows"] = ["new"]
    rows.append("ours")
    assert conversations[1].state["rows"] == ["new", "ours"]
    conversations[1].state["rows"] = {"not": "a list"}
    for change in (lambda: rows.append(1), rows.clear, lambda: rows.insert(0, 1)):
        with pytest.raises(errors.Detached):
            change()
    assert conversations[1].state == {"rows": {"not": "a list"}}


def test_a_list_grown_to_its_cap_by_appending_can_be_made_shorter(url: str, prefix: str) -> None:
    with Store.from_url(url, key_prefix=prefix, limits=Limits(max_value_bytes=50)) as store:
        items = store.conversation("c").state.setdefault("l", [])
        with pytest.raises(errors.TooLarge):
            while True:
                items.append(12)
        while items:
            items.pop(0)
        assert items == []


def test_an_append_is_one_change_and_needs_no_reading(conversations: list[Any], rows: Any, record: Record) -> None:
    with record.raw.monitor() as monitor:
        rows.append({"id": 4})
        record.raw.echo("end of the append")
        seen = []
        for event in monitor.listen():
            words = event["command"].split()
            if words[0] == "ECHO":
                break
            if record.key in event["command"]:
                seen.append((words[0], event["client_type"]))
    assert [name for name, client in seen if client != "lua"] == ["EVALSHA"]
