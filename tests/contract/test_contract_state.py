"""What a conversation's state promises."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from redstate import Limits, errors


def test_a_field_comes_back_as_it_was_set(conversation: Any) -> None:
    conversation.state.set("preferences", {"lang": "en", "tags": ["a", "b"]})
    assert conversation.state.get("preferences") == {"lang": "en", "tags": ["a", "b"]}


def test_an_absent_field_is_the_default(conversation: Any) -> None:
    assert conversation.state.get("nothing") is None
    assert conversation.state.get("nothing", 7) == 7


def test_a_stored_none_is_not_absent(conversation: Any) -> None:
    conversation.state.set("answer", None)
    assert conversation.state.get("answer", "default") is None
    assert conversation.state.all() == {"answer": None}


def test_setting_again_replaces(conversation: Any) -> None:
    conversation.state.set("step", "greeting")
    conversation.state.set("step", ["other", "type"])
    assert conversation.state.get("step") == ["other", "type"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        2**53 + 1,
        2**63 - 1,
        2**200,
        0.1,
        0.30000000000000004,
        1e300,
        "",
        "text",
        "\r\n\0",
        "{}",
        "ünïcode \U0001f600",
        [],
        {},
        [[]],
        {"": ""},
        (),
        (1, "a"),
        set(),
        {1, 2},
        frozenset({3}),
        b"",
        b"\xff\x00",
        Decimal("19.990"),
        datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2024, 1, 1),
        date(1, 1, 1),
        timedelta(days=-1, microseconds=1),
        UUID(int=7),
        {1: "int key"},
        {"~": 1},
        {"a": [{"b": (1, {2})}]},
    ],
    ids=repr,
)
def test_value_and_type_survive_the_round_trip(conversation: Any, value: Any) -> None:
    conversation.state.set("value", value)
    found = conversation.state.all()["value"]
    assert (found, type(found)) == (value, type(value))
    assert conversation.state.get("value") == value
    assert isinstance(conversation.state.get("value"), type(value))


def test_update_sets_several_fields_at_one_version(conversation: Any) -> None:
    version = conversation.state.update({"not a name": 1, "step": "overridden"}, step="greeting", turns=0)
    assert conversation.state.all() == {"not a name": 1, "step": "greeting", "turns": 0}
    assert conversation.version() == version


def test_update_takes_what_dict_takes(conversation: Any) -> None:
    conversation.state.update([("a", 1), ("b", 2)], c=3)
    version = conversation.version()
    assert conversation.state.update({}) == conversation.state.update() == version
    assert conversation.state.all() == {"a": 1, "b": 2, "c": 3}


def test_update_of_no_mapping_is_refused(conversation: Any) -> None:
    for values in (["a", 1], "abc", 7, [(1, 2, 3)]):
        with pytest.raises(errors.InvalidField):
            conversation.state.update(values)
    assert not conversation.exists()


def test_one_bad_value_keeps_the_whole_update_out(conversation: Any) -> None:
    with pytest.raises(errors.UnsupportedValue) as caught:
        conversation.state.update(good=1, bad={"deep": [float("nan")]})
    assert caught.value.path == "bad.deep[0]"
    assert not conversation.exists()


def test_delete_says_how_many_fields_there_were(conversation: Any) -> None:
    conversation.state.update(a=1, b=2, c=3)
    assert conversation.state.delete("a", "b", "never") == 2
    assert conversation.state.all() == {"c": 3}
    assert conversation.state.delete("a") == 0


def test_delete_of_no_field_is_refused(conversation: Any) -> None:
    with pytest.raises(errors.InvalidField):
        conversation.state.delete()


def test_increment_counts_from_zero_and_returns_the_value(conversation: Any) -> None:
    counted = [conversation.state.increment("turns"), conversation.state.increment("turns", 5)]
    counted.append(conversation.state.increment("turns", -10))
    assert counted == [1, 6, -4]
    assert conversation.state.get("turns") == -4


def test_increment_goes_on_from_a_value_that_was_set(conversation: Any) -> None:
    conversation.state.set("turns", 41)
    assert conversation.state.increment("turns") == 42


def test_increment_is_exact_to_the_ends_of_64_bits(conversation: Any) -> None:
    assert conversation.state.increment("n", 2**53) == 2**53
    assert conversation.state.increment("n") == 2**53 + 1
    assert conversation.state.increment("n", 2**63 - 2**53 - 2) == 2**63 - 1
    assert conversation.state.get("n") == 2**63 - 1
    assert conversation.state.increment("m", -(2**63)) == -(2**63)


def test_increment_out_of_64_bits_is_refused(conversation: Any) -> None:
    conversation.state.set("n", 2**63 - 1)
    with pytest.raises(errors.WrongType) as caught:
        conversation.state.increment("n")
    assert (caught.value.key, caught.value.field) == (conversation.key, "n")
    assert conversation.state.get("n") == 2**63 - 1


@pytest.mark.parametrize("value", ["text", "1", 1.0, [1], None, True, 2**64], ids=repr)
def test_increment_of_what_is_no_whole_number_is_refused(conversation: Any, value: Any) -> None:
    conversation.state.set("n", value)
    with pytest.raises(errors.WrongType):
        conversation.state.increment("n")
    assert conversation.state.get("n") == value


@pytest.mark.parametrize("by", [1.0, "1", True, None, 2**63, -(2**63) - 1], ids=repr)
def test_increment_by_what_is_no_64_bit_int_is_refused(conversation: Any, by: Any) -> None:
    with pytest.raises(errors.UnsupportedValue):
        conversation.state.increment("n", by)
    assert not conversation.exists()


def test_append_grows_a_list_from_nothing_and_keeps_order_and_types(conversation: Any) -> None:
    items = [1, "two", {"three": [3]}, None, [], Decimal("4.50"), (5,), datetime(2024, 1, 1, tzinfo=UTC)]
    for item in items:
        conversation.state.append("history", item)
    found = conversation.state.all()["history"]
    assert (found, list(map(type, found))) == (items, list(map(type, items)))


def test_append_goes_on_from_a_list_that_was_set(conversation: Any) -> None:
    conversation.state.update(empty=[], some=[1, Decimal("2.0")])
    conversation.state.append("empty", "x")
    conversation.state.append("some", "x")
    assert conversation.state.all() == {"empty": ["x"], "some": [1, Decimal("2.0"), "x"]}


@pytest.mark.parametrize("value", ["text", "[]", "[1]", 1, {}, {"a": [1]}, None, (1, 2), {1}, b"[]"], ids=repr)
def test_append_to_what_is_no_list_is_refused(conversation: Any, value: Any) -> None:
    conversation.state.set("history", value)
    with pytest.raises(errors.WrongType):
        conversation.state.append("history", 1)
    assert conversation.state.get("history") == value


def test_append_past_the_cap_on_bytes_is_refused(open_store: Any) -> None:
    conversation = open_store(limits=Limits(max_value_bytes=20)).conversation("c")
    conversation.state.append("list", "12345678")
    with pytest.raises(errors.TooLarge) as caught:
        conversation.state.append("list", "12345678")
    assert (caught.value.limit, caught.value.actual, caught.value.unit) == (20, 23, "bytes")
    assert conversation.state.get("list") == ["12345678"]


def test_all_of_nothing_is_empty(conversation: Any) -> None:
    assert conversation.state.all() == {}


def test_names_of_the_record_itself_are_free_for_fields(conversation: Any) -> None:
    names = {name: name for name in ("v", "f", "d", "j", "s", "c", "sv", "tag", "{}", "a b", "é", "\r\n", "\0")}
    conversation.state.update(names)
    assert conversation.state.all() == names
    assert conversation.cart.lines() == {}


@pytest.mark.parametrize("field", ["", None, 7, b"bytes", "x" * 257, "é" * 129, "\ud800"], ids=repr)
def test_a_field_that_cannot_be_a_name_is_refused_before_anything_is_sent(conversation: Any, field: Any) -> None:
    state = conversation.state
    for change in (
        lambda: state.set(field, 1),
        lambda: state.increment(field),
        lambda: state.append(field, 1),
        lambda: state.delete(field),
        lambda: state.get(field),
        lambda: state.update({field: 1}),
    ):
        with pytest.raises(errors.InvalidField):
            change()
    assert not conversation.exists()


def test_as_many_fields_as_the_cap_allows_go_in_one_update(open_store: Any) -> None:
    conversation = open_store(limits=Limits(max_fields=3_500)).conversation("c")
    values = {f"field-{number}": number for number in range(3_500)}
    conversation.state.update(values)
    assert conversation.state.all() == values
    assert conversation.state.delete(*values) == len(values)
    assert conversation.state.all() == {}
