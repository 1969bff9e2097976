"""Caps on bytes with a warning before them, and the report of what is large."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from contract.records import Record

from redstate import Limits, errors

CAP = 20_000


@pytest.fixture
def conversation(open_store: Callable[..., Any]) -> Any:
    return open_store(limits=Limits(max_conversation_bytes=CAP, max_value_bytes=10_000)).conversation("conv_123")


def test_a_conversation_over_its_cap_is_refused_and_left_as_it_was(conversation: Any, record: Record) -> None:
    conversation.state.update(a="x" * 9_000, b="x" * 9_000)
    before = record.image()
    for change in (
        lambda: conversation.state.set("c", "x" * 3_000),
        lambda: conversation.state.update(c="x" * 2_000, d="x" * 2_000),
        lambda: conversation.state.append("list", "x" * 3_000),
        lambda: conversation.state.edit("c", lambda _: "x" * 3_000),
        lambda: conversation.state.setdefault("c", "x" * 3_000),
    ):
        with pytest.raises(errors.TooLarge) as refused:
            change()
        assert (refused.value.limit, refused.value.unit) == (CAP, "bytes")
        assert refused.value.actual is not None and refused.value.actual > CAP
    assert record.image() == before


def test_what_replaces_something_large_is_weighed_by_the_difference(conversation: Any) -> None:
    conversation.state.update(a="x" * 9_000, b="x" * 9_000)
    conversation.state.set("a", "y" * 9_500)
    assert conversation.state.get("a") == "y" * 9_500


def test_deleting_makes_room(conversation: Any) -> None:
    conversation.state.update(a="x" * 9_000, b="x" * 9_000)
    conversation.state.delete("a")
    conversation.state.set("c", "x" * 9_000)


def test_small_values_never_take_it_beyond_twice_the_cap(open_store: Callable[..., Any]) -> None:
    limits = Limits(max_conversation_bytes=CAP, max_fields=1_000)
    state = open_store(limits=limits).conversation("small")
    # Nineteen bytes are just below a 1,024th of the cap, and are not weighed.
    state.state.update({f"{number:03d}": "x" * 16 for number in range(1_000)})
    assert CAP < state.sizes().total < 2 * CAP


def test_the_log_warns_before_the_caps_and_shows_no_value(conversation: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "redstate"):
        conversation.state.set("large", "secret" * 1_200)
        assert caplog.records == []
        conversation.state.set("large", "secret" * 1_400)
        assert "large has 8,402 bytes; values of more than 10,000 are refused" in caplog.text
        caplog.clear()
        conversation.state.update(more="secret" * 1_300)
        assert f"at {CAP:,} further large values are refused" in caplog.text
    assert "secret" not in caplog.text


def test_the_report_names_the_largest_fields_first(conversation: Any) -> None:
    conversation.state.update(tiny=1, large="x" * 5_000, middle="x" * 500)
    conversation.cart.add("sku-1", 2, "19.99")
    report = conversation.sizes(top=2)
    assert [(field.kind, field.name) for field in report.fields] == [("state", "large"), ("state", "middle")]
    assert report.limit == CAP
    every = conversation.sizes(top=None)
    assert {field.kind for field in every.fields} == {"state", "cart line", "journal", "record"}
    assert every.total == sum(field.size for field in every.fields if field.kind != "journal")
    first, largest, *_ = str(report).splitlines()
    assert first.strip() == f"{report.total:,} of 20,000 bytes"
    assert largest.split() == ["5,008", "state", "large"]
    marked = [line.split()[1] for line in str(every).splitlines() if line.endswith("(not counted)")]
    assert marked == ["journal"]


def test_the_report_of_nothing_is_empty(conversation: Any) -> None:
    assert conversation.sizes().total == 0
