"""What a checkout promises: a cart becomes an order exactly once, and the order stays as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
import servers
from contract.facade import Stores
from contract.records import Record

from redstate import Limits, Order, errors
from redstate.testing.proxy import FaultProxy

WORKER = Path(__file__).with_name("checkout_worker.py")


@pytest.fixture
def cart(conversation: Any) -> Any:
    conversation.cart.add("sku-1", 2, "19.99", attributes={"size": "L", "since": datetime(2026, 1, 2, tzinfo=UTC)})
    conversation.cart.add("sku-2", 1)
    return conversation.cart


def refused(change: Callable[[], Any], record: Record, error: type[errors.RedstateError]) -> Any:
    """The error of a change that must leave the record byte for byte as it is."""
    image = record.image()
    with pytest.raises(error) as caught:
        change()
    assert record.image() == image
    return caught.value


def test_a_checkout_returns_the_cart_as_an_order(cart: Any) -> None:
    lines = cart.lines()
    order = cart.checkout("order-1")
    assert type(order) is Order
    assert (order.order_id, order.total, order.count, order.lines) == ("order-1", Decimal("39.98"), 3, lines)
    assert list(order.lines) == ["sku-1", "sku-2"]
    assert order.lines["sku-1"].attributes == {"size": "L", "since": datetime(2026, 1, 2, tzinfo=UTC)}
    assert order.lines["sku-2"].price is None
    assert abs(datetime.now(UTC) - order.placed_at) < timedelta(minutes=1)


def test_repeating_a_checkout_returns_the_same_order_and_changes_nothing(
    cart: Any, open_store: Any, record: Record
) -> None:
    order = cart.checkout("order-1")
    image = record.image()
    assert cart.checkout("order-1") == order
    assert cart.checkout("order-1", expected_version=1, op_id="other") == order
    assert open_store().conversation("conv_123").cart.checkout("order-1") == order
    assert record.image() == image


def test_a_frozen_cart_takes_no_changes_and_stays_readable(cart: Any, record: Record) -> None:
    cart.checkout("order-1")
    lines = cart.lines()
    for change in (
        lambda: cart.add("sku-1"),
        lambda: cart.add("sku-3", 1, "1", attributes={"a": 1}),
        lambda: cart.set_quantity("sku-1", 1),
        lambda: cart.set_quantity("absent", 1),
        lambda: cart.set_attributes("sku-1", {}),
        lambda: cart.remove("sku-1"),
        lambda: cart.remove("absent"),
        cart.clear,
        lambda: cart.checkout("order-2"),
    ):
        assert refused(change, record, errors.CartFrozen).order_id == "order-1"
    assert (cart.lines(), cart.total(), cart.count()) == (lines, Decimal("39.98"), 3)
    assert cart.order("order-2") is None


def test_the_rest_of_the_conversation_goes_on_while_the_cart_is_frozen(cart: Any, conversation: Any) -> None:
    order = cart.checkout("order-1")
    conversation.state.update(step="paid")
    assert conversation.state.all() == {"step": "paid"}
    assert cart.order("order-1") == order


@pytest.mark.parametrize("order_id", ["a b", "\r\n-ERR x\r\n", "é" * 128, "{x}", "\0", "-", ""])
def test_an_order_id_is_any_text_that_a_sku_may_be(cart: Any, record: Record, order_id: str) -> None:
    if not order_id:
        with pytest.raises(errors.InvalidField):
            cart.checkout(order_id)
        return
    assert cart.checkout(order_id).order_id == order_id
    assert refused(lambda: cart.add("sku-1"), record, errors.CartFrozen).order_id == order_id
    assert list(cart.orders()) == [order_id]


@pytest.mark.parametrize("order_id", [None, 7, b"x", "x" * 257, "\ud800"], ids=repr)
def test_what_is_no_text_cannot_be_an_order_id(cart: Any, order_id: Any) -> None:
    for call in (cart.checkout, cart.order):
        with pytest.raises(errors.InvalidField):
            call(order_id)
    cart.add("sku-1")


def test_an_empty_cart_cannot_be_checked_out(conversation: Any, record: Record) -> None:
    refused(lambda: conversation.cart.checkout("order-1"), record, errors.CartEmpty)
    assert not conversation.exists()
    conversation.cart.add("sku")
    conversation.cart.clear()
    refused(lambda: conversation.cart.checkout("order-1"), record, errors.CartEmpty)
    refused(lambda: conversation.cart.checkout("order-1", expected_total="5"), record, errors.CartEmpty)
    assert conversation.cart.orders() == {}


def test_starting_over_begins_an_empty_cart_and_keeps_the_orders(cart: Any) -> None:
    first = cart.checkout("order-1")
    assert cart.start_over() is True
    assert (cart.lines(), cart.count()) == ({}, 0)
    assert cart.checkout("order-1") == first  # a late repeat neither freezes nor replaces anything
    cart.add("sku-1", 5, "1.00")
    assert cart.lines()["sku-1"].attributes == {}
    second = cart.checkout("order-2")
    assert (second.total, second.count) == (Decimal("5.00"), 5)
    assert (cart.order("order-1"), cart.order("order-2")) == (first, second)
    assert cart.orders() == {"order-1": first.placed_at, "order-2": second.placed_at}
    assert list(cart.orders()) == ["order-1", "order-2"]


@pytest.mark.parametrize("total", [None, "39.98", "5.00"])
def test_an_id_that_was_used_before_does_not_sell_a_new_cart(cart: Any, record: Record, total: Any) -> None:
    first = cart.checkout("order-1", op_id="once")
    cart.start_over()
    cart.add("sku-1", 5, "1.00")
    error = refused(lambda: cart.checkout("order-1", expected_total=total), record, errors.OrderExists)
    assert error.as_result()["order_id"] == error.order_id == "order-1"
    assert cart.checkout("order-1", op_id="once") == first  # that very checkout, again
    second = cart.checkout("order-2")
    assert cart.checkout("order-1") == first
    assert second.count == 5


def test_starting_over_leaves_a_cart_that_is_not_frozen_alone(cart: Any) -> None:
    lines = cart.lines()
    assert cart.start_over() is False
    assert cart.lines() == lines
    cart.checkout("order-1")
    assert cart.start_over(op_id="once") is True
    cart.add("new")
    assert cart.start_over(op_id="once") is True
    assert list(cart.lines()) == ["new"]


def test_an_order_ends_with_its_conversation(cart: Any, conversation: Any) -> None:
    cart.checkout("order-1")
    conversation.delete()
    assert (cart.order("order-1"), cart.orders()) == (None, {})
    with pytest.raises(errors.CartEmpty):
        cart.checkout("order-1")


def test_a_checkout_takes_an_expected_version(cart: Any, conversation: Any, record: Record) -> None:
    version = conversation.version()
    error = refused(lambda: cart.checkout("order-1", expected_version=version - 1), record, errors.ConflictError)
    assert (error.expected_version, error.current_version) == (version - 1, version)
    order = cart.checkout("order-1", expected_version=version)
    assert cart.order("order-1") == order


def test_an_op_id_of_a_checkout_names_that_order_alone(cart: Any, record: Record) -> None:
    order = cart.checkout("order-1", op_id="x")
    assert cart.checkout("order-1", op_id="x") == order
    for change in (
        lambda: cart.checkout("order-2", op_id="x"),
        lambda: cart.start_over(op_id="x"),
        lambda: cart.add("sku-1", op_id="x"),
    ):
        assert refused(change, record, errors.OperationMismatch).op_id == "x"


def test_a_repeated_add_is_answered_although_the_cart_was_frozen_since(cart: Any) -> None:
    assert cart.add("sku-2", 4, op_id="late") == 5
    order = cart.checkout("order-1")
    assert cart.add("sku-2", 4, op_id="late") == 5
    assert cart.order("order-1") == order


# The expected total --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [Decimal("39.98"), "39.980", 39.98])
def test_a_checkout_at_the_expected_total_is_made(cart: Any, total: Any) -> None:
    order = cart.checkout("order-1", expected_total=total)
    assert order.total == Decimal("39.98")
    assert cart.checkout("order-1", expected_total=total) == order
    cart.start_over()
    assert cart.checkout("order-1", expected_total=total) == order


def test_a_checkout_at_another_total_is_refused(cart: Any, record: Record) -> None:
    error = refused(lambda: cart.checkout("order-1", expected_total="39.99"), record, errors.TotalChanged)
    assert (error.expected_total, error.current_total) == (Decimal("39.99"), Decimal("39.98"))
    cart.checkout("order-1")
    refused(lambda: cart.checkout("order-1", expected_total="39.99"), record, errors.TotalChanged)
    error = refused(lambda: cart.checkout("order-2", expected_total="1"), record, errors.CartFrozen)
    assert error.order_id == "order-1"


@pytest.mark.parametrize("total", ["", "x", -1, True, float("nan"), [1]], ids=repr)
def test_a_total_that_is_no_amount_is_refused(cart: Any, record: Record, total: Any) -> None:
    image = record.image()
    with pytest.raises(errors.InvalidPrice):
        cart.checkout("order-1", expected_total=total)
    assert record.image() == image


def test_an_expected_total_holds_although_others_change_the_cart_meanwhile(open_store: Any) -> None:
    stores = [open_store() for _ in range(2)]
    carts = [store.conversation("c").cart for store in stores]
    carts[0].add("sku", 1, "1.00")
    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(lambda: [was_added(carts[1]) for _ in range(40)])
        while True:
            try:
                order = carts[0].checkout("order-1", expected_total=carts[0].total())
                break
            except (errors.TotalChanged, errors.ConflictError):
                continue
        accepted = sum(adding.result(30))
    assert order.total == Decimal(1 + accepted)


def was_added(cart: Any) -> bool:
    try:
        cart.add("sku", 1)
    except errors.CartFrozen:
        return False
    return True


# Caps and corruption -------------------------------------------------------------------------------------------------


def test_orders_count_towards_the_cap_on_fields_and_a_checkout_never_exceeds_it(
    open_store: Any, record: Record
) -> None:
    cart = open_store(limits=Limits(max_fields=3)).conversation("conv_123").cart
    for number in range(3):
        cart.add("sku")
        cart.checkout(f"order-{number}")
        cart.start_over()
    error = refused(lambda: cart.add("sku"), record, errors.TooLarge)
    assert (error.limit, error.unit) == (3, "fields")
    assert list(cart.orders()) == ["order-0", "order-1", "order-2"]


def test_a_checkout_moves_the_lines_so_that_a_full_conversation_can_be_checked_out(
    open_store: Any, record: Record
) -> None:
    limits = Limits(max_value_bytes=400, max_conversation_bytes=2_000)
    cart = open_store(limits=limits).conversation("conv_123").cart
    for number in range(4):
        cart.add(f"sku-{number}", 1, "1.00", attributes={"text": "x" * 380})
    lines = cart.lines()
    assert cart.checkout("order-1").lines == lines == cart.lines()
    for kind in "cpal":
        assert record.fields(kind) == {}
    assert set(record.fields("o")) == {b"o", b"oorder-1"}


@pytest.mark.parametrize(
    ("field", "text"),
    [("csku-1", "0"), ("csku-1", "x"), ("csku-1", "1.5"), ("psku-1", "1,50"), ("psku-1", ""), ("psku-1", "1."),
     ("asku-1", "1"), ("asku-1", "x" * 16)],
)  # fmt: skip
def test_a_corrupt_line_is_not_frozen(cart: Any, record: Record, field: str, text: str) -> None:
    record.poke(field, text)
    refused(lambda: cart.checkout("order-1"), record, errors.CorruptState)
    assert cart.remove("sku-1") is True
    assert list(cart.checkout("order-1").lines) == ["sku-2"]


AGE = "16:1600000000000000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "1600000000000000",
        "160000000000000",
        "1600000000000000x",
        f"1600000000000000 3:sku1:10:{AGE}0:",
        f"16000000000000003:sku1:10:{AGE}",
        f"16000000000000003:sku1:10:{AGE}1:",
        f"16000000000000003:sku1:10:{AGE}0:x",
        f"16000000000000003:sku1:00:{AGE}0:",
        f"16000000000000003:sku1:14:1,50{AGE}0:",
        f"16000000000000003:sku1:10:{AGE}1:x",
        f"16000000000000003:sku1:10:{AGE}1:1",
        f"16000000000000003:sku1:10:{AGE}0:3:sku1:10:{AGE}0:",
        f"1600000000000000-3:sku1:10:{AGE}0:",
        f"160000000000000099999999999:sku1:10:{AGE}0:",
        b"16000000000000001:\xff1:10:16:16000000000000000:",
    ],
)
def test_an_order_that_redstate_did_not_write_is_corrupt_and_stays(
    cart: Any, record: Record, text: str | bytes
) -> None:
    record.poke("oorder-1", text)
    assert refused(lambda: cart.order("order-1"), record, errors.CorruptState).field == "oorder-1"
    assert cart.checkout("order-2").count == 3
    assert refused(lambda: cart.checkout("order-1"), record, errors.CorruptState).field == "oorder-1"


@pytest.mark.parametrize("order_id", ["order-2", "", b"\xff"])
def test_a_frozen_cart_without_its_order_is_corrupt(cart: Any, record: Record, order_id: str | bytes) -> None:
    cart.checkout("order-1")
    record.poke("o", order_id)
    for read in (cart.lines, cart.total, cart.count):
        assert refused(read, record, errors.CorruptState).field == "o"
    assert cart.start_over() is True


def test_an_order_is_read_to_the_byte_whatever_its_lines_hold(conversation: Any) -> None:
    skus = ["3:abc", "\r\n", "\0", "é" * 128, ",", "1600000000000000", "-"]
    for sku in skus:
        conversation.cart.add(sku, 7, "0.10", attributes={"note": sku, sku: [sku]})
    lines = conversation.cart.lines()
    assert conversation.cart.checkout("order-1").lines == lines
    assert list(lines) == skus


# Many at once --------------------------------------------------------------------------------------------------------


def test_threads_of_two_processes_freeze_a_cart_exactly_once(contract_url: str, prefix: str) -> None:
    stores = Stores("sync")
    cart = stores.open(contract_url, key_prefix=prefix, timeout=60.0).conversation("c").cart
    cart.add("sku", 1, "0.10")
    command = [sys.executable, str(WORKER), contract_url, prefix]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    outputs = [worker.communicate(timeout=60)[0] for worker in started(workers)]
    found = [result for output in outputs for result in json.loads(output)]
    (winner,) = cart.orders()
    order = cart.order(winner)
    assert order.count == 1 + sum(accepted for accepted, _, _ in found)
    assert order.lines == cart.lines()
    got = [seen for _, seen, _ in found if seen]
    assert got == [[winner, order.placed_at.isoformat(), str(order.total), str(order.count)]] * len(got)
    assert len(got) >= 1
    assert {refused_by for _, _, refused_by in found} <= {winner, ""}
    with pytest.raises(errors.CartFrozen):
        cart.add("late")
    stores.close()


def started(workers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return workers


def test_a_checkout_whose_reply_is_lost_is_made_once(contract_url: str, colour: str, prefix: str) -> None:
    stores = Stores(colour)
    with FaultProxy(contract_url) as proxy:
        conversation = stores.open(proxy.url, key_prefix=prefix, timeout=20.0).conversation("c")
        conversation.cart.add("sku", 2, "1.50")
        proxy.swallow_replies(2, command="EVALSHA")
        order = conversation.cart.checkout("order-1", expected_total="3.00")
        assert proxy.stats.swallowed == 2
        version = conversation.version()
        assert conversation.cart.checkout("order-1") == order
        assert conversation.version() == version
        stores.close()


def test_a_checkout_of_unknown_outcome_is_resolved_by_repeating_it(
    contract_url: str, open_store: Any, colour: str, prefix: str, raw: redis.Redis
) -> None:
    stores = Stores(colour)
    with FaultProxy(contract_url) as proxy:
        store = stores.open(proxy.url, key_prefix=prefix, timeout=0.5)
        conversation, other = store.conversation("c"), store.conversation("other")
        other.cart.add("sku")
        other.cart.checkout("order-1")  # the server has the script from here on, and asks for it no more
        conversation.cart.add("sku", 2, "1.50")
        with proxy.hold_replies(command="EVALSHA"):
            with pytest.raises(errors.OutcomeUnknown):
                conversation.cart.checkout("order-1")
            servers.wait_until(lambda: raw.exists(conversation.key) and raw.hget(conversation.key, "o"), "the order")
            assert raw.hget(conversation.key, "o") == b"order-1"
        stores.close()
    cart = open_store().conversation("c").cart
    assert cart.checkout("order-1").total == Decimal("3.00")
    assert list(cart.orders()) == ["order-1"]
