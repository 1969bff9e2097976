"""Operations of one thread, one after the other: ``pytest bench --benchmark-only``."""

from __future__ import annotations

from typing import Any

import pytest

import redstate
from bench.typical import STATE
from redstate._codec import Codec

_VALUES = {"int": 14, "text": STATE["summary"], "dict": STATE["workflow"], "with a datetime": STATE["session"]}


def test_cart_add(benchmark: Any, conversation: redstate.Conversation) -> None:
    benchmark(conversation.cart.add, "sku", 1, "19.99")
    assert conversation.cart.count() > 0


def test_state_set(benchmark: Any, conversation: redstate.Conversation) -> None:
    benchmark(conversation.state.set, "workflow", STATE["workflow"])
    assert conversation.state.get("workflow") == STATE["workflow"]


def test_state_get(benchmark: Any, conversation: redstate.Conversation) -> None:
    conversation.state.set("workflow", STATE["workflow"])
    assert benchmark(conversation.state.get, "workflow") == STATE["workflow"]


def test_state_increment(benchmark: Any, conversation: redstate.Conversation) -> None:
    benchmark(conversation.state.increment, "turns")
    assert conversation.state.get("turns") > 0


def test_state_all(benchmark: Any, conversation: redstate.Conversation) -> None:
    conversation.state.update(STATE)
    assert benchmark(conversation.state.all) == STATE


@pytest.mark.parametrize("kind", _VALUES)
def test_encode(benchmark: Any, kind: str) -> None:
    assert benchmark(Codec().encode, _VALUES[kind], kind)


@pytest.mark.parametrize("kind", _VALUES)
def test_decode(benchmark: Any, kind: str) -> None:
    codec = Codec()
    encoded = codec.encode(_VALUES[kind], kind)
    assert benchmark(codec.decode, encoded, key="key", field="field") == _VALUES[kind]
