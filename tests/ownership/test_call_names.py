"""Every change of a tool takes one place among the call's changes, whatever the call finds when it is run again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from ownership.records import Owners

from redstate import AsyncStore, Store
from redstate._scope import FIRST_SEQUENCE, CallPen, Scope, current
from redstate.errors import ConflictError

Change = Callable[[Any], Any]
WANTED = {"lang": "en", "turns": 0}


def missing(held: Any) -> dict[str, Any]:
    return {name: value for name, value in WANTED.items() if name not in held}


def assign_both(conversation: Any) -> None:
    with conversation.transaction():
        conversation.state.update(missing(conversation.state))


def paid_and_begun_anew(conversation: Any) -> None:
    conversation.cart.checkout("o1", expected_total="1.00")
    conversation.cart.start_over()
    conversation.cart.add("other", 1, "2.00")


# What a tool does, after what was there before; each is done twice, the second time on what the first has left.
CHANGES: dict[str, tuple[dict[str, Any], Change]] = {
    "update of what is missing": ({}, lambda c: c.state.update(missing(c.state))),
    "a transaction of what is missing": ({}, assign_both),
    "setdefault": ({}, lambda c: c.state.setdefault("a", 1)),
    "delete": ({"a": 1}, lambda c: c.state.__delitem__("a")),
    "pop": ({"a": 1}, lambda c: c.state.pop("a")),
    "pop with a default": ({"a": 1}, lambda c: c.state.pop("a", None)),
    "popitem": ({"a": 1}, lambda c: c.state.popitem()),
    "clear": ({"a": 1}, lambda c: c.state.clear()),
    "edit": ({"a": 1}, lambda c: c.state.edit("a", lambda now: 2)),
    "nested set": ({"p": {}}, lambda c: c.state["p"].__setitem__("l", "en")),
    "nested update of what is missing": ({"p": {}}, lambda c: c.state["p"].update(missing(c.state["p"]))),
    "nested setdefault": ({"p": {}}, lambda c: c.state["p"].setdefault("l", 1)),
    "nested pop": ({"p": {"x": 1}}, lambda c: c.state["p"].pop("x")),
    "nested delete": ({"p": {"x": 1}}, lambda c: c.state["p"].__delitem__("x")),
    "nested popitem": ({"p": {"x": 1}}, lambda c: c.state["p"].popitem()),
    "nested clear": ({"p": {"x": 1}}, lambda c: c.state["p"].clear()),
    "list append": ({"l": []}, lambda c: c.state["l"].append(1)),
    "list extend by what is missing": ({"l": []}, lambda c: c.state["l"].extend(missing(c.state["l"]))),
    "list remove": ({"l": [1, 2]}, lambda c: c.state["l"].remove(1)),
    "list pop": ({"l": [1]}, lambda c: c.state["l"].pop()),
    "list clear": ({"l": [1, 2]}, lambda c: c.state["l"].clear()),
    "list sort": ({"l": [2, 1]}, lambda c: c.state["l"].sort()),
    "cart remove": ({}, lambda c: c.cart.remove("sku")),
    "cart clear": ({}, lambda c: c.cart.clear()),
    "checkout": ({}, lambda c: c.cart.checkout("o1")),
    "checkout and a new cart": ({}, paid_and_begun_anew),
    "delete the conversation": ({"a": 1}, lambda c: c.delete()),
}


def places(pen: CallPen, key: str) -> int:
    """How many places the changes of one record took."""
    given_back = sum(len(numbers) for (where, _), numbers in pen._returned.items() if where == key)
    return pen._following.get(key, FIRST_SEQUENCE + 1) - FIRST_SEQUENCE - 1 - given_back


@pytest.mark.parametrize("change", CHANGES)
def test_what_follows_a_change_keeps_its_name_in_a_second_run(store: Store, prefix: str, change: str) -> None:
    before, perform = CHANGES[change]
    owners = Owners(store, prefix)
    owners.conversation.state.update(before)
    owners.conversation.cart.add("sku", 1, "1.00")
    token = owners.claim("ann").token
    taken = []
    for _ in range(2):
        pen = owners.pen("k")
        with owners.acting(token, pen):
            # The second run may find that it cannot be done, as it was.
            with contextlib.suppress(LookupError, ValueError):
                perform(owners.conversation)
            owners.store.customer("ada").increment("n")
            owners.conversation.state.increment("after")
        taken.append(places(pen, owners.key))
    assert taken[0] == taken[1]
    assert owners.conversation.state.get("after", fresh=True) == 1
    assert owners.store.customer("ada").get("n", fresh=True) == 1


def test_an_update_that_died_after_its_first_half_does_its_second(store: Store, prefix: str) -> None:
    owners = Owners(store, prefix)
    token = owners.claim("ann").token
    for died_after in (1, 2):
        with owners.acting(token, owners.pen("k")):
            owners.conversation.state.update(missing(owners.conversation.state))
            if died_after == 2:
                owners.conversation.state.update(step="booked")
    assert owners.conversation.state.all(fresh=True) == {**WANTED, "step": "booked"}


def test_who_is_refused_tries_again_under_its_own_name_and_no_other_task_takes_that(
    owned_url: str, prefix: str
) -> None:
    async def call(conversation: Any, refused: bool) -> None:
        """A tool that counts in one task, and is perhaps refused at first, while it notes something in another."""
        counting, noted = asyncio.Event(), asyncio.Event()

        async def count() -> None:
            if refused:
                with contextlib.suppress(ConflictError):
                    await conversation.state.increment("n", expected_version=1)
                counting.set()
                await noted.wait()
            await conversation.state.increment("n")
            counting.set()

        async def note() -> None:
            await counting.wait()
            await conversation.state.append("notes", "counted")
            noted.set()

        await asyncio.gather(count(), note())

    async def scenario() -> dict[str, Any]:
        async with AsyncStore.from_url(owned_url, key_prefix=prefix) as store:
            conversation = store.conversation("c1")
            for refused in (True, False):
                current.set(Scope(conversation.key, 1, CallPen(conversation.key, "a" * 16, 9_000_000_000_000_000)))
                await call(conversation, refused)
            return await conversation.state.all(fresh=True)

    assert asyncio.run(scenario()) == {"n": 1, "notes": ["counted"]}


def test_a_repeat_by_its_op_id_gives_no_name_back(store: Store, prefix: str) -> None:
    owners = Owners(store, prefix)
    token = owners.claim("ann").token
    with owners.acting(token, owners.pen("k")):
        owners.conversation.state.increment("n")
        with pytest.raises(ConflictError):
            owners.conversation.state.increment(
                "m", op_id=f"rs1q-{owners.name('k').pen}-1000000009", expected_version=1
            )
        assert owners.conversation.state.increment("n") == 2
