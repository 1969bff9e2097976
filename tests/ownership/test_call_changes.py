"""Changes of a tool call have names that follow from the call: run again, it makes only those that are missing."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from contract.workflows import BOOKING
from ownership.records import Owners

from redstate import CartLimits, Store
from redstate._scope import KEPT, Phase
from redstate.errors import CartLimit, DeadlineExceeded, OperationMismatch, StaleOperation

DATES = {"check_in": date(2030, 1, 1), "check_out": date(2030, 1, 5)}


@pytest.fixture
def owners(store: Store, prefix: str) -> Owners:
    return Owners(store, prefix)


@pytest.fixture
def token(owners: Owners) -> int:
    token = owners.claim("ann").token
    owners.begin("k", token)
    return token


def book(owners: Owners, token: int, changes: int) -> list[Any]:
    """A tool that makes five changes, of which it gets to make so many. Returns their results."""
    conversation, customer = owners.conversation, owners.store.customer("ada")
    steps = [
        lambda: conversation.state.increment("n"),
        lambda: conversation.cart.add("sku", 2, "9.99"),
        lambda: conversation.state.append("log", "booked"),
        lambda: customer.increment("bookings"),
        lambda: conversation.state.increment("n", 10),
    ]
    with owners.acting(token, owners.pen("k")):
        return [step() for step in steps[:changes]]


@pytest.mark.parametrize("died_after", range(6))
def test_a_call_that_died_half_way_makes_only_what_is_missing_when_it_runs_again(
    owners: Owners, token: int, died_after: int
) -> None:
    first = book(owners, token, died_after)
    newer = owners.claim("bob", gone="ann").token
    owners.begin("k", newer, attempt="b")
    again = book(owners, newer, 5)
    assert again[:died_after] == first
    assert owners.conversation.state.all(fresh=True) == {"n": 11, "log": ["booked"]}
    assert owners.conversation.cart.count() == 2
    assert owners.store.customer("ada").get("bookings", fresh=True) == 1


def test_reading_before_writing_is_safe_as_the_change_is_known_by_its_place(owners: Owners, token: int) -> None:
    for _ in range(2):
        with owners.acting(token, owners.pen("k")):
            seen = owners.conversation.state.get("n", 0, fresh=True)
            owners.conversation.state.set("n", seen + 1)
    assert owners.conversation.state.get("n", fresh=True) == 1


def test_nested_changes_and_transactions_are_made_once(owners: Owners, token: int) -> None:
    owners.conversation.state.set("a", {"list": []})
    for _ in range(3):
        with owners.acting(token, owners.pen("k")):
            owners.conversation.state["a"]["list"].append(1)
            with owners.conversation.transaction():
                owners.conversation.state["b"] = owners.conversation.state.get("b", 0) + 1
    assert owners.conversation.state.all(fresh=True) == {"a": {"list": [1]}, "b": 1}


def test_changes_that_turn_out_to_be_none_when_they_are_repeated_keep_their_places(owners: Owners, token: int) -> None:
    conversation, customer = owners.conversation, owners.store.customer("ada")
    conversation.state.set("a", {"x": 0, "y": 0})
    steps = [
        lambda: conversation.state["a"].update(x=1),
        lambda: conversation.state["a"].update(y=1),
        lambda: conversation.state.setdefault("b", []),
        lambda: conversation.state.append("b", 1),
        lambda: customer.link("c1"),
        lambda: customer.increment("n"),
    ]
    for died_after in range(len(steps) + 1):
        with owners.acting(token, owners.pen("k")):
            for step in steps[:died_after]:
                step()
    state = conversation.state.all(fresh=True)
    assert state == {"a": {"x": 1, "y": 1}, "b": [1]}
    assert customer.get("n", fresh=True) == 1


def test_clearing_what_is_clear_is_remembered_too(owners: Owners, token: int) -> None:
    for _ in range(2):
        with owners.acting(token, owners.pen("k")):
            owners.conversation.state.clear()
            owners.conversation.state.set("a", 1)
    assert owners.conversation.state.all(fresh=True) == {"a": 1}


def test_nothing_comes_into_being_by_a_change_that_was_none(owners: Owners, token: int) -> None:
    with owners.acting(token, owners.pen("k")):
        owners.conversation.state.clear()
    assert (owners.conversation.exists(), owners.conversation.version()) == (False, 0)


def test_steps_of_a_workflow_that_were_taken_are_not_refused_when_they_are_repeated(owners: Owners, token: int) -> None:
    for _ in range(2):
        with owners.acting(token, owners.pen("k")):
            booking = owners.conversation.workflow(BOOKING)
            steps = [booking.start(), booking.advance("collecting_dates"), booking.advance(**DATES)]
            assert steps == ["initial", "collecting_dates", "collecting_guests"]
            owners.conversation.state.increment("n")
    assert owners.conversation.workflow(BOOKING).status(fresh=True).step == "collecting_guests"
    assert owners.conversation.state.get("n", fresh=True) == 1


def test_a_change_that_met_another_writers_keeps_its_name_when_it_is_made_again(
    owners: Owners, token: int, store: Store
) -> None:
    owners.conversation.state.set("a", [])
    with owners.acting(token, owners.pen("k")):
        live = owners.conversation.state["a"]
        supervisor(store).append("a", "s")  # so the first attempt finds another value
        live.insert(0, "first")
        owners.conversation.state.increment("n")
    with owners.acting(token, owners.pen("k")):
        owners.conversation.state["a"].insert(0, "first")
        owners.conversation.state.increment("n")
    assert owners.conversation.state.all(fresh=True) == {"a": ["first", "s"], "n": 1}


def supervisor(store: Store) -> Any:
    """The conversation's state as who is no owner changes it."""
    from redstate._scope import current

    class State:
        def append(self, field: str, item: str) -> None:
            before = current.set(None)
            try:
                store.conversation("c1").state.append(field, item)
            finally:
                current.reset(before)

    return State()


