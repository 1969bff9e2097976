"""The judge of the soak finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from calls_soak.judge import COUNTERS, DUPLICATE, LOST, MISPLACED, MISROUTED, UNANSWERED, UNEQUAL, WRONG, judge
from calls_soak.ledger import Call

from redstate import Store
from redstate.testing.platform_calls import Response

CALLS = [
    Call("c0", "call-0", "trip", "p0", seconds=0.1),
    Call("c0", "call-1", "note", "p0", seconds=0.1),
    Call("c1", "call-0", "count", "p0", seconds=0.1),
    Call("c1", "call-1", "complain", "p0"),
]


def answer(call: Call, **differs: Any) -> Response:
    """The right answer to a call, but for what differs in its result."""
    result = {
        "mark": call.mark,
        "conversation_id": call.conversation_id,
        "call_id": call.call_id,
        "run": "a",
        **differs,
    }
    if call.tool == "complain":
        error = " ".join(result.values())
        return Response(call.call_id, call.conversation_id, "agent-1", error, None)
    return Response(call.call_id, call.conversation_id, "agent-1", None, result)


RIGHT = [answer(call) for call in CALLS]


@pytest.fixture
def found(url: str, prefix: str) -> Callable[..., list[str]]:
    """Judges the calls after something went wrong with their effects; returns the kinds of what is found."""

    def find(answers: list[Response], spoil: Callable[[Store], Any] = lambda _: None) -> list[str]:
        with Store.from_url(url, key_prefix=prefix) as store:
            first, second, customer = store.conversation("c0"), store.conversation("c1"), store.customer("p0")
            first.state["trips"] = ["trip-out c0.call-0", "trip-back c0.call-0"]
            first.state["stops"] = 3
            first.state["trip-step c0.call-0"] = 1
            first.state["log"] = {"entries": ["note c0.call-1"]}
            first.cart.add("trip-cart c0.call-0")
            second.state["count c1.call-0"] = 1
            second.state["complaints"] = ["complain c1.call-1"]
            customer.increment("trips")
            customer.increment("trip-profile c0.call-0")
            spoil(store)
        verdict = judge(url, prefix, CALLS, lambda call_id: [one for one in answers if one.call_id == call_id])
        return [kind for kind, count in verdict.counts.items() if count]

    return find


@pytest.mark.parametrize("answers", [RIGHT, [*RIGHT, *RIGHT]])
def test_it_finds_nothing_where_all_is_right(found: Callable[..., list[str]], answers: list[Response]) -> None:
    assert found(answers) == []


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        (DUPLICATE, lambda store: store.conversation("c0").state["trips"].append("trip-out c0.call-0")),
        (DUPLICATE, lambda store: store.conversation("c0").cart.add("trip-cart c0.call-0")),
        (DUPLICATE, lambda store: store.customer("p0").increment("trip-profile c0.call-0")),
        (LOST, lambda store: store.conversation("c0").state["log"]["entries"].clear()),
        (LOST, lambda store: store.conversation("c1").state.pop("count c1.call-0")),
        (LOST, lambda store: store.conversation("c0").cart.clear()),
        (MISPLACED, lambda store: store.conversation("c1").state["complaints"].append("note c0.call-1")),
        (MISPLACED, lambda store: store.customer("p0").increment("points c1.call-0")),
        (COUNTERS, lambda store: store.conversation("c0").state.increment("stops")),
        (COUNTERS, lambda store: store.customer("p0").increment("points")),
    ],
)
def test_it_finds_effects_that_are_wrong(
    found: Callable[..., list[str]], kind: str, spoil: Callable[[Store], Any]
) -> None:
    assert found(RIGHT, spoil) == [kind]


@pytest.mark.parametrize(
    ("kinds", "answers"),
    [
        ([UNANSWERED], RIGHT[1:]),
        ([UNANSWERED], RIGHT[:-1]),
        ([UNEQUAL], [*RIGHT, answer(CALLS[0], run="b")]),
        ([UNEQUAL], [*RIGHT, answer(CALLS[3], run="b")]),
        ([WRONG], [answer(CALLS[0], mark="c0.call-1"), *RIGHT[1:]]),
        ([WRONG], [answer(CALLS[0], conversation_id="c1"), *RIGHT[1:]]),
        ([WRONG], [replace(RIGHT[0], error="it failed", result=None), *RIGHT[1:]]),
        ([WRONG], [*RIGHT[:-1], answer(CALLS[3], mark="c0.call-1")]),
        ([MISROUTED], [*RIGHT, replace(RIGHT[0], conversation_id="c7")]),
    ],
)
def test_it_finds_answers_that_are_wrong(
    found: Callable[..., list[str]], kinds: list[str], answers: list[Response]
) -> None:
    assert found(answers) == kinds
