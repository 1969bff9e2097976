"""A change that is made on a copy leaves it as the server's script leaves the record, byte for byte."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redstate import Store, errors

NAMES = st.sampled_from(["a", "b", "c", "ä", "long" * 10])
SKUS = st.sampled_from(["tea", "mug", "cup"])
VALUES = st.one_of(st.integers(-5, 5), st.text(max_size=3), st.lists(st.integers(0, 3), max_size=3), st.none())
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)),
        st.tuples(st.just("increment"), NAMES, st.integers(-3, 3)),
        st.tuples(st.just("append"), NAMES, VALUES),
        st.tuples(st.just("delete"), st.lists(NAMES, min_size=1, max_size=3)),
        st.tuples(st.just("pop"), NAMES),
        st.tuples(st.just("popitem")),
        st.tuples(st.just("edit"), NAMES, VALUES),
        st.tuples(st.just("transaction"), NAMES, NAMES, VALUES),
        st.tuples(st.just("add"), SKUS, st.integers(1, 3), st.sampled_from([None, "1.50", "2"])),
        st.tuples(st.just("quantity"), SKUS, st.integers(1, 9)),
        st.tuples(st.just("remove"), SKUS),
    ),
    min_size=1,
    max_size=12,
)
_numbers = itertools.count()


@pytest.fixture
def colour() -> str:
    return "sync"  # both make a copy's change by the same code


def perform(conversation: Any, step: tuple[Any, ...]) -> None:
    """Make one change; a refused one is none."""
    verb, *rest = step
    state, cart = conversation.state, conversation.cart
    try:
        if verb == "set":
            state.update(rest[0])
        elif verb == "increment":
            state.increment(*rest)
        elif verb == "append":
            state.append(*rest)
        elif verb == "delete":
            state.delete(*rest[0])
        elif verb == "pop":
            state.pop(rest[0], None)
        elif verb == "popitem":
            state.popitem()
        elif verb == "edit":
            state.edit(rest[0], lambda old: rest[1])
        elif verb == "transaction":
            with conversation.transaction():
                state.delete(rest[0])
                state.set(rest[1], rest[2])
        elif verb == "add":
            cart.add(rest[0], rest[1], rest[2])
        elif verb == "quantity":
            cart.set_quantity(*rest)
        else:
            cart.remove(rest[0])
    except (errors.Rejected, KeyError):
        pass


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_copy_after_any_changes_is_what_the_server_holds(
    open_store: Any, raw: redis.Redis, steps: list[tuple[Any, ...]]
) -> None:
    store: Store = open_store()
    conversation = store.conversation(f"c{next(_numbers)}")
    conversation.state.set("first", 1)
    conversation.state.all()
    for step in steps:
        perform(conversation, step)
        image = conversation._record.held()
        if image is not None:
            fields = {name: value for name, value in raw.hgetall(conversation.key).items() if name[:1] not in b"jh"}
            assert image.fields == fields
            assert image.snapshot(conversation.key).state == dict(
                zip(
                    fields_in_order(fields),
                    [fields[b"s" + name.encode()] for name in fields_in_order(fields)],
                    strict=True,
                )
            )
        conversation.state.all()
    store.close()


def fields_in_order(fields: dict[bytes, bytes]) -> list[str]:
    """The names of the state fields as the index has them."""
    index, names, at = fields.get(b"k", b""), [], 0
    while at < len(index):
        end = at + 2 + index[at]
        names.append(index[at + 1 : end].decode())
        at = end
    return names
