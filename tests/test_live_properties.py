"""Random operations on live values and on plain ``dict`` and ``list``, by two writers in turn: the same outcomes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_models import DICT_ACTS, DICTS, LIST_ACTS, ROUTES, act_of, on_model, outcome, same, walk_to

from redstate import Limits, Store

_numbers = itertools.count()
ACTS = st.lists(st.tuples(ROUTES, DICT_ACTS, LIST_ACTS), max_size=12)
RANDOM = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def writers(server: Any) -> Iterator[list[Store]]:
    """Two stores on one server, each with a handle of its own."""
    limits = Limits(max_value_bytes=10**6)
    with (
        Store.from_url(server.url, key_prefix="live-model", limits=limits) as one,
        Store.from_url(server.url, key_prefix="live-model", limits=limits) as other,
    ):
        yield [one, other]


def conversations(writers: list[Store]) -> list[Any]:
    name = f"c{next(_numbers)}"
    return [writer.conversation(name) for writer in writers]


@RANDOM
@given(start=DICTS, acts=ACTS)
def test_two_writers_in_turn_do_what_a_dict_does(writers: list[Store], start: dict[str, Any], acts: list[Any]) -> None:
    handles = [conversation.state for conversation in conversations(writers)]
    handles[0].update(start)
    model = start
    for turn, (route, dict_act, list_act) in enumerate(acts):
        act, walk = act_of(dict_act, list_act), walk_to(route)
        expected, model = on_model(act, model, walk)
        found = outcome(act, walk(handles[turn % 2]))
        assert same(found, expected)
        assert same(handles[(turn + 1) % 2].copy(), model)


@RANDOM
@given(start=DICTS, acts=ACTS)
def test_a_transaction_does_what_a_dict_does(writers: list[Store], start: dict[str, Any], acts: list[Any]) -> None:
    conversation, elsewhere = conversations(writers)
    state, other = conversation.state, elsewhere.state
    state.update(start)
    before, version = start, conversation.version()
    model = start
    with conversation.transaction():
        for route, dict_act, list_act in acts:
            act, walk = act_of(dict_act, list_act), walk_to(route)
            expected, model = on_model(act, model, walk)
            assert same(outcome(act, walk(state)), expected)
        assert same(state.copy(), model)
        assert same(other.copy(), before)
    assert same(other.copy(), model)
    if not same(before, model):
        assert conversation.version() > version
