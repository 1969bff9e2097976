"""Hostile ids: whatever they hold, each has a key of its own, in the slot that its tag says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redstate import errors
from redstate._keys import conversation_key, decode_conversation_key

HOSTILE = [
    "}",
    "{",
    "{}",
    "a}:cust:{b",
    "}{",
    "a b",
    "a\nb",
    "a\r\nSET x y\r\n",
    "\0",
    "%7D",
    "%",
    "é",
    "\U0001f600",
    "..",
    "/",
    "*",
    "conv:a",
    "rs:{conv:a}",
    "a" * 512,
    "é" * 256,
    " ",
    "\t",
]
VALID_IDS = st.text(min_size=1, max_size=120).filter(lambda text: len(text.encode("utf-8", "replace")) <= 512)
TEXTS = VALID_IDS.filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))


def hash_tag(key: str) -> str:
    """The part of a key that decides its slot, as Redis Cluster reads it."""
    start = key.index("{")
    return key[start + 1 : key.index("}", start + 1)]


@given(TEXTS)
@example("a}:cust:{b")
@example("%41")
def test_the_whole_id_is_in_the_hash_tag(conversation_id: str) -> None:
    key = conversation_key("rs", conversation_id)
    assert key == "rs:{" + hash_tag(key) + "}"
    assert hash_tag(key).startswith("conv:") and len(hash_tag(key)) > len("conv:")
    assert key.isascii() and key.isprintable() and " " not in key


@given(TEXTS)
def test_the_id_can_be_read_back_from_its_key(conversation_id: str) -> None:
    assert decode_conversation_key("rs", conversation_key("rs", conversation_id)) == conversation_id


@given(TEXTS, TEXTS)
@example("A", "%41")
@example("a}:{conv:b", "b")
def test_two_ids_never_share_a_key(one: str, two: str) -> None:
    assert (conversation_key("rs", one) == conversation_key("rs", two)) == (one == two)


def test_hostile_ids_are_conversations_like_any_other(store: Any, prefix: str, raw: Any) -> None:
    for conversation_id in HOSTILE:
        conversation = store.conversation(conversation_id)
        conversation.state.set("id", conversation_id)
        assert conversation.id == conversation_id
    for conversation_id in HOSTILE:
        assert store.conversation(conversation_id).state.all() == {"id": conversation_id}
    assert len(list(raw.scan_iter(f"{prefix}:*", count=10_000))) == len(HOSTILE)


@pytest.mark.parametrize(
    "conversation_id",
    ["", "x" * 513, "x" * 10_240, "é" * 257, "\n" * 513, "\ud800", None, 7, b"bytes"],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_an_id_is_refused(store: Any, conversation_id: Any) -> None:
    with pytest.raises(errors.InvalidId) as caught:
        store.conversation(conversation_id)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key_prefix", ["", "a{b", "a}b", "a b", "a\n", "x" * 65, "é", 7, None], ids=repr)
def test_a_key_prefix_that_could_hijack_a_slot_is_refused(open_store: Any, key_prefix: Any) -> None:
    with pytest.raises(errors.ConfigurationError):
        open_store(key_prefix=key_prefix)