def test_a_refused_change_has_a_name_of_its_own(owners: Owners, token: int, store: Store) -> None:
    for _ in range(2):
        with owners.acting(token, owners.pen("k")):
            cart = store.conversation("c1", cart_limits=CartLimits(max_quantity=5)).cart
            with pytest.raises(CartLimit):
                cart.add("sku", 9)
            cart.add("sku", 2)
    assert owners.conversation.cart.count() == 2


def test_another_change_in_the_place_of_one_that_was_made_is_refused(owners: Owners, token: int) -> None:
    with owners.acting(token, owners.pen("k")):
        owners.conversation.state.increment("n")
    with owners.acting(token, owners.pen("k")), pytest.raises(OperationMismatch):
        owners.conversation.cart.add("sku", 1)


def test_calls_do_not_share_names(owners: Owners, token: int, store: Store, prefix: str) -> None:
    other = Owners(store, prefix, "c2")
    for call_id in ("k", "l"):
        with owners.acting(token, owners.pen(call_id)):
            owners.conversation.state.increment("n")
    with other.acting(other.claim("ann").token, other.pen("k")):
        other.conversation.state.increment("n")
    assert (owners.conversation.state["n"], other.conversation.state["n"]) == (2, 1)


def test_an_op_id_of_the_callers_own_wins(owners: Owners, token: int) -> None:
    for call_id in ("k", "l"):
        with owners.acting(token, owners.pen(call_id)):
            owners.conversation.state.increment("n", op_id="mine")
    assert owners.conversation.state["n"] == 1


def test_the_answer_folds_the_changes_into_one_entry_and_refuses_stragglers(
    owners: Owners, token: int, raw: Any
) -> None:
    pen = owners.pen("k")
    with owners.acting(token, pen):
        for _ in range(20):
            owners.conversation.state.increment("n")
        before = raw.hstrlen(owners.key, owners.name("k").journal)
        owners.finish("k", token, b'"done"')
        assert raw.hstrlen(owners.key, owners.name("k").journal) < 60 < before
        with pytest.raises(StaleOperation):
            owners.conversation.state.increment("n")
        pen.phase = Phase.EXPIRED
        with pytest.raises(DeadlineExceeded):
            owners.conversation.state.increment("n")
        # What a call that was answered has left running writes on its own account.
        pen.phase = Phase.ANSWERED
        owners.conversation.state.increment("n")
    assert owners.conversation.state["n"] == 21


def test_the_journal_of_a_call_is_bounded_however_much_it_changes(owners: Owners, token: int, raw: Any) -> None:
    pen = owners.pen("k")
    with owners.acting(token, pen):
        for _ in range(3 * KEPT):
            owners.conversation.state.increment("n")
    assert raw.hstrlen(owners.key, owners.name("k").journal) < 2 * KEPT * 50
    # Within the window it is remembered, before it is refused, and never made twice.
    with owners.acting(token, owners.pen("k")), pytest.raises(StaleOperation):
        owners.conversation.state.increment("n")
    assert owners.conversation.state["n"] == 3 * KEPT


def test_a_late_change_is_refused_by_the_servers_clock(owners: Owners, token: int, raw: Any) -> None:
    seconds, micros = raw.time()
    now = seconds * 1_000_000 + micros
    with owners.acting(token, owners.pen("k", deadline_us=now - 1)), pytest.raises(DeadlineExceeded):
        owners.conversation.state.increment("n")
    with owners.acting(token, owners.pen("k", deadline_us=now + 60_000_000)):
        owners.conversation.state.increment("n")
    assert owners.conversation.state == {"n": 1}


def test_a_late_change_of_a_customer_is_refused_as_well(owners: Owners, token: int) -> None:
    with owners.acting(token, owners.pen("k", deadline_us=1)), pytest.raises(DeadlineExceeded):
        owners.store.customer("ada").update(tier="gold")
    assert not owners.store.customer("ada").exists()


def test_the_journals_of_calls_on_a_customer_are_bounded(owners: Owners, token: int, raw: Any) -> None:
    customer = owners.store.customer("ada")
    for number in range(1_100):
        with owners.acting(token, owners.pen(f"k{number}")):
            customer.increment("n")
    journals = [name for name in raw.hkeys(customer.key) if name[0] == "i"]
    assert len(journals) == 1_024 + 1
    # Within the window nothing is counted twice, however many calls came in between.
    for number in (1_099, 600, 100):
        with owners.acting(token, owners.pen(f"k{number}")):
            customer.increment("n")
    assert customer.get("n", fresh=True) == 1_100


def test_journals_of_calls_on_a_customer_go_when_they_were_silent_for_long(
    owners: Owners, token: int, raw: Any
) -> None:
    customer = owners.store.customer("ada")
    with owners.acting(token, owners.pen("old")):
        customer.increment("n")
    field = "i" + owners.name("old").pen
    entry = raw.hget(customer.key, field)
    version = str(int(entry.split(" ")[1]) - 601_000_000)
    raw.hset(customer.key, field, entry.replace(entry.split(" ")[1], version))
    with owners.acting(token, owners.pen("new")):
        customer.increment("n")
    assert [name for name in raw.hkeys(customer.key) if name[0] == "i"] == ["i", "i" + owners.name("new").pen]
